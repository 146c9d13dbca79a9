//! The contract of `stream::Broker`, on every implementation.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use fanfare::stream::{self, Broker, HistoryOptions, Memory, Outgoing, RedisOptions, Tags};

use crate::stream_kit::{Ears, Heard, channel, recorder};
use crate::support::{Redis, eventually};

/// A broker, its sink, and the server behind it if it has one.
pub struct Rig {
    pub broker: Arc<dyn Broker>,
    pub ears: Ears,
    pub redis: Option<Redis>,
}

impl Rig {
    async fn memory() -> Self {
        let (sink, ears) = recorder();
        Self { broker: Arc::new(Memory::new(Default::default(), HistoryOptions::default(), sink)), ears, redis: None }
    }

    pub async fn redis() -> Self {
        let redis = Redis::start().await;
        let (broker, ears) = on(&redis).await;
        Self { broker, ears, redis: Some(redis) }
    }

    pub async fn publish(&self, name: &str, data: impl Into<Bytes>) -> stream::Position {
        self.broker.publish(&channel(name), message(data)).await.unwrap()
    }
}

/// One more node on this server.
pub async fn on(redis: &Redis) -> (Arc<dyn Broker>, Ears) {
    let (sink, ears) = recorder();
    let broker = stream::Redis::connect(&redis.url(), options(), HistoryOptions::default(), sink).await.unwrap();
    (Arc::new(broker), ears)
}

pub fn message(data: impl Into<Bytes>) -> Outgoing {
    Outgoing { data: data.into(), ..Outgoing::default() }
}

pub fn options() -> RedisOptions {
    RedisOptions { command_timeout_ms: 20_000, ..Default::default() }
}

/// Each function once on each broker.
macro_rules! conformance {
    ($($name:ident),* $(,)?) => {
        mod memory {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(super::Rig::memory().await).await;
            })*
        }
        mod redis {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(super::Rig::redis().await).await;
            })*
        }
    };
}

conformance!(
    concurrent_publishers_make_one_order_without_holes,
    what_is_published_right_after_subscribing_arrives,
    unsubscribing_stops_and_subscribing_resumes,
    data_and_tags_arrive_to_the_byte,
    subscribing_and_unsubscribing_may_be_repeated,
    a_burst_arrives_whole_or_a_gap_is_told,
);

