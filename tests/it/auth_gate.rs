//! Keys and tokens: who gets in, as what, and who does not.

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use chrono::{DateTime, Utc};
use fanfare::auth::{
    AuthError, AuthOptions, AuthOptionsError, Credentials, Gate, Identity, Permission, Proof, Role, Secret, issue_token,
};
use fanfare::clock::Clock;
use fanfare::telemetry::Registry;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

const SECRET: &str = "a secret for tests, long enough: 0123456789";
const KEY: &str = "key-of-the-warehouse-0123456789abcdef";
const ADMIN_KEY: &str = "key-of-the-operator-0123456789abcdef";
const HASHED_KEY: &str = "key-known-by-its-hash-only-0123456789";
const NOW_S: i64 = 1_790_000_000;

pub fn options() -> AuthOptions {
    let hash: String = Sha256::digest(HASHED_KEY).iter().map(|byte| format!("{byte:02x}")).collect();
    AuthOptions {
        secret_key: Some(SECRET.into()),
        jwt_secret_key: None,
        api_keys: vec![
            KEY.into(),
            Secret::new(format!("admin:{ADMIN_KEY}")),
            Secret::new(format!("user:sha256:{hash}")),
        ],
        ..Default::default()
    }
}

fn clock() -> Clock {
    Clock::manual(DateTime::<Utc>::from_timestamp(NOW_S, 0).unwrap())
}

fn gate() -> Gate {
    Gate::new(&options(), clock(), &mut Registry::default()).unwrap()
}

fn sign(algorithm: Algorithm, secret: &str, claims: &Value) -> String {
    jsonwebtoken::encode(&Header::new(algorithm), claims, &EncodingKey::from_secret(secret.as_bytes())).unwrap()
}

fn bearer(gate: &Gate, text: &str) -> Result<Identity, AuthError> {
    gate.identify(&Credentials { bearer: Some(text), ..Default::default() })
}

fn token(claims: Value) -> Result<Identity, AuthError> {
    bearer(&gate(), &sign(Algorithm::HS256, SECRET, &claims))
}

#[test]
fn without_secret_and_keys_everybody_is_an_admin() {
    let gate = Gate::new(&AuthOptions::default(), clock(), &mut Registry::default()).unwrap();
    assert!(gate.is_open());
    assert_eq!(gate.identify(&Credentials::default()), Ok(Identity::anonymous_admin()));
    let one_key = AuthOptions { api_keys: vec![KEY.into()], ..Default::default() };
    let gate = Gate::new(&one_key, clock(), &mut Registry::default()).unwrap();
    assert!(!gate.is_open());
    assert_eq!(gate.identify(&Credentials::default()), Err(AuthError::Missing));
    assert_eq!(bearer(&gate, KEY).unwrap().role, Role::Manager);
    // There is no secret that a token could be signed with, so none is taken.
    assert_eq!(
        bearer(&gate, &sign(Algorithm::HS256, "", &json!({"sub": "a", "exp": NOW_S + 60}))),
        Err(AuthError::BadKey)
    );
}

#[test]
fn a_key_opens_by_header_and_as_bearer() {
    let gate = gate();
    for (key, role) in [(KEY, Role::Manager), (ADMIN_KEY, Role::Admin), (HASHED_KEY, Role::User)] {
        let by_header = gate.identify(&Credentials { api_key: Some(key), ..Default::default() }).unwrap();
        assert_eq!(by_header.role, role);
        assert!(by_header.subject.starts_with("key:") && by_header.subject.len() == 12);
        assert_eq!(bearer(&gate, key), Ok(by_header.clone()));
        let by_query = gate.identify(&Credentials { query_token: Some(key), ..Default::default() });
        assert_eq!(by_query, Ok(by_header));
    }
    for wrong in ["", "x", &KEY[1..], &format!("{KEY}x"), &format!("admin:{ADMIN_KEY}"), "key.of.nobody"] {
        let by_header = gate.identify(&Credentials { api_key: Some(wrong), ..Default::default() });
        assert_eq!(by_header, Err(AuthError::BadKey), "{wrong}");
        assert!(bearer(&gate, wrong).is_err(), "{wrong}");
    }
    // A wrong key is not made good by a right token.
    let both = Credentials { api_key: Some("wrong"), bearer: Some(KEY), query_token: None };
    assert_eq!(gate.identify(&both), Err(AuthError::BadKey));
}

#[test]
fn tokens_of_all_three_hashes_are_taken() {
    for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
        let claims = json!({"sub": "ann", "exp": NOW_S + 60, "role": "manager", "aud": "somebody", "iat": NOW_S});
        let identity = bearer(&gate(), &sign(algorithm, SECRET, &claims)).unwrap();
        assert_eq!((&*identity.subject, identity.role), ("ann", Role::Manager));
    }
    for (role, expected) in [
        (json!("admin"), Role::Admin),
        (json!("user"), Role::User),
        (json!("Admin"), Role::User),
        (json!("instructor"), Role::User),
        (json!(["admin"]), Role::User),
        (Value::Null, Role::User),
    ] {
        assert_eq!(token(json!({"sub": "ann", "exp": NOW_S + 60, "role": role})).unwrap().role, expected);
    }
}

#[test]
fn times_are_checked_with_a_small_leeway() {
    assert_eq!(token(json!({"sub": "ann", "exp": NOW_S - 6})), Err(AuthError::Expired));
    assert!(token(json!({"sub": "ann", "exp": NOW_S - 4})).is_ok());
    assert!(token(json!({"sub": "ann", "exp": NOW_S as f64 + 0.5})).is_ok());
    let with_nbf = |nbf: i64| token(json!({"sub": "ann", "exp": NOW_S + 60, "nbf": nbf}));
    assert_eq!(with_nbf(NOW_S + 6), Err(AuthError::NotYetValid));
    assert!(with_nbf(NOW_S + 4).is_ok() && with_nbf(NOW_S - 4).is_ok());
}

