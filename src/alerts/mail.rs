//! Delivery by SMTP.

use std::time::{Duration, SystemTime};

use chrono::{DateTime, Utc};
use lettre::message::header::HeaderName;
use lettre::message::header::HeaderValue;
use lettre::message::{Mailbox, MultiPart};
use lettre::transport::smtp::authentication::Credentials;
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};

use super::Alert;
use super::options::{AlertOptionsError, Security, SmtpOptions};
use crate::queue::Outcome;

/// A mail to one person.
pub struct Letter<'a> {
    /// The same in every attempt.
    pub delivery_id: &'a str,
    pub to: &'a str,
    pub subject: String,
    pub text: String,
    pub html: String,
    pub unsubscribe_url: &'a str,
    pub at: DateTime<Utc>,
}

/// A mail server, and whom it sends for. Each mail has a connection of its own.
pub struct Mailer {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
}

impl Mailer {
    /// `None` when no server is configured.
    pub fn new(options: &SmtpOptions) -> Result<Option<Self>, AlertOptionsError> {
        let Some(host) = &options.host else { return Ok(None) };
        let from = options.from.as_deref().ok_or(AlertOptionsError::NoSender)?;
        let from = from.parse().map_err(|_| AlertOptionsError::NotAnAddress { text: from.to_owned() })?;
        let builder = match options.security {
            Security::Starttls => AsyncSmtpTransport::<Tokio1Executor>::starttls_relay(host),
            Security::Tls => AsyncSmtpTransport::<Tokio1Executor>::relay(host),
            Security::None => Ok(AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(host)),
        };
        let mut builder = builder
            .map_err(|error| AlertOptionsError::Tls { host: host.clone(), reason: error.to_string() })?
            .timeout(Some(Duration::from_millis(options.timeout_ms)));
        if let Some(port) = options.port {
            builder = builder.port(port);
        }
        if let (Some(user), Some(password)) = (&options.user, &options.password) {
            builder = builder.credentials(Credentials::new(user.clone(), password.expose().to_owned()));
        }
        Ok(Some(Self { transport: builder.build(), from }))
    }

    /// One mail to one recipient. `delivery_id` becomes the message id, so that a mail that was sent twice, as can
    /// happen after a crash, is shown once by the programs that look at it.
    pub async fn deliver(&self, alert: &Alert, to: &str, delivery_id: &str, now: DateTime<Utc>) -> Outcome {
        let message = match self.compose(alert, to, delivery_id, now) {
            Ok(message) => message,
            Err(reason) => return Outcome::Dead(reason),
        };
        self.send(message).await
    }

    async fn send(&self, message: Message) -> Outcome {
        match self.transport.send(message).await {
            Ok(_) => Outcome::Done,
            Err(error) => {
                let code = error.status().map(u16::from);
                // A refused login says something about our settings, not about this mail: it can be put right.
                let ours = matches!(code, Some(530 | 534 | 535 | 538));
                if error.is_permanent() && !ours {
                    Outcome::Dead(error.to_string())
                } else {
                    Outcome::Retry(error.to_string())
                }
            }
        }
    }

    /// A letter to somebody who can have an end of such letters (RFC 8058).
    pub async fn post(&self, letter: Letter<'_>) -> Outcome {
        let header = |name, value: String| HeaderValue::new(HeaderName::new_from_ascii_str(name), value);
        let composed =
            letter.to.parse().map_err(|error| format!("{:?}: {error}", letter.to)).and_then(|to: Mailbox| {
                Message::builder()
                    .from(self.from.clone())
                    .to(to)
                    .subject(letter.subject)
                    .date(SystemTime::from(letter.at))
                    .message_id(Some(format!("<{}@{}>", letter.delivery_id, self.from.email.domain())))
                    .raw_header(header("List-Unsubscribe", format!("<{}>", letter.unsubscribe_url)))
                    .raw_header(header("List-Unsubscribe-Post", "List-Unsubscribe=One-Click".into()))
                    .multipart(MultiPart::alternative_plain_html(letter.text, letter.html))
                    .map_err(|error| error.to_string())
            });
        match composed {
            Ok(message) => self.send(message).await,
            Err(reason) => Outcome::Dead(reason),
        }
    }

    fn compose(&self, alert: &Alert, to: &str, delivery_id: &str, now: DateTime<Utc>) -> Result<Message, String> {
        let to: Mailbox = to.parse().map_err(|error| format!("{to:?}: {error}"))?;
        let domain = self.from.email.domain();
        // Mail of a program: no holiday replies, please (RFC 3834).
        let automatic = HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".into());
        Message::builder()
            .from(self.from.clone())
            .to(to)
            .subject(alert.subject())
            .date(SystemTime::from(now))
            .message_id(Some(format!("<{delivery_id}@{domain}>")))
            .raw_header(automatic)
            .multipart(MultiPart::alternative_plain_html(alert.text(), alert.html()))
            .map_err(|error| error.to_string())
    }
}
