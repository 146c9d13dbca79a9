//! Tokens that another system signs: every algorithm, rotation, and what must not be confused.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use fanfare::auth::{AuthError, AuthOptions, AuthOptionsError, Credentials, Gate, Identity};
use fanfare::clock::Clock;
use fanfare::telemetry::Registry;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use crate::auth_kit::{Provider, Signer, key_set};
use crate::support::{Fanfare, Settings, http, next_json, temp_dir};

const SECRET: &str = "a secret for tests, long enough: 0123456789";

fn gate(options: AuthOptions) -> Gate {
    Gate::new(&options, Clock::system(), &mut Registry::default()).unwrap()
}

fn claims() -> Value {
    json!({"sub": "ann", "exp": Clock::system().now().timestamp() + 60, "role": "manager"})
}

async fn ask(gate: &Gate, token: &str) -> Result<Identity, AuthError> {
    let credentials = Credentials { bearer: Some(token), ..Credentials::default() };
    gate.prepare(&credentials).await;
    gate.identify(&credentials)
}

#[tokio::test]
async fn every_kind_of_key_is_taken_with_and_without_its_name() {
    let (rsa, ec, ed) = (Signer::rsa("r"), Signer::ec("e"), Signer::ed("d"));
    let provider = Provider::start(key_set(&[&rsa, &ec, &ed])).await;
    let gate = gate(AuthOptions { jwks_url: Some(provider.url.clone()), ..AuthOptions::default() });
    assert!(!gate.is_open());
    for signer in [&rsa, &ec, &ed] {
        for token in [signer.sign(&claims()), signer.sign_unnamed(&claims())] {
            let identity = ask(&gate, &token).await;
            assert_eq!(identity.map(|it| it.subject.to_string()), Ok("ann".to_owned()), "{:?}", signer.algorithm);
            let (message, signature) = token.rsplit_once('.').unwrap();
            let mut other = BASE64.decode(signature).unwrap();
            other[5] ^= 1;
            let forged = format!("{message}.{}", BASE64.encode(other));
            assert_eq!(ask(&gate, &forged).await, Err(AuthError::BadSignature), "{:?}", signer.algorithm);
        }
    }
    assert_eq!(provider.asked(), 1, "the set is kept");
    // A token of a stranger under a known name.
    assert_eq!(ask(&gate, &Signer::ec("e").sign(&claims())).await, Err(AuthError::BadSignature));
    // And one that names another's key.
    assert_eq!(ask(&gate, &Signer::ed("r").sign(&claims())).await, Err(AuthError::BadToken));
}

#[tokio::test]
async fn no_algorithm_can_be_confused_with_another() {
    let (rsa, ec) = (Signer::rsa("r"), Signer::ec("e"));
    let oct = json!({"kty": "oct", "kid": "o", "k": BASE64.encode(SECRET), "alg": "HS256"});
    let mut set = key_set(&[&rsa, &ec]);
    set["keys"].as_array_mut().unwrap().push(oct);
    let encryption = json!({"use": "enc"});
    let mut for_encryption = Signer::rsa("x").public();
    for_encryption.as_object_mut().unwrap().extend(encryption.as_object().unwrap().clone());
    set["keys"].as_array_mut().unwrap().push(for_encryption);
    let provider = Provider::start(set).await;
    let only_set = gate(AuthOptions { jwks_url: Some(provider.url.clone()), ..AuthOptions::default() });
    let both = gate(AuthOptions {
        secret_key: Some("the server's own secret, which nobody else has".into()),
        jwks_url: Some(provider.url.clone()),
        ..AuthOptions::default()
    });
    // The public key, in every form that is at hand, used as if it were a shared secret.
    let n = rsa.public()["n"].as_str().unwrap().to_owned();
    let decoded = BASE64.decode(&n).unwrap();
    let whole = serde_json::to_vec(&rsa.public()).unwrap();
    for secret in [n.as_bytes(), &decoded, &whole, SECRET.as_bytes(), b""] {
        for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
            for kid in [None, Some("r"), Some("e"), Some("o"), Some("x")] {
                let header = Header { kid: kid.map(str::to_owned), ..Header::new(algorithm) };
                let token = jsonwebtoken::encode(&header, &claims(), &EncodingKey::from_secret(secret)).unwrap();
                assert_eq!(ask(&only_set, &token).await, Err(AuthError::BadToken));
                assert_eq!(ask(&both, &token).await, Err(AuthError::BadSignature));
            }
        }
    }
    // A key that rides in the token itself is nobody's.
    let eve = Signer::ec("e");
    let jwk = serde_json::from_value(eve.public()).unwrap();
    let header =
        json!({"alg": "ES256", "kid": "e", "jwk": serde_json::to_value::<jsonwebtoken::jwk::Jwk>(jwk).unwrap()});
    let (_, rest) = eve.sign(&claims()).split_once('.').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    let token = format!("{}.{rest}", BASE64.encode(header.to_string()));
    assert!(ask(&only_set, &token).await.is_err());
    // What must be understood and is not; no signature at all.
    for header in [json!({"alg": "RS256", "kid": "r", "crit": ["b64"]}), json!({"alg": "none", "kid": "r"})] {
        let token = format!("{}.{}.", BASE64.encode(header.to_string()), BASE64.encode(claims().to_string()));
        assert_eq!(ask(&only_set, &token).await, Err(AuthError::BadToken), "{header}");
    }
}

