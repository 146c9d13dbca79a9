//! Log-ins by the clock, on both databases: stolen refresh tokens, ends, and revocations in one second.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, Utc};
use fanfare::auth::{AccountError, Accounts, AuthError, AuthOptions, Credentials, Gate, Identity, Role, Session};
use fanfare::clock::Clock;
use fanfare::db::Db;
use fanfare::telemetry::Registry;

use crate::support::databases;

const PASSWORD: &str = "correct horse battery staple";

/// A node: its gate and its accounts, on a database that others may share.
struct Node {
    gate: Gate,
    accounts: Accounts,
    notices: Arc<Mutex<Vec<i64>>>,
}

fn node(db: &Db, clock: &Clock) -> Node {
    let options = AuthOptions {
        secret_key: Some("a secret for tests, long enough: 0123456789".into()),
        refresh_ttl_s: 3600,
        ..AuthOptions::default()
    };
    let gate = Gate::new(&options, clock.clone(), &mut Registry::default()).unwrap();
    let notices = Arc::new(Mutex::new(Vec::new()));
    let told = notices.clone();
    let notice = Arc::new(move |number| told.lock().unwrap().push(number));
    let accounts = Accounts::new(db.clone(), gate.clone(), clock.clone(), options, notice);
    Node { gate, accounts, notices }
}

fn clock() -> Clock {
    Clock::manual(DateTime::<Utc>::from_timestamp(1_790_000_000, 0).unwrap())
}

impl Node {
    fn ask(&self, session: &Session) -> Result<Identity, AuthError> {
        self.gate.identify(&Credentials { bearer: Some(&session.access_token), ..Credentials::default() })
    }

    async fn log_in(&self) -> Session {
        self.accounts.log_in("ann", PASSWORD).await.unwrap_or_else(|error| panic!("{error}"))
    }

    async fn refused(&self, session: &Session) -> bool {
        matches!(self.accounts.refresh(&session.refresh_token).await, Err(AccountError::BadRefresh))
    }
}

#[tokio::test]
async fn a_refresh_token_that_comes_back_ends_its_log_in_and_no_other() {
    for database in databases().await {
        let clock = clock();
        let node = node(&database.db, &clock);
        node.accounts.add("ann", PASSWORD, Role::Manager).await.unwrap();
        let (first, elsewhere) = (node.log_in().await, node.log_in().await);
        let mut watch = node.gate.watch_revocations();
        let second = node.accounts.refresh(&first.refresh_token).await.ok().unwrap();
        assert_ne!(first.refresh_token, second.refresh_token);
        assert_eq!(first.refresh_until, second.refresh_until, "a log-in does not last for ever");
        // Within a moment it was an answer that got lost.
        clock.advance(Duration::from_secs(10));
        assert!(node.refused(&first).await);
        assert!(node.ask(&second).is_ok());
        clock.advance(Duration::from_secs(1));
        assert!(node.refused(&first).await);
        assert_eq!(node.ask(&first), Err(AuthError::Revoked));
        assert_eq!(node.ask(&second), Err(AuthError::Revoked));
        assert!(node.refused(&second).await);
        assert!(node.ask(&elsewhere).is_ok());
        assert!(watch.try_recv().is_ok() && watch.try_recv().is_ok() && watch.try_recv().is_err());
        assert_eq!(node.notices.lock().unwrap().len(), 1, "one notice tells of both");

        // What is used by two at once is given to one.
        let other = node.accounts.refresh(&elsewhere.refresh_token);
        let (a, b) = tokio::join!(other, node.accounts.refresh(&elsewhere.refresh_token));
        assert_eq!(usize::from(a.is_ok()) + usize::from(b.is_ok()), 1);
    }
}

#[tokio::test]
async fn a_log_in_ends_by_the_clock() {
    for database in databases().await {
        let clock = clock();
        let node = node(&database.db, &clock);
        node.accounts.add("ann", PASSWORD, Role::User).await.unwrap();
        let first = node.log_in().await;
        clock.advance(Duration::from_secs(906));
        assert_eq!(node.ask(&first), Err(AuthError::Expired));
        let second = node.accounts.refresh(&first.refresh_token).await.ok().unwrap();
        assert!(node.ask(&second).is_ok());
        clock.advance(Duration::from_secs(3600 - 906));
        assert!(node.refused(&second).await, "an hour after the log-in");
    }
}

#[tokio::test]
async fn revocations_within_one_second_each_end_what_was_given_before_them() {
    for database in databases().await {
        let clock = clock();
        let node = node(&database.db, &clock);
        node.accounts.add("ann", PASSWORD, Role::User).await.unwrap();
        let mut given = Vec::new();
        for round in 0..4 {
            let session = node.log_in().await;
            assert!(node.ask(&session).is_ok(), "{round}");
            given.push(session);
            node.accounts.revoke_subject("ann").await.unwrap();
            assert!(given.iter().all(|session| node.ask(session) == Err(AuthError::Revoked)), "{round}");
        }
        assert!(node.ask(&node.log_in().await).is_ok());
        clock.advance(Duration::from_secs(60));
        assert!(node.ask(&node.log_in().await).is_ok());
    }
}

#[tokio::test]
async fn a_node_that_starts_later_and_one_that_follows_know_what_was_revoked() {
    for database in databases().await {
        let clock = clock();
        let (one, following) = (node(&database.db, &clock), node(&database.db, &clock));
        one.accounts.add("ann", PASSWORD, Role::User).await.unwrap();
        let tasks = fanfare::tasks::Tasks::new();
        tasks.spawn("revocations", following.accounts.clone().watch(tasks.stop()));
        let (out, all) = (one.log_in().await, one.log_in().await);
        let mut told = following.gate.watch_revocations();
        let caller = one.ask(&out).unwrap();
        one.accounts.log_out(&caller).await.unwrap();
        following.gate.revocations().look();
        told.recv().await.unwrap();
        assert_eq!((following.ask(&out), following.ask(&all).is_ok()), (Err(AuthError::Revoked), true));
        one.accounts.revoke_subject("ann").await.unwrap();
        following.gate.revocations().look();
        // The log-out names the token twice, by its own expiry and by that of its log-in; it is told once.
        let revocation = told.recv().await.unwrap();
        assert!(revocation.concerns(&caller));
        assert_eq!(following.ask(&all), Err(AuthError::Revoked));

        let late = node(&database.db, &clock);
        assert!(late.ask(&out).is_ok());
        late.accounts.load_revocations().await.unwrap();
        assert_eq!((late.ask(&out), late.ask(&all)), (Err(AuthError::Revoked), Err(AuthError::Revoked)));
        tasks.drain(Duration::from_secs(5)).await;
    }
}
