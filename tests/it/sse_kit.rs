//! A client of server-sent events, by the HTML standard.

use serde_json::Value;
use tokio::time::timeout;

use crate::support::{Fanfare, PATIENCE};

#[derive(Debug, Default, PartialEq)]
pub struct Event {
    /// `message` when it has no name.
    pub name: String,
    pub data: String,
    /// Where the client stands once it has it.
    pub id: String,
}

pub struct Sse {
    pub response: reqwest::Response,
    rest: Vec<u8>,
    pub id: String,
    pub retry_ms: Option<u64>,
    pub comments: usize,
}

/// An HTTP client without a deadline, as a stream has none.
pub fn http() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().unwrap()
}

pub async fn get(server: &Fanfare, path: &str, headers: &[(&str, &str)]) -> reqwest::Response {
    let mut request = http().get(format!("{}{path}", server.url()));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    timeout(PATIENCE, request.send()).await.expect("an answer in time").unwrap()
}

impl Sse {
    pub async fn open(server: &Fanfare, path: &str) -> Self {
        Self::with(server, path, &[]).await
    }

    /// As a browser comes back.
    pub async fn resume(server: &Fanfare, path: &str, id: &str) -> Self {
        Self::with(server, path, &[("last-event-id", id)]).await
    }

    pub async fn with(server: &Fanfare, path: &str, headers: &[(&str, &str)]) -> Self {
        let response = get(server, path, headers).await;
        assert_eq!(response.status(), 200, "{path}");
        Self { response, rest: Vec::new(), id: String::new(), retry_ms: None, comments: 0 }
    }

    /// The next event; `None` at the end.
    pub async fn next(&mut self) -> Option<Event> {
        let mut event = Event::default();
        let mut data: Vec<String> = Vec::new();
        loop {
            let line = self.line().await?;
            if line.is_empty() {
                self.id.clone_from(&event.id);
                if !data.is_empty() {
                    let name = if event.name.is_empty() { "message".to_owned() } else { event.name };
                    return Some(Event { name, data: data.join("\n"), id: event.id });
                }
                event = Event { id: self.id.clone(), ..Event::default() };
                continue;
            }
            let (field, value) = line.split_once(':').unwrap_or((&line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value).to_owned();
            match field {
                "" => self.comments += 1,
                "data" => data.push(value),
                "id" => event.id = value,
                "event" => event.name = value,
                "retry" => self.retry_ms = Some(value.parse().unwrap()),
                _ => panic!("{line}"),
            }
            if event.id.is_empty() {
                event.id.clone_from(&self.id);
            }
        }
    }

    pub async fn event(&mut self) -> Event {
        self.next().await.expect("an event, not the end")
    }

    pub async fn json(&mut self) -> Value {
        let event = self.event().await;
        assert_eq!(event.name, "message", "{event:?}");
        serde_json::from_str(&event.data).unwrap_or_else(|error| panic!("{error} in {event:?}"))
    }

    async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                return Some(String::from_utf8(line).unwrap().trim_end_matches('\n').to_owned());
            }
            let part = timeout(PATIENCE, self.response.chunk()).await.expect("something in time").ok()??;
            self.rest.extend_from_slice(&part);
        }
    }
}
