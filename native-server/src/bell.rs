//! The bell: wakes whoever waits for the node's state to move.
//!
//! A writer that has published only asks for a ring ([`Bell::ask`], a few nanoseconds); a task of its own rings, so ten
//! thousand waiting streams cost the write path nothing, and publications that come faster than rings share one.

use std::future::poll_fn;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use tokio::sync::Notify;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    rings: AtomicU64,
    asked: Notify,
    places: Mutex<Places>,
}

/// One place for each listener, so that one which is polled often does not fill the list with its wakers.
#[derive(Debug, Default)]
struct Places {
    wakers: Vec<Option<Waker>>,
    free: Vec<usize>,
}

impl Bell {
    /// Asks for a ring soon. Callable from any thread; never blocks.
    pub(crate) fn ask(&self) {
        self.asked.notify_one();
    }

    /// Rings whenever asked to, for ever.
    pub(crate) async fn attend(&self) {
        loop {
            self.asked.notified().await;
            self.ring();
        }
    }

    fn ring(&self) {
        self.rings.fetch_add(1, Ordering::Release);
        let waiting: Vec<Waker> = self.places().wakers.iter_mut().filter_map(Option::take).collect();
        for waker in waiting {
            waker.wake();
        }
    }

    /// A new listener, who hears every ring from now on.
    pub(crate) fn listen(self: &Arc<Self>) -> Listener {
        let place = {
            let mut places = self.places();
            places.free.pop().unwrap_or_else(|| {
                places.wakers.push(None);
                places.wakers.len() - 1
            })
        };
        Listener { bell: Arc::clone(self), heard: self.rings.load(Ordering::Acquire), place }
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        // Nothing in here panics half-way through a change that matters.
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One who listens for the bell.
#[derive(Debug)]
pub(crate) struct Listener {
    bell: Arc<Bell>,
    heard: u64,
    place: usize,
}

impl Listener {
    /// From here on only later rings count. Call it before looking at the state one waits for.
    pub(crate) fn attend(&mut self) {
        self.heard = self.bell.rings.load(Ordering::Acquire);
    }

    /// Ready once the bell has rung since [`Listener::attend`].
    pub(crate) fn poll_rung(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let mut places = self.bell.places();
        // Under the lock a ring is either counted already, or will find the waker left here.
        if self.bell.rings.load(Ordering::Acquire) != self.heard {
            return Poll::Ready(());
        }
        match &mut places.wakers[self.place] {
            Some(waker) => waker.clone_from(context.waker()),
            empty => *empty = Some(context.waker().clone()),
        }
        Poll::Pending
    }

    /// Waits until the bell has rung since [`Listener::attend`].
    pub(crate) async fn rung(&mut self) {
        poll_fn(|context| self.poll_rung(context)).await;
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let mut places = self.bell.places();
        places.wakers[self.place] = None;
        places.free.push(self.place);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_before_the_wait_is_not_missed() {
        let bell = Arc::new(Bell::default());
        let mut listener = bell.listen();
        listener.attend();
        bell.ring();
        let mut context = Context::from_waker(Waker::noop());
        assert!(listener.poll_rung(&mut context).is_ready());
        listener.attend();
        assert!(listener.poll_rung(&mut context).is_pending());
    }

    #[test]
    fn places_of_the_gone_are_used_again() {
        let bell = Arc::new(Bell::default());
        for _ in 0..100 {
            let mut listener = bell.listen();
            assert!(listener.poll_rung(&mut Context::from_waker(Waker::noop())).is_pending());
        }
        assert_eq!(bell.places().wakers.len(), 1);
    }

    #[tokio::test]
    async fn asking_wakes_every_listener() {
        let bell = Arc::new(Bell::default());
        let attendant = Arc::clone(&bell);
        let ringing = tokio::spawn(async move { attendant.attend().await });
        let waiting: Vec<_> = (0..3)
            .map(|_| {
                let mut listener = bell.listen();
                tokio::spawn(async move { listener.rung().await })
            })
            .collect();
        bell.ask();
        for task in waiting {
            task.await.unwrap();
        }
        ringing.abort();
    }
}
