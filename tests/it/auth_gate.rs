//! Keys and tokens: who gets in, as what, and who does not.

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use chrono::{DateTime, Utc};
use fanfare::auth::{
    AuthError, AuthOptions, AuthOptionsError, Credentials, Gate, Identity, MintedKey, Permission, Proof, Revocation,
    Role, Secret, issue_token,
};
use fanfare::clock::Clock;
use fanfare::telemetry::Registry;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use proptest::prelude::*;
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

#[test]
fn audience_and_issuer_are_checked_where_they_are_set() {
    let options = AuthOptions { audience: vec!["shop".into(), "class".into()], issuer: Some("id".into()), ..options() };
    let gate = Gate::new(&options, clock(), &mut Registry::default()).unwrap();
    let ask = |extra: Value| {
        let mut claims = json!({"sub": "ann", "exp": NOW_S + 60});
        claims.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        bearer(&gate, &sign(Algorithm::HS256, SECRET, &claims)).map(|_| ())
    };
    assert_eq!(ask(json!({"aud": "shop", "iss": "id"})), Ok(()));
    assert_eq!(ask(json!({"aud": ["x", "class"], "iss": "id"})), Ok(()));
    for aud in [json!("shops"), json!([]), json!(["x"]), Value::Null] {
        assert_eq!(ask(json!({"aud": aud, "iss": "id"})), Err(AuthError::OtherAudience), "{aud}");
    }
    assert_eq!(ask(json!({"iss": "id"})), Err(AuthError::OtherAudience));
    assert_eq!(ask(json!({"aud": "shop", "iss": "idx"})), Err(AuthError::OtherIssuer));
    assert_eq!(ask(json!({"aud": "shop"})), Err(AuthError::OtherIssuer));
    // What this server issues is meant for itself.
    let own = issue_token(&options, &clock(), "ann", Role::User, Duration::from_secs(60)).unwrap();
    assert!(bearer(&gate, &own).is_ok());
}

#[test]
fn a_secret_before_is_still_taken_and_signs_nothing() {
    let new = "the new secret of this server, 0123456789";
    let options = AuthOptions {
        jwt_secret_key: Some(new.into()),
        jwt_previous_secret_key: Some(SECRET.into()),
        ..AuthOptions::default()
    };
    let gate = Gate::new(&options, clock(), &mut Registry::default()).unwrap();
    let claims = json!({"sub": "ann", "exp": NOW_S + 60});
    assert!(bearer(&gate, &sign(Algorithm::HS256, SECRET, &claims)).is_ok());
    assert!(bearer(&gate, &sign(Algorithm::HS512, new, &claims)).is_ok());
    let issued = issue_token(&options, &clock(), "ann", Role::User, Duration::from_secs(60)).unwrap();
    let only_new = AuthOptions { jwt_secret_key: Some(new.into()), ..AuthOptions::default() };
    let only_new = Gate::new(&only_new, clock(), &mut Registry::default()).unwrap();
    assert!(bearer(&only_new, &issued).is_ok());
}

#[tokio::test]
async fn tokens_of_the_channel_protocol_are_told_apart() {
    let gate = gate();
    let connection =
        sign(Algorithm::HS256, SECRET, &json!({"sub": "ann", "expire_at": NOW_S + 9, "channels": ["a:b"]}));
    let (claims, identity) = gate.connection_token(&connection).await.unwrap();
    assert_eq!((&*identity.subject, &claims.channels[..]), ("ann", &["a:b".to_owned()][..]));
    assert_eq!(identity.ends_at_ms(), Some((NOW_S + 9) * 1000));
    let anonymous = sign(Algorithm::HS256, SECRET, &json!({"exp": NOW_S + 9}));
    assert_eq!(gate.connection_token(&anonymous).await.unwrap().0.subject, None);
    let subscription = sign(Algorithm::HS256, SECRET, &json!({"sub": "ann", "channel": "a:b", "exp": NOW_S + 9}));
    assert_eq!(gate.connection_token(&subscription).await.err(), Some(AuthError::BadToken));
    assert_eq!(gate.subscription_token(&subscription).await.unwrap().channel.as_deref(), Some("a:b"));
    assert_eq!(gate.subscription_token(&connection).await.err(), Some(AuthError::BadToken));
    // A right to one channel is none to the API.
    assert_eq!(bearer(&gate, &subscription), Err(AuthError::BadToken));
    // Nor does what says neither who nor until when open it.
    assert_eq!(bearer(&gate, &anonymous), Err(AuthError::BadToken));
    assert_eq!(bearer(&gate, &connection), Err(AuthError::BadToken));
}

