//! What the answer to a write means for its points.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::series::WriteError;

/// Longer texts are cut: they quote the lines that were sent.
const MAX_DETAIL: usize = 500;

pub fn later(reason: &'static str, detail: impl Into<String>) -> WriteError {
    WriteError::Later { reason, after: None, detail: detail.into() }
}

/// By status, and by text where versions differ.
pub fn of(status: u16, text: &str, after: Option<Duration>) -> Result<(), WriteError> {
    let detail = message(text);
    let later = |reason| Err(WriteError::Later { reason, after, detail: format!("{status} {detail}") });
    match status {
        200 | 204 => Ok(()),
        // InfluxDB 1 and 3 write the good lines and say 400; InfluxDB 2 writes none then.
        400 if text.contains("partial write") => Err(partial(text, detail)),
        422 if is_about_points(text) => Err(partial(text, detail)),
        400 if is_about_points(text) => Err(WriteError::Refused(detail)),
        413 => Err(WriteError::TooLarge(detail)),
        408 | 499 => later("timeout"),
        429 => later("limited"),
        500.. => later("server"),
        // 401, 403, 404: token, permission, bucket. What else may come, such as a page of a proxy that was spoken to in
        // the wrong way, is no word about the points either.
        _ => later("settings"),
    }
}

/// Stores say what is wrong in JSON. To give points up because of anybody else's 400 would be to lose them all.
fn is_about_points(text: &str) -> bool {
    let json: Option<serde_json::Value> = serde_json::from_str(text).ok();
    json.is_some_and(|said| said.get("message").or_else(|| said.get("error")).is_some())
}

fn partial(text: &str, detail: String) -> WriteError {
    let number_after = |word: &str| {
        let rest = text.split(word).nth(1)?;
        rest.split(|c: char| !c.is_ascii_digit()).next()?.parse::<u64>().ok()
    };
    let lines = text.matches("\"line_number\"").count() as u64;
    let named = number_after("dropped=").or_else(|| number_after("dropped ")).unwrap_or(lines);
    // A line that could not be read is not among those that InfluxDB 1 counts.
    WriteError::Partial { dropped: named.max(1), detail }
}

/// `Retry-After`: seconds or a date.
pub fn pause(asked: &str, now: DateTime<Utc>) -> Option<Duration> {
    if let Ok(seconds) = asked.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = DateTime::parse_from_rfc2822(asked.trim()).ok()?;
    Some((until.to_utc() - now).to_std().unwrap_or(Duration::ZERO))
}

/// The `message` of InfluxDB's JSON, or the text itself; short.
pub fn message(text: &str) -> String {
    let json: Option<serde_json::Value> = serde_json::from_str(text).ok();
    let said = json.as_ref().and_then(|it| it.get("message").or_else(|| it.get("error"))?.as_str());
    said.unwrap_or(text).trim().chars().take(MAX_DETAIL).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(status: u16) -> &'static str {
        match of(status, r#"{"code":"x","message":"why"}"#, None) {
            Ok(()) => "ok",
            Err(WriteError::Later { reason, detail, .. }) => {
                assert_eq!(detail, format!("{status} why"));
                reason
            }
            Err(WriteError::Refused(detail)) => {
                assert_eq!(detail, "why");
                "refused"
            }
            Err(WriteError::TooLarge(_)) => "too large",
            Err(WriteError::Partial { .. }) => "partial",
        }
    }

    #[test]
    fn every_status_has_a_class() {
        let classes = [
            (204, "ok"),
            (200, "ok"),
            (302, "settings"),
            (400, "refused"),
            (401, "settings"),
            (403, "settings"),
            (404, "settings"),
            (405, "settings"),
            (408, "timeout"),
            (413, "too large"),
            (422, "partial"),
            (429, "limited"),
            (499, "timeout"),
            (500, "server"),
            (503, "server"),
            (504, "server"),
        ];
        for (status, class) in classes {
            assert_eq!(reason(status), class, "{status}");
        }
    }

    #[test]
    fn a_page_of_a_proxy_is_no_word_about_points() {
        for status in [400, 422] {
            let page = of(status, "<html>The plain HTTP request was sent to HTTPS port</html>", None);
            assert!(matches!(page, Err(WriteError::Later { reason: "settings", .. })), "{page:?}");
        }
    }

    #[test]
    fn what_was_partly_written_is_counted() {
        let dropped = |status, text: &str| match of(status, text, None) {
            Err(WriteError::Partial { dropped, .. }) => dropped,
            other => panic!("{other:?}"),
        };
        let conflict =
            r#"{"message":"partial write: field type conflict: … already exists as type integer dropped=3 for"}"#;
        assert_eq!(dropped(422, conflict), 3);
        assert_eq!(dropped(422, r#"{"message":"partial write: dropped 12 points outside retention policy"}"#), 12);
        assert_eq!(dropped(400, "partial write: unable to parse 'x': missing fields dropped=0"), 1);
        let three =
            r#"{"error":"partial write of line protocol occurred","data":[{"line_number":2},{"line_number":5}]}"#;
        assert_eq!(dropped(400, three), 2);
    }

    #[test]
    fn the_pause_is_seconds_or_a_date() {
        let now = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
        assert_eq!(pause("7", now), Some(Duration::from_secs(7)));
        assert_eq!(pause("Tue, 14 Nov 2023 22:13:50 GMT", now), Some(Duration::from_secs(30)));
        assert_eq!(pause("Tue, 14 Nov 2023 22:13:00 GMT", now), Some(Duration::ZERO));
        assert_eq!(pause("soon", now), None);
    }
}
