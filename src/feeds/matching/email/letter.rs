//! The text of a mail, in Japanese or English, as plain text and as HTML.

use std::fmt::Write;

use super::sql::JobLine;

/// Jobs in one section of a mail.
pub const MOST_IN_SECTION: usize = 10;

#[derive(Clone, Debug)]
pub struct Letter {
    pub subject: String,
    pub text: String,
    pub html: String,
}

/// A section's name, and its jobs with their scores.
pub type SectionLines<'a> = (&'static str, Vec<(&'a JobLine, f64)>);

struct Words {
    subject: &'static str,
    /// After the name.
    greeting: &'static str,
    /// To somebody whose name is not known.
    nameless: &'static str,
    yen: &'static str,
    score: &'static str,
    stop: &'static str,
    language: &'static str,
}

const JA: Words = Words {
    subject: "本日のおすすめ求人",
    greeting: "さん、本日のおすすめ求人をお届けします。",
    nameless: "本日のおすすめ求人をお届けします。",
    yen: "円",
    score: "おすすめ度",
    stop: "配信を停止する",
    language: "ja",
};
const EN: Words = Words {
    subject: "Jobs for you today",
    greeting: ", here are today's jobs for you.",
    nameless: "Here are today's jobs for you.",
    yen: " yen",
    score: "Match",
    stop: "Stop these mails",
    language: "en",
};

fn heading(section: &str, japanese: bool) -> &'static str {
    match (section, japanese) {
        ("personal", true) => "あなたへのおすすめ",
        ("personal", false) => "Best for you",
        ("new", true) => "新着求人",
        ("new", false) => "New",
        ("near", true) => "近くの求人",
        ("near", false) => "Near you",
        ("salary", true) => "高収入の求人",
        ("salary", false) => "Well paid",
        ("popular", true) => "人気の求人",
        ("popular", false) => "Popular",
        (_, true) => "その他の求人",
        (_, false) => "More",
    }
}

pub fn write(name: &str, language: &str, sections: &[SectionLines<'_>], unsubscribe: &str) -> Letter {
    let japanese = language != "en";
    let words = if japanese { &JA } else { &EN };
    let count: usize = sections.iter().map(|(_, jobs)| jobs.len().min(MOST_IN_SECTION)).sum();
    let subject = format!("{} ({count})", words.subject);
    let greeting = if name.is_empty() { words.nameless.to_owned() } else { format!("{name}{}", words.greeting) };
    let mut text = format!("{greeting}\n");
    let mut html = format!(
        "<!doctype html><html lang=\"{}\"><head><meta charset=\"utf-8\"><title>{}</title></head><body><p>{}</p>",
        words.language,
        escaped(&subject),
        escaped(&greeting)
    );
    // Writing to a string cannot fail.
    for (section, jobs) in sections.iter().filter(|(_, jobs)| !jobs.is_empty()) {
        let heading = heading(section, japanese);
        let _ = write!(text, "\n■ {heading}\n");
        let _ = write!(html, "<h2>{heading}</h2><ul>");
        for (job, score) in jobs.iter().take(MOST_IN_SECTION) {
            let facts = facts(job, words);
            let _ = write!(text, "- {} / {}\n  {facts} ({} {score:.1})\n", job.title, job.company_name, words.score);
            let title = escaped(&job.title);
            let title = match job.url.as_deref().filter(|url| url.starts_with("http")) {
                Some(url) => {
                    let _ = writeln!(text, "  {url}");
                    format!("<a href=\"{}\">{title}</a>", escaped(url))
                }
                None => title,
            };
            let (company, facts) = (escaped(&job.company_name), escaped(&facts));
            let _ = write!(html, "<li>{title} / {company}<br>{facts} ({} {score:.1})</li>", words.score);
        }
        html.push_str("</ul>");
    }
    let _ = write!(text, "\n{}: {unsubscribe}\n", words.stop);
    let _ = write!(html, "<p><a href=\"{}\">{}</a></p></body></html>", escaped(unsubscribe), words.stop);
    Letter { subject, text, html }
}

fn facts(job: &JobLine, words: &Words) -> String {
    let mut facts: Vec<String> = Vec::new();
    match (job.salary_min, job.salary_max) {
        (Some(min), Some(max)) => facts.push(format!("{min}-{max}{}", words.yen)),
        (Some(one), None) | (None, Some(one)) => facts.push(format!("{one}{}", words.yen)),
        (None, None) => {}
    }
    facts.extend(job.city.iter().chain(&job.nearest_station).cloned());
    facts.join(", ")
}

fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn input_cannot_become_markup_and_sections_are_bounded() {
        let job = JobLine {
            id: 1,
            title: "<b>\"x\"".into(),
            company_name: "A & B".into(),
            salary_min: Some(1200),
            salary_max: Some(1500),
            city: Some("港区".into()),
            nearest_station: None,
            url: Some("https://example.com/?a=1&b=2".into()),
        };
        let letter = write("花子", "ja", &[("new", vec![(&job, 80.25); 12]), ("near", vec![])], "https://x/u?t=1");
        assert_eq!(letter.html.matches("<li>").count(), 10);
        assert!(!letter.html.contains("<b>") && letter.html.contains("A &amp; B"));
        assert!(letter.html.contains("新着求人") && !letter.html.contains("近くの求人"));
        assert!(letter.text.contains("1200-1500円, 港区") && letter.text.contains("https://x/u?t=1"));
        assert!(write("H", "en", &[("new", vec![(&job, 1.0)])], "u").text.contains("Stop these mails: u"));
        assert!(write("", "en", &[("new", vec![(&job, 1.0)])], "u").text.starts_with("Here are"), "no name, no comma");
    }
}
