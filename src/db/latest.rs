//! One question that many ask at the same time, asked once.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Mutex;

/// What was found by the last look. Nobody gets what a look found that had begun before he came, so an answer is as good as
/// one of his own; but however many come while one look is under way, they share the next.
pub(super) struct Latest<T> {
    begun: AtomicU64,
    /// The number of the look, and what it found; nothing when it failed.
    last: Mutex<(u64, Option<T>)>,
}

impl<T> Default for Latest<T> {
    fn default() -> Self {
        Self { begun: AtomicU64::new(0), last: Mutex::new((0, None)) }
    }
}

impl<T: Clone> Latest<T> {
    /// `None` when the look failed; those who shared it do not repeat it one after the other.
    pub async fn get(&self, look: impl Future<Output = Option<T>>) -> Option<T> {
        let before = self.begun.load(Ordering::SeqCst);
        let mut last = self.last.lock().await;
        if last.0 > before {
            return last.1.clone();
        }
        let number = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
        let found = look.await;
        *last = (number, found.clone());
        found
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicU64;

    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn a_look_is_shared_by_who_came_before_it_and_by_nobody_else() {
        let (latest, looks) = (Arc::new(Latest::<u64>::default()), Arc::new(AtomicU64::new(0)));
        let (began, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let first = tokio::spawn({
            let (latest, looks, began, go_on) = (latest.clone(), looks.clone(), began.clone(), go_on.clone());
            async move {
                let look = async {
                    began.notify_one();
                    go_on.notified().await;
                    Some(looks.fetch_add(1, Ordering::SeqCst) + 1)
                };
                latest.get(look).await
            }
        });
        began.notified().await;
        // All of these came while the first look was under way.
        let later = (0..50).map(|_| {
            let (latest, looks) = (latest.clone(), looks.clone());
            async move { latest.get(async { Some(looks.fetch_add(1, Ordering::SeqCst) + 1) }).await }
        });
        let later = futures_util::future::join_all(later);
        let release = async {
            tokio::task::yield_now().await;
            go_on.notify_one();
        };
        let (later, ()) = tokio::join!(later, release);
        assert_eq!(first.await.unwrap(), Some(1));
        assert!(later.iter().all(|found| *found == Some(2)), "{later:?}");
        assert_eq!(looks.load(Ordering::SeqCst), 2);
        assert_eq!(latest.get(async { None }).await, None, "a failure is no old answer");
    }
}
