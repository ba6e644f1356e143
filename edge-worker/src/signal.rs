//! Waking those who wait for the node to publish.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use worker::Delay;

/// Something that happens again and again. Only for tasks of one object: the runtime keeps those of others apart.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    count: Cell<u64>,
    next: Cell<u64>,
    waiting: RefCell<BTreeMap<u64, Waker>>,
}

impl Signal {
    /// It happened: wakes everyone who waits.
    pub(crate) fn notify(&self) {
        self.count.set(self.count.get() + 1);
        let waiting = std::mem::take(&mut *self.waiting.borrow_mut());
        waiting.into_values().for_each(Waker::wake);
    }

    /// Waits until it happens again, counted from this call on, or until `ms` have passed.
    pub(crate) fn next_within(self: &Rc<Self>, ms: u64) -> NextWithin {
        let place = self.next.get();
        self.next.set(place + 1);
        NextWithin { signal: Rc::clone(self), seen: self.count.get(), place, delay: delay(ms) }
    }
}

/// A timer. Longer than the runtime's longest is cut to it, about 24 days.
pub(crate) fn delay(ms: u64) -> Delay {
    const LONGEST_MS: u64 = i32::MAX as u64;
    Delay::from(Duration::from_millis(ms.min(LONGEST_MS)))
}

/// See [`Signal::next_within`].
pub(crate) struct NextWithin {
    signal: Rc<Signal>,
    seen: u64,
    place: u64,
    delay: Delay,
}

impl Future for NextWithin {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.signal.count.get() != self.seen {
            return Poll::Ready(());
        }
        self.signal.waiting.borrow_mut().insert(self.place, context.waker().clone());
        Pin::new(&mut self.delay).poll(context)
    }
}

impl Drop for NextWithin {
    fn drop(&mut self) {
        self.signal.waiting.borrow_mut().remove(&self.place);
    }
}
