//! Named background tasks: each has an owner, is told to stop by a token, and is waited for under a deadline.

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// A group of tasks that end together. Cloning shares the group.
#[derive(Clone, Default)]
pub struct Tasks {
    stop: CancellationToken,
    running: Arc<Mutex<Vec<Named>>>,
}

type Named = (&'static str, JoinHandle<()>);

impl Tasks {
    pub fn new() -> Self {
        Self::default()
    }

    /// Cancelled when the group is asked to end. A task selects on it and returns soon after.
    pub fn stop(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Runs `task` until it returns. A task that panics is logged by name and does not end the process.
    pub fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let handle = tokio::spawn(task);
        let mut running = self.running.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        running.retain(|(_, handle)| !handle.is_finished());
        running.push((name, handle));
    }

    /// Asks every task to end and waits for all under one deadline; answers the names of those it had to abort.
    pub async fn drain(&self, within: Duration) -> Vec<&'static str> {
        self.stop.cancel();
        let deadline = Instant::now() + within;
        let running = std::mem::take(&mut *self.running.lock().unwrap_or_else(|poisoned| poisoned.into_inner()));
        let mut aborted = Vec::new();
        for (name, mut handle) in running {
            match tokio::time::timeout_at(deadline, &mut handle).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::error!(task = name, %error, "task failed"),
                Err(_) => {
                    handle.abort();
                    aborted.push(name);
                }
            }
        }
        aborted
    }
}