#[tokio::test]
async fn a_new_key_is_looked_for_once_an_interval_and_an_old_one_ends() {
    let (first, second) = (Signer::ec("one"), Signer::ec("two"));
    let provider = Provider::start(key_set(&[&first])).await;
    let options =
        |jwks_retry_ms| AuthOptions { jwks_url: Some(provider.url.clone()), jwks_retry_ms, ..AuthOptions::default() };
    let patient = gate(options(3_600_000));
    assert!(ask(&patient, &first.sign(&claims())).await.is_ok());
    provider.hand_out(Some(key_set(&[&second])));
    for _ in 0..50 {
        assert_eq!(ask(&patient, &second.sign(&claims())).await, Err(AuthError::BadToken));
    }
    assert_eq!(provider.asked(), 1, "names that are not known cause no flood");

    let quick = gate(options(1));
    provider.hand_out(Some(key_set(&[&first])));
    assert!(ask(&quick, &first.sign(&claims())).await.is_ok());
    provider.hand_out(Some(key_set(&[&second])));
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    assert!(ask(&quick, &second.sign(&claims())).await.is_ok(), "found at the first token that names it");
    assert_eq!(ask(&quick, &first.sign(&claims())).await, Err(AuthError::BadToken), "taken out of the set");
    // The provider's failures take nothing away.
    provider.hand_out(None);
    assert!(ask(&quick, &first.sign(&claims())).await.is_err());
    assert!(ask(&quick, &second.sign(&claims())).await.is_ok());
    for nonsense in [json!({}), json!({"keys": []}), json!([]), json!({"keys": vec![first.public(); 65]})] {
        provider.hand_out(Some(nonsense));
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        let _ = ask(&quick, &first.sign(&claims())).await;
        assert!(ask(&quick, &second.sign(&claims())).await.is_ok());
    }
}

#[tokio::test]
async fn many_tokens_with_an_unknown_name_wait_for_one_look() {
    let signer = Signer::ed("one");
    let provider = Provider::start(key_set(&[&signer])).await;
    let gate = gate(AuthOptions { jwks_url: Some(provider.url.clone()), ..AuthOptions::default() });
    let token = signer.sign(&claims());
    let asked = (0..100).map(|_| ask(&gate, &token));
    assert!(futures_util::future::join_all(asked).await.iter().all(Result::is_ok));
    assert_eq!(provider.asked(), 1);
}

#[tokio::test]
async fn a_file_is_read_again_and_must_be_there_at_the_start() {
    let folder = temp_dir("keys");
    let path = folder.path().join("keys.json");
    let options = AuthOptions { jwks_file: Some(path.clone()), jwks_retry_ms: 1, ..AuthOptions::default() };
    assert!(matches!(gate(options.clone()).load_key_set().await, Err(AuthOptionsError::JwksFile(_))));
    let (first, second) = (Signer::ec("one"), Signer::ed("two"));
    std::fs::write(&path, key_set(&[&first]).to_string()).unwrap();
    let gate = gate(options);
    gate.load_key_set().await.unwrap();
    assert!(ask(&gate, &first.sign(&claims())).await.is_ok());
    std::fs::write(&path, key_set(&[&first, &second]).to_string()).unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    assert!(ask(&gate, &second.sign(&claims())).await.is_ok());
}

#[test]
fn a_key_set_that_anybody_could_change_on_its_way_is_refused() {
    let check = |url: &str| AuthOptions { jwks_url: Some(url.into()), ..AuthOptions::default() }.check();
    for good in ["https://id.example/keys", "http://127.0.0.1:8080/keys", "http://[::1]/keys", "http://localhost/keys"]
    {
        assert_eq!(check(good), Ok(()), "{good}");
    }
    for bad in ["http://id.example/keys", "ftp://127.0.0.1/keys", "keys", "file:///keys", "http://127.0.0.1.example/"] {
        assert_eq!(check(bad), Err(AuthOptionsError::JwksUrl), "{bad}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_takes_another_systems_tokens_by_header_query_and_subprotocol_through_a_rotation() {
    let (first, second) = (Signer::rsa("one"), Signer::ec("two"));
    let provider = Provider::start(key_set(&[&first])).await;
    let settings = Settings::new()
        .env("FANFARE__AUTH__JWKS_URL", provider.url.clone())
        .env("FANFARE__AUTH__JWKS_RETRY_MS", "1")
        .env("FANFARE__AUTH__AUDIENCE", "shop");
    let server = Fanfare::start(settings).await;
    let claims = |role: &str| {
        let exp = Clock::system().now().timestamp() + 60;
        json!({"sub": "ann", "exp": exp, "role": role, "aud": ["x", "shop"]})
    };
    let post = async |token: String| {
        let item = json!({"sku": format!("A-{}", fastrand::u32(..)), "name": "x"});
        let request = http().post(format!("{}/api/v1/inventory", server.url())).bearer_auth(token).json(&item);
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!(post(first.sign(&claims("user"))).await, 403);
    assert_eq!(post(first.sign(&claims("manager"))).await, 201);
    assert_eq!(post(second.sign(&claims("manager"))).await, 401);
    provider.hand_out(Some(key_set(&[&second])));
    // The stream's own handshake is the first to show the new key.
    let mut stream = server.ws(&format!("/ws/inventory?token={}", second.sign(&claims("user")))).await;
    assert_eq!(post(second.sign(&claims("manager"))).await, 201);
    assert_eq!(next_json(&mut stream).await["action"], "created");
    assert_eq!(post(first.sign(&claims("manager"))).await, 401);
}
