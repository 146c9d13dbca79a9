//! The settings in force, for people; secrets hidden.

use std::fmt::Write;

use config::{Config, Value, ValueKind};

/// Keys whose values are never shown.
const SECRETS: &[&str] = &[
    "secret_key",
    "jwt_secret_key",
    "jwt_previous_secret_key",
    "api_keys",
    "api_key_pepper",
    "token",
    "password",
    "read_urls",
    "webhook_secret",
    "hmac_secret_key",
    "hmac_previous_secret_key",
];

pub(super) fn without_secrets(raw: &Config) -> anyhow::Result<String> {
    let mut out = String::new();
    let mut sections: Vec<_> = raw.cache.clone().into_table()?.into_iter().collect();
    sections.sort_by(|(a, _), (b, _)| a.cmp(b));
    for (section, value) in sections {
        match value.kind {
            // Sections that there may be several of, such as namespaces.
            ValueKind::Array(several) => {
                for one in several {
                    writeln!(out, "[[{section}]]")?;
                    entries(&mut out, one)?;
                }
            }
            _ => {
                writeln!(out, "[{section}]")?;
                entries(&mut out, value)?;
            }
        }
    }
    Ok(out)
}

fn entries(out: &mut String, section: Value) -> anyhow::Result<()> {
    let mut entries: Vec<_> = section.into_table()?.into_iter().collect();
    entries.sort_by(|(a, _), (b, _)| a.cmp(b));
    for (key, value) in entries {
        writeln!(out, "{key} = {}", shown(&key, value))?;
    }
    out.push('\n');
    Ok(())
}

fn shown(key: &str, value: Value) -> String {
    match value.kind {
        ValueKind::Array(list) if list.is_empty() => "[]".into(),
        _ if SECRETS.contains(&key) => "\"***\"".into(),
        ValueKind::Array(list) => {
            let list: Vec<String> = list.into_iter().map(|value| shown(key, value)).collect();
            format!("[{}]", list.join(", "))
        }
        ValueKind::Table(table) => {
            let mut entries: Vec<_> = table.into_iter().collect();
            entries.sort_by(|(a, _), (b, _)| a.cmp(b));
            let entries: Vec<_> =
                entries.into_iter().map(|(key, value)| format!("{key} = {}", shown(&key, value))).collect();
            format!("{{ {} }}", entries.join(", "))
        }
        // What came from the environment is text, also where it is a number.
        ValueKind::String(text) if text.parse::<f64>().is_ok() || text == "true" || text == "false" => text,
        ValueKind::String(text) => format!("{:?}", without_password(text)),
        kind => kind.to_string(),
    }
}

/// `scheme://user:password@host` keeps everything but the password.
fn without_password(text: String) -> String {
    let Ok(mut url) = url::Url::parse(&text) else { return text };
    match url.password().is_some() && url.set_password(Some("***")).is_ok() {
        true => url.to_string(),
        false => text,
    }
}
