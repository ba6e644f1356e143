//! Waiting for a condition with a deadline.

use std::fmt::Debug;
use std::future::Future;
use std::time::{Duration, Instant};

/// How long a condition may take unless a test says otherwise. Generous: machines are shared.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);
/// How often it is looked at.
const INTERVAL: Duration = Duration::from_millis(20);

/// Waits until `check` gives `Ok`; panics with its last `Err` after half a minute.
pub async fn eventually<T, E: Debug, F: Future<Output = Result<T, E>>>(what: &str, check: impl FnMut() -> F) -> T {
    eventually_within(DEADLINE, what, check).await
}

/// As [`eventually`] with a deadline of its own.
pub async fn eventually_within<T, E: Debug, F: Future<Output = Result<T, E>>>(
    deadline: Duration,
    what: &str,
    mut check: impl FnMut() -> F,
) -> T {
    let until = Instant::now() + deadline;
    loop {
        match check().await {
            Ok(value) => return value,
            Err(error) if Instant::now() >= until => panic!("not within {deadline:?}: {what}: {error:?}"),
            Err(_) => tokio::time::sleep(INTERVAL).await,
        }
    }
}
