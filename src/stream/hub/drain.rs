//! When each client is to come back after a drain: in slots, as fast as a node takes handshakes and no faster.

use std::time::Duration;

/// Of what a node could take, what is counted on: the rest is for whoever comes by themselves.
const SHARE: f64 = 0.5;
/// Assumed before the first handshake was seen.
const UNMEASURED_US: u64 = 500;
/// What a handshake takes beyond this it has waited, for a broker or a busy machine; and many wait side by side. Counted in
/// full it would keep clients away for minutes.
const MOST_US: u64 = 2_000;
const MOST_A_SECOND: f64 = 20_000.0;
/// The first slot: time for the next node to take over.
const FIRST: Duration = Duration::from_millis(100);

/// Reconnections a second that are asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Slots {
    per_second: f64,
}

impl Slots {
    /// From what a handshake takes, in microseconds (0: not known), and how many there can be side by side.
    pub fn measured(handshake_us: u64, side_by_side: usize) -> Self {
        let took = if handshake_us == 0 { UNMEASURED_US } else { handshake_us.min(MOST_US) };
        let capacity = 1e6 / took as f64 * side_by_side.max(1) as f64;
        Self { per_second: (capacity * SHARE).clamp(1.0, MOST_A_SECOND) }
    }

    /// How long the client in the `index`th place waits.
    pub fn delay(&self, index: usize) -> Duration {
        FIRST + Duration::from_secs_f64(index as f64 / self.per_second)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_follow_what_handshakes_take() {
        let slots = Slots::measured(1_000, 2);
        assert_eq!(slots.delay(0), FIRST);
        assert_eq!(slots.delay(1_000), FIRST + Duration::from_secs(1), "2,000 a second could be taken, half are asked");
        assert_eq!(Slots::measured(0, 1), Slots::measured(UNMEASURED_US, 1));
        assert_eq!(Slots::measured(1_500_000, 2), Slots::measured(MOST_US, 2), "waiting is not work");
        assert_eq!(Slots::measured(1, 8).per_second, MOST_A_SECOND);
    }
}
