//! TLS by rustls, ended in front of everything else.
//!
//! A WebSocket's TCP stream leaves the HTTP runtime for its shard, which knows no TLS and is not to. So a connection that
//! comes over TLS is ended by a task of its own, which relays it through a pair of unix sockets: hyper, and later the
//! shard, hold the inner end and take it for any other socket. Without TLS nothing of this is in the way. With it each
//! write is copied and encrypted once more and passes the kernel twice, and a connection costs a task, a second
//! descriptor pair and some 30 KiB.

use std::io;
use std::net::TcpStream as StdTcpStream;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::telemetry::{Registry, name};

const HTTP2: &[u8] = b"h2";
/// Between two looks at the files. A changed pair is in use within this time; SIGHUP makes it at once.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// What one read carries towards the client, and from it: held for as long as the connection lives.
const OUT_BYTES: usize = 8 * 1024;
const IN_BYTES: usize = 2 * 1024;
/// What may wait between the server and the relay, so that a slow client is still noticed by the server's own bounds.
const PAIR_BYTES: usize = 32 * 1024;
/// For a client to close its end after ours has been closed.
const CLOSE_WITHIN: Duration = Duration::from_secs(3);

/// Ends TLS. Cloning shares the certificate and the connections.
#[derive(Clone)]
pub struct Tls {
    acceptor: TlsAcceptor,
    certificate: Arc<Certificate>,
    relays: TaskTracker,
    handshakes: Family<[(&'static str, &'static str); 1], Counter>,
    reloads: Family<[(&'static str, &'static str); 1], Counter>,
    /// Told by SIGHUP.
    look: Arc<Notify>,
}

/// The pair in use, and the files that it came from.
#[derive(Debug)]
struct Certificate {
    cert: PathBuf,
    key: PathBuf,
    current: RwLock<Arc<CertifiedKey>>,
}

impl Tls {
    /// Reads both PEM files; the certificate's holds the chain, the server's own first.
    pub fn open(cert: &Path, key: &Path, registry: &mut Registry) -> Result<Self, TlsError> {
        let current = RwLock::new(Arc::new(read(cert, key)?));
        let certificate = Arc::new(Certificate { cert: cert.into(), key: key.into(), current });
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(certificate.clone());
        // A client that wants a WebSocket asks for HTTP/1.1 alone: one of HTTP/2 has no stream of its own that could leave for
        // a shard, so none is offered there.
        config.alpn_protocols = vec![HTTP2.to_vec(), b"http/1.1".to_vec()];
        let (handshakes, reloads) = (Family::default(), Family::default());
        registry.register(name::TLS_HANDSHAKES, "TLS handshakes by outcome (ok, failed)", handshakes.clone());
        registry.register(name::TLS_RELOADS, "Changed certificates by outcome (ok, failed)", reloads.clone());
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Ok(Self { acceptor, certificate, relays: TaskTracker::new(), handshakes, reloads, look: Arc::default() })
    }

    /// Takes up a changed pair of files until `stop`. While they are broken, the one in use stays.
    pub async fn keep_fresh(self, stop: CancellationToken) {
        let mut seen = self.certificate.stamps();
        loop {
            let asked = tokio::select! {
                () = stop.cancelled() => return,
                () = self.look.notified() => true,
                () = tokio::time::sleep(LOOK_EVERY) => false,
            };
            let now = self.certificate.stamps();
            if now == seen && !asked {
                continue;
            }
            seen = now;
            let outcome = match read(&self.certificate.cert, &self.certificate.key) {
                Ok(pair) => {
                    *self.certificate.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(pair);
                    tracing::info!(target: "security", "the TLS certificate was read anew");
                    "ok"
                }
                Err(error) => {
                    tracing::error!(target: "security", %error, "a changed TLS certificate cannot be used; the old one stays");
                    "failed"
                }
            };
            self.reloads.get_or_create(&[("outcome", outcome)]).inc();
        }
    }

    /// What makes [`Tls::keep_fresh`] look at once.
    pub fn look(&self) -> Arc<Notify> {
        self.look.clone()
    }

    /// Shakes hands and answers the inner end of the connection, and whether HTTP/2 was agreed on.
    pub(super) async fn accept(&self, stream: TcpStream, within: Duration) -> io::Result<(TcpStream, bool)> {
        let accepted = tokio::time::timeout(within, self.acceptor.accept(stream)).await;
        let outcome = if matches!(accepted, Ok(Ok(_))) { "ok" } else { "failed" };
        self.handshakes.get_or_create(&[("outcome", outcome)]).inc();
        let tls = accepted??;
        let is_http2 = tls.get_ref().1.alpn_protocol() == Some(HTTP2);
        let (outer, inner) = std::os::unix::net::UnixStream::pair()?;
        for end in [&outer, &inner] {
            end.set_nonblocking(true)?;
            SockRef::from(end).set_send_buffer_size(PAIR_BYTES)?;
        }
        self.relays.spawn(relay(tls, UnixStream::from_std(outer)?));
        Ok((TcpStream::from_std(StdTcpStream::from(OwnedFd::from(inner)))?, is_http2))
    }

    /// Waits until every connection has had what was written to it, for at most `within`.
    pub async fn drain(&self, within: Duration) {
        self.relays.close();
        if tokio::time::timeout(within, self.relays.wait()).await.is_err() {
            tracing::warn!(connections = self.relays.len(), "TLS connections did not end in time");
        }
    }
}

async fn relay(tls: TlsStream<TcpStream>, pair: UnixStream) {
    let (from_client, to_client) = tokio::io::split(tls);
    let (from_server, to_server) = pair.into_split();
    let inward = pump(from_client, to_server, IN_BYTES);
    let outward = pump(from_server, to_client, OUT_BYTES);
    tokio::pin!(inward, outward);
    tokio::select! {
        // The client has said all that it has to say; the server may still answer, and then closes.
        ended = &mut inward => if ended.is_ok() {
            let _ = outward.await;
        },
        ended = &mut outward => if ended.is_ok() {
            let _ = tokio::time::timeout(CLOSE_WITHIN, inward).await;
        },
    }
}

/// Copies until the end and passes the end on. Flushed after each read: a record may not wait for the next one.
async fn pump(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, size_bytes: usize) -> io::Result<()> {
    let mut buffer = vec![0; size_bytes];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer[..read]).await?;
        to.flush().await?;
    }
}

fn read(cert: &Path, key: &Path) -> Result<CertifiedKey, TlsError> {
    let wrong = |path: &Path, error: rustls::pki_types::pem::Error| {
        TlsError::File(path.display().to_string(), error.to_string())
    };
    let chain = CertificateDer::pem_file_iter(cert).map_err(|error| wrong(cert, error))?;
    let chain = chain.collect::<Result<Vec<_>, _>>().map_err(|error| wrong(cert, error))?;
    if chain.is_empty() {
        return Err(TlsError::File(cert.display().to_string(), "holds no certificate".into()));
    }
    let key = PrivateKeyDer::from_pem_file(key).map_err(|error| wrong(key, error))?;
    // Refuses a key that is not the certificate's.
    Ok(CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider())?)
}

impl Certificate {
    /// What changes when a file is written or replaced.
    fn stamps(&self) -> [Option<(SystemTime, u64)>; 2] {
        [&self.cert, &self.key].map(|path| {
            let file = std::fs::metadata(path).ok()?;
            Some((file.modified().ok()?, file.len()))
        })
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("{0}: {1}")]
    File(String, String),
    #[error("the certificate and the key: {0}")]
    Pair(#[from] rustls::Error),
}
