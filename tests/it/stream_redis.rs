//! What only a broker between processes can get wrong: echoes, strangers, lost connections, a server that stops.

use std::time::Duration;

use bytes::Bytes;
use fanfare::stream::{self, Broker, BrokerError, HistoryOptions, Outgoing, RedisOptions};
use tokio::time::Instant;

use crate::stream_broker::{Rig, message, on, options};
use crate::stream_kit::{Heard, Message, Plain, channel, recorder, stalled_recorder};
use crate::support::{Redis, eventually};

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
                broker.publish(&channel("c"), message(data)).await.unwrap();
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
        let shared = |message: &Message| message.position.clone().filter(|position| !position.is_local());
        let numbered = messages.iter().filter_map(shared);
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
    let numbered: Vec<bool> = messages.iter().map(|message| !message.position.as_ref().unwrap().is_local()).collect();
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
        rig.broker.publish(&channel("c"), Outgoing { tags: tags.clone(), ..message(data) }).await.unwrap();
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
    plain.publish_all("fanfare:{c}", &[b"{}".to_vec()]).await;
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
        // A gap for each channel of which nothing is known: plain messages may have been on it.
        for _ in 0..if round == 1 { 300 } else { 297 } {
            rig.ears.gap().await;
        }
        // From the gap on everything must arrive: a client that loads its state anew now would not do so again. And the
        // channels that nodes alone have used have none: history tells that nothing was missed.
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
    let broker = stream::Redis::connect(&redis.url(), options, HistoryOptions::default(), sink).await.unwrap();
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
    // Mostly what fitted into the queue came first; on a machine that is slow the hole may be before all of it.
    assert!(last < 9_999, "so much does not fit into the queue: {last}");
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
            broker.publish(&channel("c"), message("\"end\"")).await.unwrap();
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
    let broker = stream::Redis::connect(&redis.url(), options, HistoryOptions::default(), sink).await.unwrap();
    broker.subscribe(&channel("c")).await.unwrap();
    redis.stop_signal();
    let begin = Instant::now();
    let published = broker.publish(&channel("c"), message("1")).await;
    assert!(matches!(published, Err(BrokerError::Unavailable(_))), "{published:?}");
    assert!(broker.ping().await.is_err());
    assert!(broker.subscribe(&channel("d")).await.is_err());
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    redis.continue_signal();
    eventually("Redis answers again", || async { broker.ping().await.ok() }).await;
    broker.subscribe(&channel("d")).await.unwrap();
    broker.publish(&channel("d"), message("2")).await.unwrap();
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
    let connected = stream::Redis::connect(&redis.url(), options, HistoryOptions::default(), sink).await;
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

/// Batches of random messages, some of them repetitions, on a short history: one script for all of a batch does what one
/// script a message does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publishing_together_is_publishing_one_after_the_other() {
    let redis = Redis::start().await;
    for (messages, bytes) in [(7, 4 << 20), (1_000, 900), (0, 0)] {
        let history = HistoryOptions { messages, bytes, ..HistoryOptions::default() };
        let (sink, mut ears) = recorder();
        let broker = stream::Redis::connect(&redis.url(), options(), history, sink).await.unwrap();
        let [single, together] = ["single", "together"].map(|name| channel(&format!("{name}:{messages}")));
        broker.subscribe(&together).await.unwrap();
        let mut random = fastrand::Rng::with_seed(7);
        let (mut recent, mut published) = (Vec::<String>::new(), 0);
        for round in 0..60 {
            let batch: Vec<Outgoing> = (0..random.usize(1..=5))
                .map(|n| {
                    let key = match random.usize(0..6) {
                        0 => None,
                        1 if recent.len() > 1 => Some(recent[recent.len() - random.usize(1..=2)].clone()),
                        _ => Some(format!("{round}-{n}")),
                    };
                    recent.extend(key.clone().filter(|key| !recent.contains(key)));
                    let data = Bytes::from(format!(r#""{round} {n} {}""#, "x".repeat(random.usize(0..60))));
                    Outgoing { data, key: key.map(Into::into), ..Outgoing::default() }
                })
                .collect();
            let mut one_by_one = Vec::new();
            for message in &batch {
                one_by_one.push(broker.publish(&single, message.clone()).await.unwrap().offset);
            }
            let (at_once, failure) = broker.publish_all(&together, batch.clone()).await;
            assert!(failure.is_none(), "{failure:?}");
            assert_eq!(at_once.iter().map(|position| position.offset).collect::<Vec<_>>(), one_by_one, "{batch:?}");
            let mut kept = Vec::new();
            for channel in [&single, &together] {
                let past = broker.history(channel, 0).await.unwrap();
                let of = |it: &std::sync::Arc<stream::Publication>| {
                    (it.position.clone().map(|at| at.offset), it.data.clone(), it.tags.clone())
                };
                kept.push((past.position.offset, past.publications.iter().map(of).collect::<Vec<_>>()));
            }
            assert_eq!(kept[0], kept[1], "the same is kept after {batch:?}");
            published = kept[1].0;
        }
        let heard = ears.messages(published as usize).await;
        let offsets: Vec<u64> = heard.iter().map(|message| message.position.as_ref().unwrap().offset).collect();
        assert_eq!(offsets, (1..=published).collect::<Vec<_>>(), "each once, in order");
        broker.stop().await;
    }
}
