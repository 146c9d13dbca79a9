//! What the stream's parts cost: `make microbench`.

#![allow(clippy::expect_used, reason = "a bench that cannot run has nothing to say")]

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use fanfare::stream::{AudienceSpec, Channel, Filter, Kind, Probe, Publication, Term};
use fanfare::wire::{Decoder, Dialect, Reading};

const SMALL: &str = r#"{"message_type":"price_update","action":"updated","inventory_id":7,"sku":"LAPTOP-001","old_price":1000,"new_price":1100.5,"currency":"JPY"}"#;

fn channel() -> Channel {
    Channel::new("price:updates").expect("a channel")
}

fn publication(tags: &[(&str, &str)]) -> Publication {
    let tags = tags.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    Publication::new(channel(), Kind::Data, Bytes::from_static(SMALL.as_bytes()), tags, None)
}

fn spec(filter: Filter) -> AudienceSpec {
    AudienceSpec {
        feed: "bench",
        form: Dialect::Json.into(),
        channels: vec![channel()],
        filter,
        pace: Default::default(),
        alias: None,
        by_server: false,
    }
}

fn term(field: &str, value: &str) -> Term {
    Term { on: None, fields: vec![field.into()], values: vec![value.into()] }
}

fn encode(c: &mut Criterion) {
    let large = format!("{{\"pad\":\"{}\"}}", "x".repeat(4096));
    let mut group = c.benchmark_group("encode");
    for (size, json) in [("145 B", SMALL), ("4 KiB", large.as_str())] {
        group.throughput(Throughput::Bytes(json.len() as u64));
        for dialect in Dialect::ALL {
            group
                .bench_function(format!("{} {size}", dialect.format()), |b| b.iter(|| dialect.encode(json.as_bytes())));
        }
    }
    group.finish();
}

fn filter(c: &mut Criterion) {
    let mut group = c.benchmark_group("filter");
    let cases = [
        ("none", vec![]),
        ("one term", vec![term("sku", "LAPTOP-001")]),
        ("three terms", vec![term("sku", "LAPTOP-001"), term("currency", "JPY"), term("action", "updated")]),
    ];
    for (name, terms) in cases {
        let filter = Filter::new(terms);
        group.bench_function(format!("{name}, by field"), |b| {
            b.iter_batched(|| publication(&[]), |publication| filter.passes(&publication), BatchSize::SmallInput)
        });
        let tagged = publication(&[("sku", "LAPTOP-001"), ("currency", "JPY"), ("action", "updated")]);
        group.bench_function(format!("{name}, by tag"), |b| b.iter(|| filter.passes(&tagged)));
    }
    group.finish();
}

/// A masked text frame, as a client sends it.
fn decode(c: &mut Criterion) {
    let mask = [1, 2, 3, 4];
    let mut frame = vec![0x81, 0x80 | 126, 0, SMALL.len() as u8];
    frame.extend_from_slice(&mask);
    frame.extend(SMALL.bytes().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
    c.bench_function("decode 145 B", |b| {
        b.iter_batched(
            || frame.clone(),
            |mut input| {
                let mut count = 0;
                let reading = Reading { max_message_bytes: 65_536, deflated: false };
                Decoder::default().read(&mut input, reading, &mut |_| count += 1).expect("a message");
                count
            },
            BatchSize::SmallInput,
        )
    });
}

/// From the broker's hand-over to the kernel, sockets and all.
fn deliver(c: &mut Criterion) {
    let mut group = c.benchmark_group("deliver to 100 sockets");
    group.sample_size(20);
    let data = Bytes::from_static(SMALL.as_bytes());
    let all = || vec![spec(Filter::default()); 100];
    let filtered = || (0..100).map(|i| spec(Filter::new(vec![term("sku", &format!("OTHER-{i}"))]))).collect();
    for (name, specs, count) in
        [("one message", all(), 1), ("64 a turn", all(), 64), ("100 filters, none passes", filtered(), 1)]
    {
        let mut probe = Probe::new(specs).expect("sockets");
        group.throughput(Throughput::Elements(100 * count as u64));
        group.bench_function(name, |b| {
            b.iter_custom(|rounds| {
                let mut took = std::time::Duration::ZERO;
                for _ in 0..rounds {
                    let begun = std::time::Instant::now();
                    probe.deliver(&channel(), &data, count);
                    took += begun.elapsed();
                    probe.drain().expect("drained");
                }
                took
            })
        });
    }
    group.finish();
}

criterion_group!(benches, encode, filter, decode, deliver);
criterion_main!(benches);