async fn concurrent_publishers_make_one_order_without_holes(mut rig: Rig) {
    const PUBLISHERS: usize = 8;
    const EACH: usize = 100;
    for name in ["a", "b"] {
        rig.broker.subscribe(&channel(name)).await.unwrap();
    }
    let publishers = (0..PUBLISHERS).map(|publisher| {
        let broker = rig.broker.clone();
        tokio::spawn(async move {
            let mut accepted = Vec::new();
            for n in 0..EACH {
                for name in ["a", "b"] {
                    let data = Bytes::from(format!(r#"{{"publisher":{publisher},"n":{n}}}"#));
                    let position = broker.publish(&channel(name), message(data.clone())).await.unwrap();
                    accepted.push((channel(name), position, data));
                }
            }
            accepted
        })
    });
    let mut accepted = HashMap::new();
    for publisher in publishers.collect::<Vec<_>>() {
        for (channel, position, data) in publisher.await.unwrap() {
            accepted.insert((channel, position.offset), (position.epoch, data));
        }
    }
    let messages = rig.ears.messages(PUBLISHERS * EACH * 2).await;
    for name in ["a", "b"] {
        let messages = messages.iter().filter(|message| message.channel == channel(name));
        let mut last_of = HashMap::new();
        for (message, offset) in messages.zip(1..) {
            let position = message.position.clone().unwrap();
            assert_eq!(position.offset, offset, "offsets grow by one on {name}");
            let expected = &accepted[&(channel(name), offset)];
            assert_eq!((&position.epoch, &message.data), (&expected.0, &expected.1), "what publish answered holds");
            let data: HashMap<String, i64> = serde_json::from_slice(&message.data).unwrap();
            let before = last_of.insert(data["publisher"], data["n"]).unwrap_or(-1);
            assert_eq!(data["n"], before + 1, "each publisher's own order");
        }
    }
}

async fn what_is_published_right_after_subscribing_arrives(mut rig: Rig) {
    for round in 0..50 {
        let name = format!("fresh:{round}");
        rig.broker.subscribe(&channel(&name)).await.unwrap();
        rig.publish(&name, "1").await;
        let message = rig.ears.message().await;
        assert_eq!((message.channel, &message.data[..]), (channel(&name), &b"1"[..]));
    }
}

async fn unsubscribing_stops_and_subscribing_resumes(mut rig: Rig) {
    for name in ["a", "b"] {
        rig.broker.subscribe(&channel(name)).await.unwrap();
    }
    let first = rig.publish("a", "1").await;
    assert_eq!(rig.ears.message().await.position.unwrap(), first);
    rig.broker.unsubscribe(&channel("a")).await.unwrap();
    if let Some(redis) = &rig.redis {
        // Redis acts on it in its own time.
        for name in ["a", "fanfare:{a}"] {
            eventually("unsubscribed", || async { (redis.subscribers(name).await == 0).then_some(()) }).await;
        }
    }
    rig.publish("a", "2").await;
    rig.publish("b", "3").await;
    assert_eq!(&rig.ears.message().await.data[..], b"3", "nothing of the channel that was left");
    rig.broker.subscribe(&channel("a")).await.unwrap();
    rig.publish("a", "4").await;
    let message = rig.ears.message().await;
    assert_eq!(&message.data[..], b"4");
    assert_eq!(message.position.unwrap().offset, 3, "what nobody heard was numbered all the same");
}

async fn data_and_tags_arrive_to_the_byte(mut rig: Rig) {
    let name = "bytes!#$%&'()*+,-./:;<=>?@[]^_`{|}~";
    rig.broker.subscribe(&channel(name)).await.unwrap();
    let tag = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let tags = [
        Tags::new(),
        vec![tag("category", "家電 & \"Café\""), tag("category", "b"), tag("", "")],
        vec![tag("line\nbreak", "tab\tand \\ and \u{0} and 7 epoch []\n")],
    ];
    let big = format!(r#"{{"x":"{}"}}"#, "日".repeat(300_000));
    for data in ["{}", " {\r\n \"a\" : 1.50 , \"a\": 2 }\n", "\"日本\\u0000\"", "[1,\n2]\n", "7", &big] {
        for tags in &tags {
            let data = Bytes::copy_from_slice(data.as_bytes());
            let position = rig
                .broker
                .publish(&channel(name), Outgoing { tags: tags.clone(), ..message(data.clone()) })
                .await
                .unwrap();
            let message = rig.ears.message().await;
            assert!(message.data == data, "{} bytes became {}", data.len(), message.data.len());
            assert_eq!((&message.tags, message.position), (tags, Some(position)));
        }
    }
}

async fn subscribing_and_unsubscribing_may_be_repeated(mut rig: Rig) {
    rig.broker.unsubscribe(&channel("never")).await.unwrap();
    for _ in 0..3 {
        rig.broker.subscribe(&channel("a")).await.unwrap();
    }
    rig.publish("a", "1").await;
    rig.publish("a", "2").await;
    assert_eq!(&rig.ears.message().await.data[..], b"1");
    assert_eq!(&rig.ears.message().await.data[..], b"2", "once, however often subscribed");
    rig.broker.ping().await.unwrap();
}

async fn a_burst_arrives_whole_or_a_gap_is_told(mut rig: Rig) {
    const BURST: u64 = 20_000;
    const PUBLISHERS: u64 = 20;
    rig.broker.subscribe(&channel("burst")).await.unwrap();
    let publishers = (0..PUBLISHERS).map(|_| {
        let broker = rig.broker.clone();
        tokio::spawn(async move {
            for _ in 0..BURST / PUBLISHERS {
                broker.publish(&channel("burst"), message("{}")).await.unwrap();
            }
        })
    });
    for publisher in publishers.collect::<Vec<_>>() {
        publisher.await.unwrap();
    }
    let (mut last, mut told) = (0, false);
    while last < BURST {
        match rig.ears.next().await {
            Heard::Gap(_) => told = true,
            Heard::Message(message) => {
                let offset = message.position.unwrap().offset;
                assert!(offset == last + 1 || (told && offset > last), "{offset} after {last}, and no gap was told");
                (last, told) = (offset, false);
            }
            other => panic!("{other:?}"),
        }
    }
}
