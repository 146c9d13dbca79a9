//! Text made comparable, and cut into signs and bigrams for the search index.

use std::collections::BTreeSet;

/// Terms of one job at most; a longer description is found by its beginning.
const MAX_TERMS: usize = 4_000;

/// Full-width letters become plain ones, everything lower case, runs of white space one space.
pub fn fold(text: &str) -> String {
    let plain = text.chars().flat_map(|c| match c {
        '\u{3000}' => ' '.to_lowercase(),
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(c) - 0xfee0).unwrap_or(c).to_lowercase(),
        c => c.to_lowercase(),
    });
    let mut folded = String::with_capacity(text.len());
    for c in plain {
        if !c.is_whitespace() {
            folded.push(c);
        } else if !folded.ends_with(' ') && !folded.is_empty() {
            folded.push(' ');
        }
    }
    folded.truncate(folded.trim_end().len());
    folded
}

/// What a text is indexed by: its distinct letters and bigrams, with a space between them. Signs that are no letters
/// separate.
pub fn terms(folded: &str) -> String {
    let mut found = BTreeSet::new();
    for word in words(folded) {
        cut(word, 1, &mut found);
        cut(word, 2, &mut found);
        if found.len() > MAX_TERMS {
            break;
        }
    }
    found.into_iter().collect::<Vec<_>>().join(" ")
}

/// What the index is asked for: of each word its bigrams, or the one letter that it is.
pub fn asked(folded: &str) -> String {
    let mut found = BTreeSet::new();
    for word in words(folded) {
        let is_letter = word.chars().nth(1).is_none();
        cut(word, if is_letter { 1 } else { 2 }, &mut found);
    }
    found.into_iter().collect::<Vec<_>>().join(" ")
}

/// What a search looks for: words that must all be there.
pub fn words(folded: &str) -> impl Iterator<Item = &str> {
    folded.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty())
}

/// Every run of `letters` letters in the word.
fn cut<'a>(word: &'a str, letters: usize, found: &mut BTreeSet<&'a str>) {
    let ends: Vec<usize> = word.char_indices().map(|(at, _)| at).chain([word.len()]).collect();
    for span in ends.windows(letters + 1) {
        if let Some(term) = word.get(span[0]..span[letters]) {
            found.insert(term);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_folded_and_cut() {
        assert_eq!(fold(" ＣＡＦÉ　スタッフ\n募集 "), "café スタッフ 募集");
        assert_eq!(terms("東京都 カフェ、x"), "x ェ カ カフ フ フェ 京 京都 東 東京 都");
        assert_eq!(asked("東京都 カフェ、x"), "x カフ フェ 京都 東京");
        assert_eq!((terms(""), asked("")), (String::new(), String::new()));
    }
}
