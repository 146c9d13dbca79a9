//! The contract of `stream::Broker`, on every implementation; and what only a broker between processes can get wrong.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fanfare::stream::{self, Broker, BrokerError, Memory, RedisOptions, Tags};
use tokio::time::Instant;

use crate::stream_kit::{Ears, Heard, Message, Plain, channel, recorder, stalled_recorder};
use crate::support::{Redis, eventually};

/// A broker, its sink, and the server behind it if it has one.
struct Rig {
    broker: Arc<dyn Broker>,
    ears: Ears,
    redis: Option<Redis>,
}

impl Rig {
    async fn memory() -> Self {
        let (sink, ears) = recorder();
        Self { broker: Arc::new(Memory::new(Default::default(), sink)), ears, redis: None }
    }

    async fn redis() -> Self {
        let redis = Redis::start().await;
        let (broker, ears) = on(&redis).await;
        Self { broker, ears, redis: Some(redis) }
    }

    async fn publish(&self, name: &str, data: impl Into<Bytes>) -> stream::Position {
        self.broker.publish(&channel(name), data.into(), Tags::new()).await.unwrap()
    }
}

/// One more node on this server.
async fn on(redis: &Redis) -> (Arc<dyn Broker>, Ears) {
    let (sink, ears) = recorder();
    let broker = stream::Redis::connect(&redis.url(), options(), sink).await.unwrap();
    (Arc::new(broker), ears)
}

