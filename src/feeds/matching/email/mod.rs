//! A day's mail for each user: written by a batch, sent from the durable queue, a hundred at a time.

mod letter;
pub mod routes;
mod sql;

use std::collections::HashMap;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

pub use self::letter::Letter;
pub use self::sql::Email;
use super::users::{self, User};
use super::{MAIL_TOPIC, Matching, matches};
use crate::db::Tx;
use crate::feeds::failure::Failure;
use crate::feeds::page::{Page, PageRequest};
use crate::http::{FieldError, Problem};
use crate::queue::{self, Item, Outcome};

/// A mail on its way out.
pub struct Parcel<'a> {
    /// The same in every attempt.
    pub delivery_id: String,
    pub to: &'a str,
    pub letter: Letter,
    /// For `List-Unsubscribe`; takes a POST with no login.
    pub unsubscribe_url: String,
    pub at: DateTime<Utc>,
}

/// Whoever hands mail to a mail server: done, again later, or never (it bounced).
#[async_trait]
pub trait Postman: Send + Sync {
    async fn deliver(&self, parcel: Parcel<'_>) -> Outcome;
}

/// A letter that is not stored yet.
pub struct Draft {
    pub user_id: i64,
    pub recipient: String,
    pub letter: Letter,
}

#[derive(Debug, Serialize, Deserialize)]
struct ToSend {
    emails: Vec<i64>,
}

/// The first try, and three more.
const MOST_ATTEMPTS: u32 = 4;
/// A run ends before the queue's patience does; what is left follows in the next.
const RUN_AT_MOST: std::time::Duration = std::time::Duration::from_secs(30);

impl Matching {
    /// The day's letters for a range of users.
    pub(super) async fn write_mails(&self, first: i64, last: i64) -> Result<Vec<Draft>, Failure> {
        let users = users::sql::range(&self.0.db, first, last).await?;
        let mut found = matches::sql::latest_of(&self.0.db, first, last).await?;
        let oldest = self.now() - TimeDelta::hours(i64::from(self.0.options.mail_max_age_h));
        found.retain(|one| one.created_at >= oldest);
        let mut ids: Vec<i64> = found.iter().flat_map(|one| job_ids(&one.matches)).collect();
        ids.sort_unstable();
        ids.dedup();
        let lines: HashMap<i64, sql::JobLine> =
            sql::lines(&self.0.db, &ids).await?.into_iter().map(|line| (line.id, line)).collect();
        let by_user: HashMap<i64, &matches::Recommendation> = found.iter().map(|one| (one.user_id, one)).collect();
        let wants = |user: &&User| user.email_opt_in && user.bounced_at.is_none();
        let drafts = users.iter().filter(wants).filter_map(|user| {
            let letter = self.compose(user, by_user.get(&user.id)?, &lines);
            Some(Draft { user_id: user.id, recipient: user.email.clone(), letter })
        });
        Ok(drafts.collect())
    }

    fn compose(&self, user: &User, found: &matches::Recommendation, lines: &HashMap<i64, sql::JobLine>) -> Letter {
        let empty = Vec::new();
        let all = found.matches.as_array().unwrap_or(&empty);
        let sections: Vec<letter::SectionLines<'_>> = matches::sections()
            .into_iter()
            .map(|section| {
                let here = all.iter().filter(|one| one["section"] == section);
                let line = |one: &serde_json::Value| {
                    Some((lines.get(&one["job_id"].as_i64()?)?, one["score"].as_f64().unwrap_or_default()))
                };
                (section, here.filter_map(line).collect())
            })
            .collect();
        letter::write(&user.name, &user.language, &sections, &self.unsubscribe_url(&user.unsubscribe_token))
    }

    fn unsubscribe_url(&self, token: &str) -> String {
        let base = self.0.options.public_url.trim_end_matches('/');
        format!("{base}/api/v2/email/unsubscribe?token={token}")
    }

    /// Stores letters and queues their sending, as part of `tx`.
    pub(super) async fn queue_mails(&self, tx: &mut Tx, batch_id: i64, drafts: &[Draft]) -> Result<(), Failure> {
        let now = self.now();
        let emails = sql::insert(tx, batch_id, drafts, &now.format("%Y-%m-%d").to_string(), now).await?;
        for emails in emails.chunks(self.0.options.mails_per_batch.max(1)) {
            queue::push(tx, MAIL_TOPIC, &ToSend { emails: emails.to_vec() }, now).await?;
        }
        Ok(())
    }

