//! TLS: requests and streams through it, a certificate that changes under way, and what a broken pair does.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::support::{Fanfare, PATIENCE, Settings, eventually, program, temp_dir};

use futures_util::StreamExt;

/// Certificates of one throw-away authority.
struct Authority(TempDir);

impl Authority {
    fn new() -> Self {
        let it = Self(temp_dir("tls"));
        let made = it.openssl("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=test-ca -keyout ca.key -out ca.pem");
        assert!(made, "openssl makes an authority");
        it
    }

    fn openssl(&self, line: &str) -> bool {
        let mut openssl = Command::new(program("openssl", &[]));
        openssl.current_dir(self.0.path()).args(line.split(' ')).output().expect("openssl").status.success()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Makes `name.pem` and `name.key` for 127.0.0.1.
    fn issue(&self, name: &str) {
        std::fs::write(self.path("ext"), "subjectAltName=IP:127.0.0.1,DNS:localhost\n").expect("write");
        let request = format!(
            "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN={name} -keyout {name}.key -out {name}.csr"
        );
        let sign = format!(
            "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 1 -extfile ext -out {name}.pem"
        );
        assert!(self.openssl(&request) && self.openssl(&sign), "openssl makes a certificate");
    }

    fn settings(&self, name: &str) -> Settings {
        let path = |end: &str| self.path(&format!("{name}.{end}")).display().to_string();
        Settings::new().env("FANFARE__SERVER__TLS_CERT", path("pem")).env("FANFARE__SERVER__TLS_KEY", path("key"))
    }

    /// A client that trusts this authority alone.
    fn http(&self) -> reqwest::Client {
        let root = reqwest::Certificate::from_pem(&std::fs::read(self.path("ca.pem")).expect("read")).expect("pem");
        reqwest::Client::builder().tls_certs_only([root]).build().expect("client")
    }

    async fn connect(&self, address: &str) -> TlsStream<TcpStream> {
        self.connect_for(address, &[]).await
    }

    /// A client that offers these protocols.
    async fn connect_for(&self, address: &str, protocols: &[&str]) -> TlsStream<TcpStream> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.path("ca.pem")).expect("pem")).expect("root");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let mut config = config.expect("versions").with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        let stream = TcpStream::connect(address).await.expect("connect");
        let name = ServerName::try_from("127.0.0.1").expect("name");
        TlsConnector::from(Arc::new(config)).connect(name, stream).await.expect("handshake")
    }

    async fn ws(&self, address: &str, path: &str) -> WebSocketStream<TlsStream<TcpStream>> {
        let stream = self.connect(address).await;
        tokio_tungstenite::client_async(format!("wss://{address}{path}"), stream).await.expect("upgrade").0
    }

    /// What the certificate that a new connection is shown was made from.
    async fn shown(&self, address: &str) -> Vec<u8> {
        let stream = self.connect(address).await;
        stream.get_ref().1.peer_certificates().expect("a chain")[0].to_vec()
    }

    fn der(&self, name: &str) -> Vec<u8> {
        CertificateDer::from_pem_file(self.path(&format!("{name}.pem"))).expect("pem").to_vec()
    }
}

async fn publish(client: &reqwest::Client, address: &str, data: serde_json::Value) {
    let body = serde_json::json!({ "channel": "price:updates", "data": data });
    let sent = client.post(format!("https://{address}/api/publish")).json(&body).send().await.expect("publish");
    assert!(sent.status().is_success(), "{}", sent.status());
}

async fn next(socket: &mut WebSocketStream<TlsStream<TcpStream>>) -> Message {
    let message = tokio::time::timeout(PATIENCE, socket.next()).await.expect("in time");
    message.expect("a message").expect("no error")
}

/// The next message about a price; the server's own words about the stream are passed over.
async fn price(socket: &mut WebSocketStream<TlsStream<TcpStream>>) -> String {
    loop {
        let text = next(socket).await.into_text().expect("text");
        if text.contains("price_update") {
            return text.to_string();
        }
    }
}

#[tokio::test]
async fn requests_and_streams_go_through_tls_and_streams_end_with_their_close_code() {
    let authority = Authority::new();
    authority.issue("one");
    let mut server = Fanfare::start(authority.settings("one")).await;
    let (client, address) = (authority.http(), server.address().to_owned());
    let health = client.get(format!("https://{address}/health")).send().await.expect("health");
    assert_eq!(health.status(), 200);
    assert_eq!(health.headers()["strict-transport-security"], "max-age=31536000");
    // Bigger than everything on the way may hold at once.
    let long = "x".repeat(700_000);
    let mut socket = authority.ws(&address, "/ws/price").await;
    let mut many = Vec::new();
    for _ in 0..20 {
        many.push(authority.ws(&address, "/ws/price").await);
    }
    publish(&client, &address, serde_json::json!({ "message_type": "price_update", "sku": "A", "note": long })).await;
    for socket in many.iter_mut().chain([&mut socket]) {
        let text = price(socket).await;
        assert!(text.contains("\"sku\":\"A\"") && text.len() > long.len(), "{}", text.len());
    }
    // A plain client is told nothing, and the server goes on.
    assert!(reqwest::get(format!("http://{address}/health")).await.is_err());
    let ended = tokio::spawn(async move {
        loop {
            match next(&mut socket).await {
                Message::Close(frame) => return frame.expect("a code").code,
                Message::Ping(_) => {}
                Message::Text(text) if text.contains("\"reconnect\"") => {}
                other => panic!("{other:?}"),
            }
        }
    });
    // Who does not read is waited for a while; these need not be.
    drop(many);
    assert!(server.terminate().await.success());
    assert_eq!(ended.await.expect("joined"), CloseCode::Restart);
}

