//! Tasks beside a test.

use std::future::Future;
use tokio::task::JoinHandle;

/// A task that ends with its owner.
#[derive(Debug)]
pub struct AbortOnDrop(JoinHandle<()>);

impl AbortOnDrop {
    /// Starts it.
    pub fn spawn(task: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(tokio::spawn(task))
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&self) -> bool {
        self.0.is_finished()
    }

    /// Ends it, and passes on a panic that it has ended with before.
    pub async fn ended(mut self) {
        self.0.abort();
        if let Err(error) = (&mut self.0).await
            && error.is_panic()
        {
            std::panic::resume_unwind(error.into_panic());
        }
    }
}

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
