//! What the stream's tests share: a sink that writes down what it hears, and a Redis client that speaks RESP by hand.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use fanfare::stream::{Channel, Gap, Mark, Position, Publication, Sink, Tags};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Receiver, Sender, channel as queue};
use tokio::sync::{Semaphore, TryAcquireError};
use tokio::time::timeout;

use crate::support::{PATIENCE, Redis};

/// What a sink may hear that the test has not asked for yet.
const MOST_HEARD: usize = 200_000;

pub fn channel(name: &str) -> Channel {
    Channel::new(name).unwrap()
}

/// One call that a broker has made to its sink.
#[derive(Debug)]
pub enum Heard {
    Message(Message),
    Gap(&'static str),
    #[expect(dead_code, reason = "read in failures")]
    Stale(Channel, bool),
    Invalid(Channel),
    Connected(bool),
}

#[derive(Clone, Debug)]
pub struct Message {
    pub channel: Channel,
    pub data: Bytes,
    pub tags: Tags,
    pub position: Option<Position>,
}

/// The sink. It can be made to stall, as a hub whose shards are full does.
pub struct Recorder {
    heard: Sender<Heard>,
    /// Closed when the sink does not stall (the usual case).
    gate: Arc<Semaphore>,
}

/// The other end of a [`Recorder`].
pub struct Ears {
    heard: Receiver<Heard>,
    gate: Arc<Semaphore>,
}

pub fn recorder() -> (Arc<Recorder>, Ears) {
    let (sender, receiver) = queue(MOST_HEARD);
    let gate = Arc::new(Semaphore::new(0));
    gate.close();
    (Arc::new(Recorder { heard: sender, gate: gate.clone() }), Ears { heard: receiver, gate })
}

/// A sink that takes nothing until [`Ears::release`].
pub fn stalled_recorder() -> (Arc<Recorder>, Ears) {
    let (sender, receiver) = queue(MOST_HEARD);
    let gate = Arc::new(Semaphore::new(0));
    (Arc::new(Recorder { heard: sender, gate: gate.clone() }), Ears { heard: receiver, gate })
}

impl Recorder {
    fn write(&self, heard: Heard) {
        // The test may have ended already.
        let full = matches!(self.heard.try_send(heard), Err(TrySendError::Full(_)));
        assert!(!full, "more than a test of this kit expects");
    }
}

#[async_trait]
impl Sink for Recorder {
    async fn begin(&self, _: &Channel, _: Mark) {}

    async fn stale(&self, channel: &Channel, silent: Option<Duration>) {
        self.write(Heard::Stale(channel.clone(), silent.is_some()));
    }

    async fn deliver(&self, publication: Arc<Publication>) {
        if !matches!(self.gate.try_acquire(), Err(TryAcquireError::Closed)) {
            let _ = self.gate.acquire().await;
        }
        let Publication { channel, data, tags, position, .. } = &*publication;
        let (channel, data, tags, position) = (channel.clone(), data.clone(), tags.clone(), position.clone());
        self.write(Heard::Message(Message { channel, data, tags, position }));
    }

    async fn gap(&self, gap: Gap) {
        self.write(Heard::Gap(gap.reason));
    }

    fn invalid(&self, channel: &Channel, _problem: &str) {
        self.write(Heard::Invalid(channel.clone()));
    }

    fn connected(&self, connected: bool) {
        self.write(Heard::Connected(connected));
    }
}

impl Ears {
    /// Lets a stalled sink go on for good.
    pub fn release(&self) {
        self.gate.close();
    }

    /// The next call, aside from how the broker is.
    pub async fn next(&mut self) -> Heard {
        loop {
            match self.any().await {
                Heard::Connected(_) | Heard::Stale(..) => {}
                heard => return heard,
            }
        }
    }

    pub async fn any(&mut self) -> Heard {
        timeout(PATIENCE, self.heard.recv()).await.expect("the sink hears something in time").expect("a broker")
    }

    pub async fn message(&mut self) -> Message {
        match self.next().await {
            Heard::Message(message) => message,
            other => panic!("expected a message, heard {other:?}"),
        }
    }

    pub async fn messages(&mut self, count: usize) -> Vec<Message> {
        let mut messages = Vec::with_capacity(count);
        while messages.len() < count {
            messages.push(self.message().await);
        }
        messages
    }

    /// Waits for a gap; what comes before it is dropped.
    pub async fn gap(&mut self) -> &'static str {
        loop {
            if let Heard::Gap(reason) = self.next().await {
                return reason;
            }
        }
    }
}

/// A client of Redis that knows nothing of Fanfare.
pub struct Plain {
    stream: BufReader<UnixStream>,
}

impl Plain {
    pub async fn connect(redis: &Redis) -> Self {
        Self { stream: BufReader::new(UnixStream::connect(redis.socket()).await.unwrap()) }
    }

    /// A connection that is subscribed to `channel`.
    pub async fn subscribed(redis: &Redis, channel: &str) -> Self {
        let mut plain = Self::connect(redis).await;
        plain.send(&[b"SUBSCRIBE", channel.as_bytes()]).await;
        assert_eq!(plain.pushed().await[0], b"subscribe");
        plain
    }

    pub async fn send(&mut self, words: &[&[u8]]) {
        self.stream.write_all(&command(words)).await.unwrap();
    }

    /// Publishes everything in one go and waits until Redis has taken it.
    pub async fn publish_all(&mut self, channel: &str, messages: &[Vec<u8>]) {
        for some in messages.chunks(1000) {
            let mut request = Vec::new();
            some.iter().for_each(|data| request.extend(command(&[b"PUBLISH", channel.as_bytes(), data])));
            self.stream.write_all(&request).await.unwrap();
            for _ in some {
                assert_eq!(self.line().await.as_bytes()[0], b':');
            }
        }
    }

    /// What the next message of the subscription carries.
    pub async fn message(&mut self) -> Vec<u8> {
        let mut parts = self.pushed().await;
        assert_eq!(parts[0], b"message");
        parts.pop().unwrap()
    }

    async fn pushed(&mut self) -> Vec<Vec<u8>> {
        let count: usize = self.line().await.strip_prefix('*').unwrap().parse().unwrap();
        let mut parts = Vec::new();
        for _ in 0..count {
            let head = self.line().await;
            match head.split_at(1) {
                ("$", length) => {
                    let mut bytes = vec![0; length.parse::<usize>().unwrap() + 2];
                    self.stream.read_exact(&mut bytes).await.unwrap();
                    bytes.truncate(bytes.len() - 2);
                    parts.push(bytes);
                }
                (_, scalar) => parts.push(scalar.as_bytes().to_vec()),
            }
        }
        parts
    }

    async fn line(&mut self) -> String {
        let mut line = Vec::new();
        let read = async {
            while !line.ends_with(b"\r\n") {
                line.push(self.stream.read_u8().await.unwrap());
            }
        };
        timeout(PATIENCE, read).await.expect("Redis answers in time");
        String::from_utf8(line).unwrap().trim_end().to_owned()
    }
}

fn command(words: &[&[u8]]) -> Vec<u8> {
    let mut request = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        request.extend(format!("${}\r\n", word.len()).into_bytes());
        request.extend_from_slice(word);
        request.extend_from_slice(b"\r\n");
    }
    request
}
