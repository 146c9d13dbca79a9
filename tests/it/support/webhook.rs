//! A receiver of webhooks inside the test.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::PATIENCE;

/// Takes requests on any path. Answers 200 but for the statuses it was told to give first.
pub struct Webhook {
    url: String,
    answers: Arc<Mutex<VecDeque<u16>>>,
    received: mpsc::Receiver<WebhookRequest>,
    server: JoinHandle<()>,
}

pub struct WebhookRequest {
    pub headers: HeaderMap,
    pub body: Bytes,
}

#[derive(Clone)]
struct Desk {
    answers: Arc<Mutex<VecDeque<u16>>>,
    received: mpsc::Sender<WebhookRequest>,
}

impl Webhook {
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let url = format!("http://{}/hook", listener.local_addr().expect("address"));
        let answers = Arc::<Mutex<VecDeque<u16>>>::default();
        let (sender, received) = mpsc::channel(1024);
        let desk = Desk { answers: answers.clone(), received: sender };
        let router = Router::new().fallback(take).with_state(desk);
        let server = tokio::spawn(async move { axum::serve(listener, router).await.expect("serve") });
        Self { url, answers, received, server }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// The statuses of the next answers, in order; a 3xx points back at this receiver.
    pub fn answer(&self, statuses: &[u16]) {
        self.answers.lock().expect("lock").extend(statuses);
    }

    /// The next request.
    pub async fn next(&mut self) -> WebhookRequest {
        let request = tokio::time::timeout(PATIENCE, self.received.recv()).await;
        request.expect("a webhook within the time").expect("the receiver runs")
    }

    /// How many requests have come in that nobody has taken yet.
    pub fn waiting(&self) -> usize {
        self.received.len()
    }
}

impl Drop for Webhook {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn take(State(desk): State<Desk>, headers: HeaderMap, body: Bytes) -> Response {
    let status = desk.answers.lock().expect("lock").pop_front().unwrap_or(200);
    desk.received.send(WebhookRequest { headers, body }).await.expect("the test listens");
    let status = StatusCode::from_u16(status).expect("status");
    if status.is_redirection() {
        return (status, [(header::LOCATION, "/elsewhere")]).into_response();
    }
    status.into_response()
}
