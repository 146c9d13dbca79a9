//! A fixed run of the delivery path, for counting its instructions: `scripts/check-instructions` runs it under callgrind,
//! which counts inside `Probe::deliver` only. Printed: how many deliveries that was.

use bytes::Bytes;
use fanfare::stream::{AudienceSpec, Channel, Filter, Probe};
use fanfare::wire::Dialect;

const CONNECTIONS: usize = 50;
const TURNS: usize = 40;

fn main() -> std::io::Result<()> {
    let channel = Channel::new("price:updates").map_err(std::io::Error::other)?;
    let data = Bytes::from(format!("{{\"message_type\":\"price_update\",\"pad\":\"{}\"}}", "x".repeat(100)));
    let spec = |dialect: Dialect| AudienceSpec {
        feed: "bench",
        form: dialect.into(),
        channels: vec![channel.clone()],
        filter: Filter::default(),
        pace: Default::default(),
        alias: None,
        by_server: false,
    };
    let specs = (0..CONNECTIONS).map(|i| spec(Dialect::ALL[i % Dialect::ALL.len()])).collect();
    let mut probe = Probe::new(specs)?;
    for turn in 0..TURNS {
        // One message, as when paced; then a few at once, as under load.
        probe.deliver(&channel, &data, if turn % 2 == 0 { 1 } else { 8 });
        probe.drain()?;
    }
    let expected = (CONNECTIONS * (TURNS / 2) * 9) as u64;
    assert_eq!(probe.delivered(), expected, "every delivery was a direct write");
    println!("{}", probe.delivered());
    Ok(())
}
