//! Until when a client may stay: its token's end, put off by a refresh, or the moment when that token is taken back.

use std::sync::Arc;

use super::upgrade::Sessions;
use crate::auth::{AuthError, Credentials, Identity, Permission, Proof, TokenId};
use crate::clock::Clock;
use crate::stream::FeedSpec;
use crate::wire::Close;

/// What lets a client stay that came with a token. Those who came otherwise have none, as theirs ends with the process.
/// Kept small: there is one a connection.
pub(super) struct Right {
    sessions: Sessions,
    feed: &'static FeedSpec,
    subject: Arc<str>,
    token: TokenId,
    issued_at_ms: Option<i64>,
    pub ends_at_ms: Option<i64>,
    /// Whether it hears what belongs to other users.
    hears_all: bool,
}

impl Right {
    pub fn of(sessions: &Sessions, feed: &'static FeedSpec, identity: &Identity) -> Option<Box<Self>> {
        let Proof::Token { claims, id } = &identity.proof else { return None };
        Some(Box::new(Self {
            sessions: sessions.clone(),
            feed,
            subject: identity.subject.clone(),
            token: *id,
            issued_at_ms: claims.issued_at_ms,
            ends_at_ms: identity.ends_at_ms(),
            hears_all: hears_all(identity, feed),
        }))
    }

    pub fn holds(&self) -> Result<(), Close> {
        if self.ends_at_ms.is_some_and(|ends_at_ms| ends_at_ms <= Clock::system().now_ms()) {
            return Err(Close::Expired);
        }
        let revoked = self.sessions.gate().revocations().hold_token(&self.subject, self.token, self.issued_at_ms);
        if revoked { Err(Close::Revoked) } else { Ok(()) }
    }

    /// Goes on with another token of the same user, which must allow what the client hears. Otherwise all stays as it
    /// was, and the answer says why.
    pub fn refresh(&mut self, token: &str) -> Result<(), &'static str> {
        let gate = self.sessions.gate();
        let identity = match gate.identify(&Credentials { query_token: Some(token), ..Credentials::default() }) {
            Ok(identity) => identity,
            Err(error) => {
                if error == AuthError::BadSignature {
                    self.learn_key(token);
                }
                return Err(error.reason());
            }
        };
        if identity.subject != self.subject {
            return Err("other_subject");
        }
        let narrower = self.hears_all && !hears_all(&identity, self.feed);
        if narrower || !identity.may_listen(self.feed.name, self.feed.channels) {
            return Err("forbidden");
        }
        let fresh = Self::of(&self.sessions, self.feed, &identity).ok_or("not_a_token")?;
        *self = *fresh;
        Ok(())
    }

    /// A key that is not known yet is asked for, so that the client's next try succeeds: here nobody may wait.
    fn learn_key(&self, token: &str) {
        let (gate, token) = (self.sessions.gate().clone(), token.to_owned());
        self.sessions.runtime().spawn(async move {
            gate.prepare(&Credentials { query_token: Some(&token), ..Credentials::default() }).await;
        });
    }
}

/// Whether it hears what belongs to single users: who may write does, and a key to which a scope gave the feed by name.
pub(super) fn hears_all(identity: &Identity, feed: &FeedSpec) -> bool {
    feed.own.is_none() || identity.scopes.is_some() || identity.may(Permission::Write)
}