#[test]
fn incomplete_and_forged_tokens_are_refused() {
    for claims in [
        json!({"sub": "ann"}),
        json!({"exp": NOW_S + 60}),
        json!({"sub": "", "exp": NOW_S + 60}),
        json!({"sub": 7, "exp": NOW_S + 60}),
        json!({"sub": "ann", "exp": "tomorrow"}),
        json!({"sub": "ann", "exp": null}),
        json!({"sub": "ann", "exp": NOW_S + 60, "nbf": "x"}),
    ] {
        assert_eq!(token(claims.clone()), Err(AuthError::BadToken), "{claims}");
    }
    let claims = json!({"sub": "ann", "exp": NOW_S + 60, "role": "admin"});
    let other = sign(Algorithm::HS256, "another secret, also long enough 012345", &claims);
    assert_eq!(bearer(&gate(), &other), Err(AuthError::BadSignature));

    let good = sign(Algorithm::HS256, SECRET, &claims);
    let (message, signature) = good.rsplit_once('.').unwrap();
    let (head, _) = message.split_once('.').unwrap();
    let encode = |value: &Value| BASE64.encode(value.to_string());
    let forged = encode(&json!({"sub": "eve", "exp": NOW_S + 60, "role": "admin"}));
    assert_eq!(bearer(&gate(), &format!("{head}.{forged}.{signature}")), Err(AuthError::BadSignature));
    for algorithm in ["none", "None", "NONE", "RS256", "ES256", "EdDSA", ""] {
        let head = encode(&json!({"alg": algorithm, "typ": "JWT"}));
        for signature in ["", signature] {
            let forged = format!("{head}.{}.{signature}", encode(&claims));
            assert_eq!(bearer(&gate(), &forged), Err(AuthError::BadToken), "{algorithm}");
        }
    }
    for nonsense in ["..", "a.b.c", "a.b", &format!("{message}."), &format!("{good}.x"), "ä.ö.ü"] {
        assert!(bearer(&gate(), nonsense).is_err(), "{nonsense}");
    }
}

#[test]
fn an_issued_token_is_taken_until_it_expires() {
    let clock = clock();
    let own = AuthOptions { jwt_secret_key: Some("the secret that only signs tokens 0123".into()), ..options() };
    let gate = Gate::new(&own, clock.clone(), &mut Registry::default()).unwrap();
    let token = issue_token(&own, &clock, "ann", Role::Admin, Duration::from_secs(60)).unwrap();
    let identity = bearer(&gate, &token).unwrap();
    assert_eq!((&*identity.subject, identity.role), ("ann", Role::Admin));
    // The other secret signs nothing once there is one for tokens.
    assert_eq!(
        bearer(&gate, &sign(Algorithm::HS256, SECRET, &json!({"sub": "a", "exp": NOW_S + 9}))),
        Err(AuthError::BadSignature)
    );
    clock.advance(Duration::from_secs(66));
    assert_eq!(bearer(&gate, &token), Err(AuthError::Expired));
    assert!(issue_token(&AuthOptions::default(), &clock, "ann", Role::User, Duration::from_secs(60)).is_err());
}

#[test]
fn roles_may_what_they_are_said_to() {
    use Permission::{Delete, Manage, Read, Write};
    for (role, may) in [
        (Role::User, [true, false, false, false]),
        (Role::Manager, [true, true, true, false]),
        (Role::Admin, [true, true, true, true]),
    ] {
        let identity = Identity::new("x", role, Proof::ApiKey);
        assert_eq!([Read, Write, Delete, Manage].map(|permission| identity.may(permission)), may, "{role}");
    }
}

#[test]
fn short_secrets_are_refused_and_no_secret_can_be_printed() {
    let short = |secret_key: Option<&str>, api_key: &str| {
        let secret_key = secret_key.map(Secret::from);
        AuthOptions { secret_key, api_keys: vec![api_key.into()], ..Default::default() }.check()
    };
    assert_eq!(short(Some("short"), KEY), Err(AuthOptionsError::TooShort { name: "SECRET_KEY", chars: 5 }));
    assert_eq!(short(Some(""), KEY), Err(AuthOptionsError::TooShort { name: "SECRET_KEY", chars: 0 }));
    assert_eq!(short(None, "admin:short"), Err(AuthOptionsError::KeyTooShort { number: 1, chars: 5 }));
    assert_eq!(short(None, "sha256:0123"), Err(AuthOptionsError::NotAHash { number: 1 }));
    assert_eq!(short(Some(SECRET), KEY), Ok(()));
    let printed = format!("{:?} {}", options(), serde_json::to_string(&options()).unwrap());
    assert!(!printed.contains(SECRET) && !printed.contains(KEY) && printed.contains("***"), "{printed}");

    let read: AuthOptions = serde_json::from_value(json!({"api_keys": format!("{KEY}, {ADMIN_KEY},")})).unwrap();
    assert_eq!(read.api_keys, [Secret::from(KEY), Secret::from(ADMIN_KEY)]);
    let listed: AuthOptions = serde_json::from_value(json!({"secret_key": SECRET, "api_keys": [KEY]})).unwrap();
    assert_eq!((listed.secret_key, listed.api_keys), (Some(SECRET.into()), vec![KEY.into()]));
    assert!(serde_json::from_value::<AuthOptions>(json!({"secret": "x"})).is_err());
}
