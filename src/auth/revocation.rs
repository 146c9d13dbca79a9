//! What was taken back before its time: single tokens, and everything that a subject was given before a moment.

use std::collections::HashMap;
use std::sync::{Arc, RwLock};

use tokio::sync::{Notify, broadcast};

use super::{Identity, Proof, TokenId};

/// Revocations that a receiver may be behind before it has to ask about all of its own.
const BEHIND: usize = 1024;

/// The revocations in force on this node. Cloning shares them.
#[derive(Clone)]
pub struct Revocations(Arc<Inner>);

struct Inner {
    state: RwLock<State>,
    told: broadcast::Sender<Revocation>,
    look: Notify,
}

#[derive(Default)]
struct State {
    /// Until when each has to be kept: its token has expired by then.
    tokens: HashMap<TokenId, i64>,
    /// Everything issued in this second or before is void.
    subjects: HashMap<Arc<str>, i64>,
}

/// One thing taken back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Revocation {
    Token {
        id: TokenId,
        /// When the token expires by itself, in milliseconds since 1970.
        until_ms: i64,
    },
    Subject {
        subject: Arc<str>,
        /// Tokens issued in this second or before are void, those that do not say when they were issued too.
        issued_until_s: i64,
    },
}

impl Revocation {
    /// Whether this takes back what `identity` was proved by.
    pub fn concerns(&self, identity: &Identity) -> bool {
        let Proof::Token { claims, id: token } = &identity.proof else { return false };
        match self {
            Revocation::Token { id, .. } => id == token,
            Revocation::Subject { subject, issued_until_s } => {
                *subject == identity.subject
                    && claims.issued_at_ms.is_none_or(|at| at.div_euclid(1000) <= *issued_until_s)
            }
        }
    }
}

impl Default for Revocations {
    fn default() -> Self {
        Self(Arc::new(Inner { state: RwLock::default(), told: broadcast::channel(BEHIND).0, look: Notify::new() }))
    }
}

impl Revocations {
    /// Whether what `identity` was proved by has been taken back.
    pub fn holds(&self, identity: &Identity) -> bool {
        let Proof::Token { claims, id } = &identity.proof else { return false };
        self.hold_token(&identity.subject, *id, claims.issued_at_ms)
    }

    /// The same for who keeps no more of an identity than this, as he has many.
    pub fn hold_token(&self, subject: &str, id: TokenId, issued_at_ms: Option<i64>) -> bool {
        let state = self.0.state.read().unwrap_or_else(|poisoned| poisoned.into_inner());
        let until = state.subjects.get(subject);
        state.tokens.contains_key(&id)
            || until.is_some_and(|until| issued_at_ms.is_none_or(|at| at.div_euclid(1000) <= *until))
    }

    /// The first second in which a new token for `subject` is not void at once.
    pub fn first_good_second(&self, subject: &str, now_s: i64) -> i64 {
        let state = self.0.state.read().unwrap_or_else(|poisoned| poisoned.into_inner());
        state.subjects.get(subject).map_or(now_s, |until| now_s.max(until + 1))
    }

    /// Puts one in force here, and tells whoever watches; nothing when it is in force already.
    pub fn add(&self, revocation: Revocation) {
        let is_new = {
            let mut state = self.0.state.write().unwrap_or_else(|poisoned| poisoned.into_inner());
            match &revocation {
                Revocation::Token { id, until_ms } => state.tokens.insert(*id, *until_ms).is_none(),
                Revocation::Subject { subject, issued_until_s } => {
                    let before = state.subjects.entry(subject.clone()).or_insert(i64::MIN);
                    let later = *before < *issued_until_s;
                    *before = (*before).max(*issued_until_s);
                    later
                }
            }
        };
        if is_new {
            // An error says that nobody watches.
            let _ = self.0.told.send(revocation);
        }
    }

    /// Every revocation from now on. A receiver that has fallen behind (`Lagged`) asks [`Revocations::holds`] about each
    /// of its identities.
    pub fn watch(&self) -> broadcast::Receiver<Revocation> {
        self.0.told.subscribe()
    }

    /// Forgets tokens that have expired by themselves.
    pub fn forget_expired(&self, now_ms: i64) {
        let mut state = self.0.state.write().unwrap_or_else(|poisoned| poisoned.into_inner());
        state.tokens.retain(|_, until_ms| *until_ms > now_ms);
        state.tokens.shrink_to_fit();
    }

    /// Another node says that it has written revocations: look at the database now.
    pub fn look(&self) {
        self.0.look.notify_one();
    }

    pub(super) async fn told_to_look(&self) {
        self.0.look.notified().await;
    }
}