    /// Sends a hundred or so; each mail's fate is written down at once, so that a crash repeats one mail at most.
    pub(super) async fn handle_mails(&self, item: &Item) -> Outcome {
        let ToSend { emails } = match item.parse() {
            Ok(todo) => todo,
            Err(outcome) => return outcome,
        };
        match self.send(&emails, item.attempts >= MOST_ATTEMPTS).await {
            Ok(None) => Outcome::Done,
            Ok(Some(reason)) => Outcome::Retry(reason),
            Err(error) => Outcome::Retry(error.to_string()),
        }
    }

    /// Answers why some are left, if so.
    async fn send(&self, emails: &[i64], last_attempt: bool) -> Result<Option<String>, crate::db::DbError> {
        let db = &self.0.db;
        let begun = std::time::Instant::now();
        let mut left = None;
        for mail in sql::queued(db, emails).await? {
            if begun.elapsed() > RUN_AT_MOST {
                return Ok(Some("there are more to send".into()));
            }
            let now = self.now();
            let letter = Letter { subject: mail.subject, text: mail.text_body, html: mail.html_body };
            let parcel = Parcel {
                delivery_id: format!("match-{}", mail.id),
                to: &mail.recipient,
                letter,
                unsubscribe_url: self.unsubscribe_url(&mail.unsubscribe_token),
                at: now,
            };
            match self.0.postman.deliver(parcel).await {
                Outcome::Done | Outcome::Then(_) => sql::set_state(db, mail.id, "sent", None, Some(now)).await?,
                Outcome::Dead(reason) => {
                    tracing::info!(user = mail.user_id, reason, "a mail bounced");
                    sql::set_state(db, mail.id, "bounced", Some(reason), None).await?;
                    sql::mark_bounced(db, mail.user_id, now).await?;
                }
                Outcome::Retry(reason) if last_attempt => {
                    sql::set_state(db, mail.id, "failed", Some(reason), None).await?;
                }
                Outcome::Retry(reason) => {
                    sql::set_state(db, mail.id, "queued", Some(reason.clone()), None).await?;
                    left = Some(reason);
                }
            }
        }
        Ok(left)
    }

    /// The letter that the user would get now.
    pub async fn preview(&self, user_id: i64) -> Result<(User, Letter), Failure> {
        let user = self.user(user_id).await?;
        let found = self.recommendation(user_id).await?;
        let ids: Vec<i64> = job_ids(&found.matches).collect();
        let lines = sql::lines(&self.0.db, &ids).await?.into_iter().map(|line| (line.id, line)).collect();
        let letter = self.compose(&user, &found, &lines);
        Ok((user, letter))
    }

    pub async fn emails(
        &self,
        user_id: Option<i64>,
        state: Option<&str>,
        page: PageRequest,
    ) -> Result<Page<Email>, Failure> {
        let (emails, total) = sql::list(&self.0.db, &self.0.totals, user_id, state, page).await?;
        Ok(Page::new(emails, page, total))
    }

    /// No more mail for whoever holds the link. A token that nobody has gets the same answer.
    pub async fn unsubscribe(&self, token: &str) -> Result<(), Failure> {
        if !sql::unsubscribe(&self.0.db, token).await? {
            tracing::info!("an unsubscribe link that belongs to nobody");
        }
        Ok(())
    }

    /// A mail server told of a bounce after it had taken the mail.
    pub async fn bounce(&self, address: &str, reason: &str) -> Result<(), Failure> {
        let address = address.trim().to_lowercase();
        if address.contains(char::is_control) || reason.contains(char::is_control) || reason.len() > 1_000 {
            return Err(Problem::invalid(vec![FieldError::new("reason", "is one line of up to 1000 bytes")]).into());
        }
        if sql::bounce_of(&self.0.db, &address, reason, self.now()).await? {
            return Ok(());
        }
        Err(Problem::not_found("no user has this address").into())
    }
}

fn job_ids(matches: &serde_json::Value) -> impl Iterator<Item = i64> {
    matches.as_array().into_iter().flatten().filter_map(|one| one["job_id"].as_i64())
}
