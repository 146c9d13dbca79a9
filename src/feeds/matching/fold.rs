//! Text made comparable, and cut into bigrams for the search index.

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

/// The distinct bigrams of folded text, with a space between them. Signs that are no letters separate.
pub fn terms(folded: &str) -> String {
    let mut found = BTreeSet::new();
    for word in words(folded) {
        bigrams(word, &mut found);
        if found.len() > MAX_TERMS {
            break;
        }
    }
    found.into_iter().collect::<Vec<_>>().join(" ")
}

/// What a search looks for: words that must all be there.
pub fn words(folded: &str) -> impl Iterator<Item = &str> {
    folded.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty())
}

fn bigrams<'a>(word: &'a str, found: &mut BTreeSet<&'a str>) {
    let starts: Vec<usize> = word.char_indices().map(|(at, _)| at).chain([word.len()]).collect();
    if starts.len() == 2 {
        return; // one sign alone is not indexed; it is looked for in the text
    }
    for ends in starts.windows(3) {
        if let Some(pair) = word.get(ends[0]..ends[2]) {
            found.insert(pair);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_folded_and_cut() {
        assert_eq!(fold(" ＣＡＦÉ　スタッフ\n募集 "), "café スタッフ 募集");
        assert_eq!(terms("東京都 カフェ、x"), "カフ フェ 京都 東京");
        assert_eq!(terms(""), "");
    }
}