#[test]
fn a_minted_key_opens_by_its_entry_alone() {
    for base in [options(), AuthOptions { api_key_pepper: Some("x".repeat(32).as_str().into()), ..options() }] {
        let minted = MintedKey::mint(&base, "subscribe:price:* events:write").unwrap();
        assert!(minted.entry.starts_with("[subscribe:price:* events:write]:hmac-sha256:"), "{}", minted.entry);
        let api_keys = vec![Secret::new(minted.entry.clone())];
        let gate =
            Gate::new(&AuthOptions { api_keys: api_keys.clone(), ..base }, clock(), &mut Registry::default()).unwrap();
        let identity = bearer(&gate, minted.key.expose()).unwrap();
        assert!(identity.may_subscribe("price:updates") && !identity.may_subscribe("inventory:updates"));
        assert!(identity.may_listen("price", &["price:updates", "price:alerts"]) && !identity.may_listen("x", &["a"]));
        assert!(identity.may_post_events() && !identity.only_posts_events());
        assert!(!identity.may(Permission::Read) && !identity.may_publish("price:updates") && !identity.publishes());
        // Under another secret the entry says nothing.
        let other =
            AuthOptions { secret_key: Some("y".repeat(32).as_str().into()), api_keys, ..AuthOptions::default() };
        let other = Gate::new(&other, clock(), &mut Registry::default()).unwrap();
        assert_eq!(bearer(&other, minted.key.expose()), Err(AuthError::BadKey));
    }
    let without = MintedKey::mint(&AuthOptions::default(), "admin").unwrap();
    assert!(without.entry.starts_with("admin:sha256:"));
    let options = AuthOptions { api_keys: vec![Secret::new(without.entry)], ..AuthOptions::default() };
    let gate = Gate::new(&options, clock(), &mut Registry::default()).unwrap();
    assert_eq!(bearer(&gate, without.key.expose()).unwrap().role, Role::Admin);
    assert!(MintedKey::mint(&AuthOptions::default(), "everything").is_err());

    let check = |entry: String| AuthOptions { api_keys: vec![Secret::new(entry)], ..AuthOptions::default() }.check();
    assert!(matches!(check(format!("[reads]:{KEY}")), Err(AuthOptionsError::Scope { number: 1, .. })));
    assert_eq!(check(format!("user:hmac-sha256:{}", "0".repeat(64))), Err(AuthOptionsError::NoPepper { number: 1 }));
    assert_eq!(check(format!("[read]:{KEY}")), Ok(()));
}

proptest! {
    #[test]
    fn no_text_is_too_odd_for_a_token(text in "\\PC{0,80}", parts in prop::collection::vec("[A-Za-z0-9_-]{0,40}", 0..5)) {
        for text in [text, parts.join(".")] {
            prop_assert!(bearer(&gate(), &text).is_err());
        }
    }

    #[test]
    fn odd_claims_and_headers_under_a_good_signature_do_no_harm(claims in json_value(), name in "[a-z]{2,4}", header in json_value()) {
        let named = json!({"sub": "ann", "exp": NOW_S + 60, (name): claims.clone()});
        for claims in [claims, named] {
            if let Ok(identity) = bearer(&gate(), &sign(Algorithm::HS256, SECRET, &claims)) {
                prop_assert!(!identity.subject.is_empty());
            }
        }
        let head = BASE64.encode(json!({"alg": "HS256", "kid": header}).to_string());
        let odd = format!("{head}.e30.AAAA");
        prop_assert!(bearer(&gate(), &odd).is_err());
    }
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "\\PC{0,10}".prop_map(Value::from),
    ];
    let name = "sub|exp|nbf|iat|aud|iss|jti|info|meta|channels|subs|channel|override|role|b64info|[a-z]{0,3}";
    leaf.prop_recursive(3, 16, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(name, inner, 0..4).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

#[test]
fn what_is_revoked_opens_no_more_and_whoever_watches_is_told() {
    let gate = gate();
    let token = |sub: &str, jti: Value, iat: Value| {
        sign(Algorithm::HS256, SECRET, &json!({"sub": sub, "exp": NOW_S + 60, "jti": jti, "iat": iat}))
    };
    let (one, two) = (token("ann", json!("1"), json!(NOW_S - 9)), token("ann", json!("2"), json!(NOW_S + 1)));
    let (undated, other) = (token("ann", Value::Null, Value::Null), token("bob", json!("1b"), json!(NOW_S - 9)));
    let identities: Vec<_> = [&one, &two, &undated, &other].map(|token| bearer(&gate, token).unwrap()).into();
    let mut told = gate.watch_revocations();

    let Proof::Token { id, .. } = identities[0].proof else { panic!("a token") };
    let revocation = Revocation::Token { id, until_ms: (NOW_S + 60) * 1000 };
    gate.revocations().add(revocation.clone());
    gate.revocations().add(revocation.clone());
    assert_eq!(told.try_recv(), Ok(revocation.clone()));
    assert!(told.try_recv().is_err(), "once");
    assert_eq!(bearer(&gate, &one), Err(AuthError::Revoked));
    assert!(bearer(&gate, &two).is_ok());
    assert_eq!(identities.iter().map(|it| revocation.concerns(it)).collect::<Vec<_>>(), [true, false, false, false]);

    gate.revocations().add(Revocation::Subject { subject: "ann".into(), issued_until_s: NOW_S });
    let revocation = told.try_recv().unwrap();
    assert_eq!(identities.iter().map(|it| revocation.concerns(it)).collect::<Vec<_>>(), [true, false, true, false]);
    assert!(bearer(&gate, &two).is_ok(), "given afterwards");
    assert_eq!(bearer(&gate, &undated), Err(AuthError::Revoked), "nobody knows when it was given");
    assert!(bearer(&gate, &other).is_ok());
    assert_eq!(gate.revocations().first_good_second("ann", NOW_S), NOW_S + 1);

    gate.revocations().forget_expired((NOW_S + 61) * 1000);
    gate.revocations().add(Revocation::Token { id, until_ms: 0 });
    assert!(told.try_recv().is_ok(), "was forgotten");
}
