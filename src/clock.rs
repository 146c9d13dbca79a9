//! Wall-clock time, replaceable in tests.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, Utc};

/// Where every part gets the time from.
#[derive(Clone, Default)]
pub struct Clock {
    /// Milliseconds since 1970 when the time is set by hand; `None` reads the system's clock.
    manual: Option<Arc<AtomicI64>>,
}

impl Clock {
    pub fn system() -> Self {
        Self::default()
    }

    /// A clock that stands still until [`Clock::advance`] moves it.
    pub fn manual(start: DateTime<Utc>) -> Self {
        Self { manual: Some(Arc::new(AtomicI64::new(start.timestamp_millis()))) }
    }

    pub fn now(&self) -> DateTime<Utc> {
        match &self.manual {
            Some(at_ms) => DateTime::from_timestamp_millis(at_ms.load(Ordering::Relaxed)).unwrap_or_default(),
            #[allow(clippy::disallowed_methods, reason = "this is the clock")]
            None => Utc::now(),
        }
    }

    pub fn now_ms(&self) -> i64 {
        self.now().timestamp_millis()
    }

    /// Moves a manual clock forward; a system clock moves by itself.
    pub fn advance(&self, by: std::time::Duration) {
        if let Some(at_ms) = &self.manual {
            at_ms.fetch_add(by.as_millis() as i64, Ordering::Relaxed);
        }
    }
}
