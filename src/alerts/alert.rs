//! An alert, as the feeds queue it, and its wording.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What a feed has to tell. Fields that are not known here are shown as they are.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
pub struct Alert {
    /// A stable word, such as `stock_low`.
    pub kind: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub title: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sku: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item_id: Option<Value>,
    /// When it happened, ISO 8601.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// What it is about, by name: stock levels, prices.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub figures: Map<String, Value>,
    #[serde(flatten)]
    pub fields: BTreeMap<String, Value>,
}

/// Kinds with words of their own: (kind, Japanese, English).
const KINDS: &[(&str, &str, &str)] = &[
    ("stock_low", "在庫が少なくなっています", "Stock is low"),
    ("stock_out", "在庫切れです", "Out of stock"),
    ("price_change", "価格が大きく変わりました", "A large price change"),
    ("price_approval", "価格の承認が必要です", "A price awaits approval"),
];

/// Fields with words of their own, in the order in which they are shown.
const LABELS: &[(&str, &str, &str)] = &[
    ("sku", "商品コード", "SKU"),
    ("name", "商品名", "Item"),
    ("category", "カテゴリ", "Category"),
    ("stock_quantity", "現在の在庫", "Stock now"),
    ("available_quantity", "販売可能数", "Available"),
    ("min_stock_level", "最低在庫", "Minimum"),
    ("old_price", "変更前の価格", "Old price"),
    ("new_price", "変更後の価格", "New price"),
    ("change_percent", "変動率 (%)", "Change (%)"),
    ("currency", "通貨", "Currency"),
    ("item_id", "ID", "ID"),
    ("at", "発生時刻", "At"),
];

impl Alert {
    /// What a cooldown is kept for: alerts of one kind about one thing.
    pub fn cooldown_key(&self) -> String {
        let about = self.sku.clone().or_else(|| self.item_id.as_ref().map(shown)).unwrap_or_else(|| self.title.clone());
        format!("{}:{about}", self.kind)
    }

    /// One line: both languages, and what it is about.
    pub fn subject(&self) -> String {
        let known = KINDS.iter().find(|(kind, ..)| *kind == self.kind);
        let what = match known {
            Some((_, japanese, english)) => format!("{japanese} · {english}"),
            None if self.title.is_empty() => self.kind.clone(),
            None => self.title.clone(),
        };
        let about = self.sku.as_deref().or_else(|| self.fields.get("name").and_then(Value::as_str));
        one_line(&about.map_or_else(|| what.clone(), |about| format!("{what}: {about}")))
    }

    /// Label and value of everything there is to say.
    fn rows(&self) -> Vec<(String, String)> {
        let mut values = self.fields.clone();
        values.extend(self.figures.clone());
        values.extend(self.sku.clone().map(|sku| ("sku".to_owned(), Value::from(sku))));
        values.extend(self.item_id.clone().map(|id| ("item_id".to_owned(), id)));
        values.extend(self.at.clone().map(|at| ("at".to_owned(), Value::from(at))));
        let mut rows = Vec::with_capacity(values.len());
        for (field, japanese, english) in LABELS {
            if let Some(value) = values.remove(*field) {
                let label =
                    if japanese == english { (*english).to_owned() } else { format!("{japanese} · {english}") };
                rows.push((label, value));
            }
        }
        rows.extend(values);
        rows.into_iter().filter(|(_, value)| !value.is_null()).map(|(label, value)| (label, shown(&value))).collect()
    }

    pub fn text(&self) -> String {
        let mut text = format!("{}\n", self.subject());
        if !self.title.is_empty() {
            let _ = writeln!(text, "{}", one_line(&self.title));
        }
        text.push('\n');
        for (label, value) in self.rows() {
            let _ = writeln!(text, "{}: {}", one_line(&label), one_line(&value));
        }
        text.push_str("\n-- \nFanfare\n");
        text
    }

    pub fn html(&self) -> String {
        let mut rows = String::new();
        for (label, value) in self.rows() {
            let (label, value) = (escape(&label), escape(&value));
            let _ = write!(
                rows,
                "<tr><th align=\"left\" style=\"padding:4px 16px 4px 0;font-weight:normal;color:#555\">{label}</th>\
                 <td style=\"padding:4px 0\">{value}</td></tr>"
            );
        }
        let title =
            if self.title.is_empty() { String::new() } else { format!("<p>{}</p>", escape(&one_line(&self.title))) };
        format!(
            "<!doctype html><html><head><meta charset=\"utf-8\"></head>\
             <body style=\"font-family:sans-serif;color:#222\"><h1 style=\"font-size:18px\">{}</h1>{title}\
             <table cellspacing=\"0\">{rows}</table><p style=\"color:#888\">Fanfare</p></body></html>",
            escape(&self.subject())
        )
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// No line break and no other control character: what comes from a database row must not begin a new mail header.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alert(json: &str) -> Alert {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn an_alert_speaks_both_languages_and_shows_unknown_fields() {
        let alert = alert(
            r#"{"kind": "stock_low", "sku": "TEA-1", "item_id": 7, "name": "緑茶", "figures": {"stock_quantity": 3}, "shelf": "B2", "x": null}"#,
        );
        assert_eq!(alert.subject(), "在庫が少なくなっています · Stock is low: TEA-1");
        let text = alert.text();
        for line in
            ["商品コード · SKU: TEA-1", "商品名 · Item: 緑茶", "現在の在庫 · Stock now: 3", "shelf: B2", "ID: 7"]
        {
            assert!(text.lines().any(|it| it == line), "{line} in {text}");
        }
        assert!(!text.contains("null"));
        assert_eq!(alert.cooldown_key(), "stock_low:TEA-1");
    }

    #[test]
    fn html_is_escaped_and_lines_cannot_be_injected() {
        let alert = alert(
            r#"{"kind": "other", "title": "<b>&\r\nBcc: x@example.com", "name": "<img src=x onerror=alert('1')>"}"#,
        );
        let html = alert.html();
        assert!(html.contains("&lt;img src=x onerror=alert(&#39;1&#39;)&gt;") && !html.contains("<img"), "{html}");
        assert!(html.contains("&lt;b&gt;&amp;"), "{html}");
        assert!(!alert.subject().contains(['\r', '\n']));
        assert!(!alert.text().lines().any(|line| line.starts_with("Bcc")));
    }

    #[test]
    fn a_payload_with_only_a_kind_is_enough() {
        let alert = alert(r#"{"kind": "shop_closed"}"#);
        assert_eq!(alert.subject(), "shop_closed");
        assert_eq!(alert.cooldown_key(), "shop_closed:");
    }
}