fn options() -> RedisOptions {
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
                    let position = broker.publish(&channel(name), data.clone(), Tags::new()).await.unwrap();
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
        for name in ["a", "fanfare:a"] {
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
            let position = rig.broker.publish(&channel(name), data.clone(), tags.clone()).await.unwrap();
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
                broker.publish(&channel("burst"), Bytes::from_static(b"{}"), Tags::new()).await.unwrap();
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

// What follows is about Redis alone.

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_hear_one_order_and_each_message_once() {
    const EACH: usize = 200;
    let redis = Redis::start().await;
    let mut nodes = [on(&redis).await, on(&redis).await];
    let mut publishers = Vec::new();
    for (broker, _) in &nodes {
        broker.subscribe(&channel("c")).await.unwrap();
    }
    for (node, (broker, _)) in nodes.iter().enumerate() {
        let broker = broker.clone();
        publishers.push(tokio::spawn(async move {
            for n in 0..EACH {
                let data = Bytes::from(format!(r#"{{"node":{node},"n":{n}}}"#));
                broker.publish(&channel("c"), data, Tags::new()).await.unwrap();
            }
        }));
    }
    // A publisher that is no node comes between; its messages have no number but a place in the order.
    let mut plain = Plain::connect(&redis).await;
    for n in 0..EACH {
        plain.publish_all("c", &[format!(r#"{{"node":"plain","n":{n}}}"#).into_bytes()]).await;
    }
    for publisher in publishers {
        publisher.await.unwrap();
    }
    plain.publish_all("c", &[b"\"end\"".to_vec()]).await;
    let mut heard = Vec::new();
    for (_, ears) in &mut nodes {
        let messages = ears.messages(3 * EACH + 1).await;
        assert_eq!(&messages[3 * EACH].data[..], b"\"end\"", "nothing came twice");
        let numbered = messages.iter().filter_map(|message| message.position.clone());
        assert!(numbered.map(|position| position.offset).eq(1..=2 * EACH as u64));
        heard.push(messages.into_iter().map(|message| message.data).collect::<Vec<_>>());
    }
    assert!(heard[0] == heard[1], "both nodes heard one order");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn equal_messages_of_nodes_and_of_others_are_all_counted() {
    let mut rig = Rig::redis().await;
    rig.broker.subscribe(&channel("c")).await.unwrap();
    let mut plain = Plain::connect(rig.redis.as_ref().unwrap()).await;
    for _ in 0..3 {
        plain.publish_all("c", &[b"{}".to_vec(), b"{}".to_vec()]).await;
        rig.publish("c", "{}").await;
        plain.publish_all("c", &[b"{}".to_vec()]).await;
    }
    plain.publish_all("c", &[b"0".to_vec()]).await;
    let messages = rig.ears.messages(13).await;
    let numbered: Vec<bool> = messages.iter().map(|message| message.position.is_some()).collect();
    let round = [false, false, true, false];
    assert_eq!(numbered, [&round[..], &round, &round, &[false]].concat());
    assert_eq!(&messages[12].data[..], b"0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plain_subscriber_hears_a_node_once_and_plainly() {
    let rig = Rig::redis().await;
    let mut plain = Plain::subscribed(rig.redis.as_ref().unwrap(), "c").await;
    let tags = vec![("category".to_owned(), "x".to_owned())];
    for data in ["{\"a\": 1}\n", "2"] {
        rig.broker.publish(&channel("c"), Bytes::from(data), tags.clone()).await.unwrap();
    }
    assert_eq!(plain.message().await, b"{\"a\": 1}\n");
    assert_eq!(plain.message().await, b"2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_json_is_told_and_not_delivered() {
    let mut rig = Rig::redis().await;
    rig.broker.subscribe(&channel("c")).await.unwrap();
    let mut plain = Plain::connect(rig.redis.as_ref().unwrap()).await;
    let bad: [&[u8]; 8] = [b"", b"hello", b"{", b"{} {}", b"NaN", b"\xff\xfe", b"{\"a\":\"\xff\"}", b"[\"\x01\"]"];
    for data in bad {
        plain.publish_all("c", &[data.to_vec()]).await;
        match rig.ears.next().await {
            Heard::Invalid(on) => assert_eq!(on, channel("c")),
            other => panic!("{:?}: {other:?}", String::from_utf8_lossy(data)),
        }
    }
    // Somebody who writes to the nodes' own channel is not taken for a node.
    plain.publish_all("fanfare:c", &[b"{}".to_vec()]).await;
    assert!(matches!(rig.ears.next().await, Heard::Invalid(_)));
    plain.publish_all("c", &[b"{}".to_vec()]).await;
    assert_eq!(&rig.ears.message().await.data[..], b"{}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_lost_connection_a_gap_is_told_and_everything_later_arrives() {
    let mut rig = Rig::redis().await;
    // Many channels, so that subscribing to them again takes its time.
    let names: Vec<String> = (0..300).map(|number| format!("c:{number}")).collect();
    for name in &names {
        rig.broker.subscribe(&channel(name)).await.unwrap();
    }
    for round in 1..=5 {
        let killed = rig.redis.as_ref().unwrap().command(&["CLIENT", "KILL", "TYPE", "pubsub"]).await;
        assert_eq!(killed, ":1", "one connection subscribes");
        rig.ears.gap().await;
        // From the gap on everything must arrive: a client that loads its state anew now would not do so again.
        for name in [&names[0], &names[150], &names[299]] {
            let position = rig.publish(name, "1").await;
            assert_eq!(position.offset, round);
            let message = rig.ears.message().await;
            assert_eq!((&message.channel, message.position), (&channel(name), Some(position)));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_of_redis_is_a_gap_and_a_new_epoch() {
    let mut rig = Rig::redis().await;
    rig.broker.subscribe(&channel("c")).await.unwrap();
    let before = rig.publish("c", "1").await;
    assert_eq!(rig.ears.message().await.position, Some(before.clone()));
    rig.redis.as_mut().unwrap().kill();
    loop {
        if let Heard::Connected(false) = rig.ears.any().await {
            break;
        }
    }
    rig.redis.as_mut().unwrap().restart().await;
    rig.ears.gap().await;
    let after = rig.publish("c", "2").await;
    assert_eq!(after.offset, 1);
    assert_ne!(after.epoch, before.epoch, "offsets of the two cannot be compared");
    let Message { data, position, .. } = rig.ears.message().await;
    assert_eq!((&data[..], position), (&b"2"[..], Some(after)));
    rig.broker.ping().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_that_stalls_costs_a_gap_and_no_memory() {
    let redis = Redis::start().await;
    let (sink, mut ears) = stalled_recorder();
    let options = RedisOptions { queue_messages: 16, ..options() };
    let broker = stream::Redis::connect(&redis.url(), options, sink).await.unwrap();
    broker.subscribe(&channel("c")).await.unwrap();
    let mut plain = Plain::connect(&redis).await;
    let messages: Vec<_> = (0..10_000).map(|n: u32| n.to_string().into_bytes()).collect();
    plain.publish_all("c", &messages).await;
    ears.release();
    let mut last = -1;
    // How far the drain has come is its own affair; that a hole is told before what follows it is the contract.
    loop {
        match ears.next().await {
            Heard::Message(message) => {
                let n: i64 = std::str::from_utf8(&message.data).unwrap().parse().unwrap();
                assert_eq!(n, last + 1, "a hole that nobody told of");
                last = n;
            }
            Heard::Gap(_) => break,
            other => panic!("{other:?}"),
        }
    }
    assert!((10..10_000).contains(&last), "what fitted into the queue came first: {last}");
    // While the rest drains, more may be lost and told of. Once it has, what is published arrives.
    let arrived = async {
        loop {
            if let Heard::Message(message) = ears.next().await
                && &message.data[..] == b"\"end\""
            {
                return;
            }
        }
    };
    let publishing = async {
        loop {
            broker.publish(&channel("c"), Bytes::from_static(b"\"end\""), Tags::new()).await.unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        () = arrived => {}
        () = publishing => {}
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_redis_is_an_error_within_the_time() {
    let redis = Redis::start().await;
    let (sink, mut ears) = recorder();
    let options = RedisOptions { command_timeout_ms: 300, ..Default::default() };
    let broker = stream::Redis::connect(&redis.url(), options, sink).await.unwrap();
    broker.subscribe(&channel("c")).await.unwrap();
    redis.stop_signal();
    let begin = Instant::now();
    let published = broker.publish(&channel("c"), Bytes::from_static(b"1"), Tags::new()).await;
    assert!(matches!(published, Err(BrokerError::Unavailable(_))), "{published:?}");
    assert!(broker.ping().await.is_err());
    assert!(broker.subscribe(&channel("d")).await.is_err());
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    redis.continue_signal();
    eventually("Redis answers again", || async { broker.ping().await.ok() }).await;
    broker.subscribe(&channel("d")).await.unwrap();
    broker.publish(&channel("d"), Bytes::from_static(b"2"), Tags::new()).await.unwrap();
    // The first message was written before the time was up, so it may or may not have counted.
    loop {
        if let Heard::Message(message) = ears.next().await
            && message.channel == channel("d")
        {
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_redis_at_the_start_is_refused_soon() {
    let mut redis = Redis::start().await;
    redis.kill();
    let (sink, _ears) = recorder();
    let options = RedisOptions { connect_timeout_ms: 500, ..Default::default() };
    let begin = Instant::now();
    let connected = stream::Redis::connect(&redis.url(), options, sink).await;
    assert!(matches!(connected, Err(BrokerError::Unavailable(_))));
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_broker_leaves_no_connection() {
    let rig = Rig::redis().await;
    let redis = rig.redis.as_ref().unwrap();
    rig.broker.subscribe(&channel("c")).await.unwrap();
    rig.broker.stop().await;
    eventually("its connections are closed", || async {
        // Only the one that asks.
        (redis.command(&["CLIENT", "LIST"]).await.matches("id=").count() == 1).then_some(())
    })
    .await;
}
