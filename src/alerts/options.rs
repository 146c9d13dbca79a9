//! Where alerts go, and how.

use serde::{Deserialize, Serialize};
use url::Url;

use crate::auth::Secret;
use crate::http::outbound::is_private;

/// The mail server. Without a host no mail is sent.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct SmtpOptions {
    /// SMTP_HOST
    pub host: Option<String>,
    /// SMTP_PORT; by default the port that belongs to `security`: 587, 465 or 25.
    pub port: Option<u16>,
    /// SMTP_USER; without it no login is tried.
    pub user: Option<String>,
    /// SMTP_PASSWORD
    pub password: Option<Secret>,
    /// FROM_EMAIL, such as `Fanfare <alerts@example.com>`.
    pub from: Option<String>,
    pub security: Security,
    /// For connecting, and for each answer of the server.
    pub timeout_ms: u64,
}

/// How the connection to the mail server is protected.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Security {
    /// Begins in the clear and changes to TLS before anything is said; a server that cannot do so gets no mail.
    #[default]
    Starttls,
    /// TLS from the first byte.
    Tls,
    /// In the clear: for a server on the same machine or a network that is trusted.
    None,
}

/// Who is told. With neither recipients nor webhooks an alert is logged and counted, no more.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct AlertOptions {
    /// Mail addresses, by comma in the environment. Each gets a mail of its own.
    #[serde(deserialize_with = "separated_by_commas")]
    pub to: Vec<String>,
    /// URLs that are told by POST, by comma in the environment.
    #[serde(deserialize_with = "separated_by_commas")]
    pub webhook_url: Vec<String>,
    /// Signs what webhooks get (HMAC-SHA256, see `webhook.rs`).
    pub webhook_secret: Option<Secret>,
    /// Whether webhooks may point into private networks and at this machine.
    pub allow_private: bool,
    /// For the whole of one webhook request.
    pub webhook_timeout_ms: u64,
    /// After an alert, further ones of the same kind for the same SKU are dropped (and counted) for so long.
    /// 0: none is dropped.
    pub cooldown_s: u64,
}

impl Default for SmtpOptions {
    fn default() -> Self {
        Self {
            host: None,
            port: None,
            user: None,
            password: None,
            from: None,
            security: Security::default(),
            timeout_ms: 15_000,
        }
    }
}

impl Default for AlertOptions {
    fn default() -> Self {
        Self {
            to: Vec::new(),
            webhook_url: Vec::new(),
            webhook_secret: None,
            allow_private: false,
            webhook_timeout_ms: 10_000,
            cooldown_s: 15 * 60,
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum AlertOptionsError {
    #[error("alerts.to names recipients, but smtp.host (SMTP_HOST) is not set")]
    NoHost,
    #[error("smtp.host is set, but smtp.from (FROM_EMAIL) is not")]
    NoSender,
    #[error("smtp.user and smtp.password belong together")]
    HalfLogin,
    #[error("{text:?} is not a mail address")]
    NotAnAddress { text: String },
    #[error("alerts.webhook_url: {url:?} is not an http or https URL")]
    NotAUrl { url: String },
    #[error("alerts.webhook_url: {url:?} points into a private network; set alerts.allow_private to permit that")]
    Private { url: String },
    #[error("smtp.host {host:?}: {reason}")]
    Tls { host: String, reason: String },
    #[error("no HTTP client: {0}")]
    Client(#[from] reqwest::Error),
}

impl AlertOptions {
    /// Refuses what could never be delivered, before a port is bound.
    pub fn check(&self, smtp: &SmtpOptions) -> Result<(), AlertOptionsError> {
        if !self.to.is_empty() && smtp.host.is_none() {
            return Err(AlertOptionsError::NoHost);
        }
        if smtp.host.is_some() && smtp.from.is_none() {
            return Err(AlertOptionsError::NoSender);
        }
        if smtp.user.is_some() != smtp.password.is_some() {
            return Err(AlertOptionsError::HalfLogin);
        }
        for text in self.to.iter().chain(&smtp.from) {
            if text.parse::<lettre::message::Mailbox>().is_err() {
                return Err(AlertOptionsError::NotAnAddress { text: text.clone() });
            }
        }
        for url in &self.webhook_url {
            let parsed = Url::parse(url).ok().filter(|parsed| matches!(parsed.scheme(), "http" | "https"));
            let host = parsed.as_ref().and_then(Url::host);
            match host {
                None => return Err(AlertOptionsError::NotAUrl { url: url.clone() }),
                Some(host) if !self.allow_private && is_private(&host) => {
                    return Err(AlertOptionsError::Private { url: url.clone() });
                }
                Some(_) => {}
            }
        }
        Ok(())
    }
}

/// The environment has lists as text with commas, a file has them as lists.
fn separated_by_commas<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Text(String),
        List(Vec<String>),
    }
    Ok(match Either::deserialize(deserializer)? {
        Either::List(list) => list,
        Either::Text(text) => text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(Into::into).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(json: &str) -> AlertOptions {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn lists_come_from_a_file_or_from_text() {
        assert_eq!(options(r#"{"to": "a@example.com, b@example.com"}"#).to, ["a@example.com", "b@example.com"]);
        assert_eq!(options(r#"{"to": ["a@example.com"]}"#).to, ["a@example.com"]);
        assert!(options(r#"{"to": ""}"#).to.is_empty());
        assert!(serde_json::from_str::<AlertOptions>(r#"{"too": []}"#).is_err());
    }

    #[test]
    fn what_cannot_be_delivered_is_refused() {
        let smtp = SmtpOptions {
            host: Some("mail.example.com".into()),
            from: Some("Shop <a@example.com>".into()),
            ..SmtpOptions::default()
        };
        let refused = |json: &str, smtp: &SmtpOptions| options(json).check(smtp).err().map(|error| error.to_string());
        assert_eq!(refused("{}", &SmtpOptions::default()), None);
        assert_eq!(refused(r#"{"to": "a@example.com", "webhook_url": "https://example.com/x"}"#, &smtp), None);
        assert!(refused(r#"{"to": "a@example.com"}"#, &SmtpOptions::default()).unwrap().contains("SMTP_HOST"));
        assert!(refused(r#"{"to": "nobody"}"#, &smtp).unwrap().contains("nobody"));
        assert!(refused("{}", &SmtpOptions { from: None, ..smtp.clone() }).unwrap().contains("FROM_EMAIL"));
        assert!(refused("{}", &SmtpOptions { user: Some("u".into()), ..smtp.clone() }).unwrap().contains("password"));
        for url in ["ftp://example.com", "example.com", "http://127.0.0.1:9/", "http://[::1]/", "http://10.1.2.3/"] {
            assert!(refused(&format!(r#"{{"webhook_url": "{url}"}}"#), &smtp).is_some(), "{url}");
        }
        assert_eq!(refused(r#"{"webhook_url": "http://127.0.0.1:9/", "allow_private": true}"#, &smtp), None);
    }
}
