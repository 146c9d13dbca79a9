//! What the tests of tokens share: key pairs of another system, its key set, and a server that hands it out.

use std::sync::{Arc, Mutex};

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// A private key with a name.
pub struct Signer {
    pub id: &'static str,
    pub algorithm: Algorithm,
    key: EncodingKey,
}

impl Signer {
    pub fn rsa(id: &'static str) -> Self {
        let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
        // The library wants PKCS #1, which is what the octet string within PKCS #8 holds.
        let pkcs8 = AsDer::<aws_lc_rs::encoding::Pkcs8V1Der<'_>>::as_der(&pair).unwrap();
        let inner = pkcs8.as_ref();
        let at = inner.windows(2).skip(4).position(|two| two == [0x30, 0x82]).unwrap() + 4;
        Self { id, algorithm: Algorithm::RS256, key: EncodingKey::from_rsa_der(&inner[at..]) }
    }

    pub fn ec(id: &'static str) -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let key = EncodingKey::from_ec_der(pair.to_pkcs8v1().unwrap().as_ref());
        Self { id, algorithm: Algorithm::ES256, key }
    }

    pub fn ed(id: &'static str) -> Self {
        let pair = Ed25519KeyPair::generate().unwrap();
        let key = EncodingKey::from_ed_der(pair.to_pkcs8v1().unwrap().as_ref());
        Self { id, algorithm: Algorithm::EdDSA, key }
    }

    pub fn sign(&self, claims: &Value) -> String {
        let header = Header { kid: Some(self.id.to_owned()), ..Header::new(self.algorithm) };
        jsonwebtoken::encode(&header, claims, &self.key).unwrap()
    }

    /// Without saying by which key.
    pub fn sign_unnamed(&self, claims: &Value) -> String {
        jsonwebtoken::encode(&Header::new(self.algorithm), claims, &self.key).unwrap()
    }

    /// The public half.
    pub fn public(&self) -> Value {
        let mut jwk = Jwk::from_encoding_key(&self.key, self.algorithm).unwrap();
        jwk.common.key_id = Some(self.id.to_owned());
        serde_json::to_value(jwk).unwrap()
    }
}

pub fn key_set(signers: &[&Signer]) -> Value {
    json!({"keys": signers.iter().map(|signer| signer.public()).collect::<Vec<_>>()})
}

/// An identity provider: answers every request with its key set, or with 500 when it has none.
pub struct Provider {
    pub url: String,
    answer: Arc<Mutex<Option<Value>>>,
    asked: Arc<Mutex<usize>>,
}

impl Provider {
    pub async fn start(keys: Value) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/keys.json", listener.local_addr().unwrap());
        let (answer, asked) = (Arc::new(Mutex::new(Some(keys))), Arc::new(Mutex::new(0)));
        let (current, count) = (answer.clone(), asked.clone());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = [0; 4096];
                let _ = stream.read(&mut request).await;
                *count.lock().unwrap() += 1;
                let answer = current.lock().unwrap().clone();
                let (status, body) = answer.map_or(("500 Oops", String::new()), |keys| ("200 OK", keys.to_string()));
                let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
                let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
            }
        });
        Self { url, answer, asked }
    }

    pub fn hand_out(&self, keys: Option<Value>) {
        *self.answer.lock().unwrap() = keys;
    }

    pub fn asked(&self) -> usize {
        *self.asked.lock().unwrap()
    }
}