#[tokio::test]
async fn http2_is_spoken_with_who_offers_it_and_a_websocket_beside_it() {
    let authority = Authority::new();
    authority.issue("one");
    let server = Fanfare::start(authority.settings("one")).await;
    let address = server.address();
    let stream = authority.connect_for(address, &["h2", "http/1.1"]).await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (send, connection) = h2::client::handshake(stream).await.expect("handshake");
    let connection = tokio::spawn(connection);
    let request = axum::http::Request::get(format!("https://{address}/health")).body(()).expect("a request");
    let (answer, _) = send.ready().await.expect("ready").send_request(request, true).expect("sent");
    let answer = tokio::time::timeout(PATIENCE, answer).await.expect("in time").expect("an answer");
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["strict-transport-security"], "max-age=31536000");
    // What a browser offers for a WebSocket.
    let stream = authority.connect_for(address, &["http/1.1"]).await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    let (mut socket, _) =
        tokio_tungstenite::client_async(format!("wss://{address}/ws/price"), stream).await.expect("upgrade");
    publish(&authority.http(), address, serde_json::json!({ "message_type": "price_update", "sku": "C" })).await;
    assert!(price(&mut socket).await.contains("\"sku\":\"C\""));
    connection.abort();
}

#[tokio::test]
async fn a_new_certificate_is_shown_to_new_connections_and_a_broken_one_is_not() {
    let authority = Authority::new();
    for name in ["one", "two", "three"] {
        authority.issue(name);
    }
    let copy = |from: &str| {
        for end in ["key", "pem"] {
            std::fs::copy(authority.path(&format!("{from}.{end}")), authority.path(&format!("live.{end}")))
                .expect("copy");
        }
    };
    copy("one");
    let server = Fanfare::start(authority.settings("live")).await;
    let address = server.address().to_owned();
    let mut old = authority.ws(&address, "/ws/price").await;
    assert_eq!(authority.shown(&address).await, authority.der("one"));
    copy("two");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(server.pid()), nix::sys::signal::Signal::SIGHUP).expect("SIGHUP");
    let shown = async |name: &str| (authority.shown(&address).await == authority.der(name)).then_some(());
    eventually("the second certificate after SIGHUP", || shown("two")).await;
    std::fs::write(authority.path("live.pem"), "not a certificate").expect("write");
    eventually("a broken one is told of", async || server.log().contains("the old one stays").then_some(())).await;
    assert_eq!(authority.shown(&address).await, authority.der("two"));
    copy("three");
    eventually("the third without a signal", || shown("three")).await;
    // Who was there before has noticed nothing of it.
    publish(&authority.http(), &address, serde_json::json!({ "message_type": "price_update", "sku": "B" })).await;
    assert!(price(&mut old).await.contains("\"sku\":\"B\""));
}

#[tokio::test]
async fn a_pair_that_cannot_be_used_ends_the_start_with_one_line() {
    let authority = Authority::new();
    authority.issue("one");
    authority.issue("two");
    let (cert, missing) = (authority.path("one.pem"), Path::new("/nowhere.pem"));
    let settings = |cert: &Path, key: &Path| {
        let (cert, key) = (cert.display().to_string(), key.display().to_string());
        Settings::new().env("FANFARE__SERVER__TLS_CERT", cert).env("FANFARE__SERVER__TLS_KEY", key)
    };
    let data = temp_dir("data");
    let serve = ["serve", "--listen", "127.0.0.1:0", "--data-dir", data.path().to_str().expect("text")];
    for (settings, word) in [
        (settings(&cert, missing), "/nowhere.pem"),
        (settings(&cert, &authority.path("two.key")), "certificate and the key"),
        (Settings::new().env("FANFARE__SERVER__TLS_CERT", cert.display().to_string()), "both or neither"),
    ] {
        let (status, said) = Fanfare::run(&settings, &serve).await;
        assert!(!status.success() && said.contains(word), "{word}: {said}");
    }
    // Half a handshake does not hold a place for ever.
    let quick = authority.settings("one").env("FANFARE__HTTP__HEADER_TIMEOUT_MS", "300");
    let server = Fanfare::start(quick).await;
    let mut silent = TcpStream::connect(server.address()).await.expect("connect");
    let mut buffer = [0; 16];
    let read = tokio::io::AsyncReadExt::read(&mut silent, &mut buffer);
    assert_eq!(tokio::time::timeout(Duration::from_secs(10), read).await.expect("closed in time").unwrap_or(0), 0);
}
