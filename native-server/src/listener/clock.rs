//! Since when the other side of a connection is waited for, for what, and until when.
//!
//! [`Clock`] is told what happens and at what time, and touches neither socket nor timer; [`Timer`] waits.

use super::limits::{ConnectionLimits, Pace, Patience};
use super::link::Link;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep_until};

/// What a client of HTTP/2 has to hear that its connection ends, and to end it itself.
const FAREWELL: Duration = Duration::from_secs(1);

/// What a wait that was too long means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lapse {
    /// Nothing was begun: the connection ends without a word.
    Silent,
    /// A head is not whole.
    Head,
    /// To look again: something is being answered, or whoever reads a body says how long that may take.
    Look,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Clock {
    /// When anything last came in, or was to go out; of HTTP/2, a request or something of an answer.
    active: Instant,
    /// When what is not whole was begun.
    begun: Option<Instant>,
    has_spoken: bool,
    /// Until when one who was told that the connection ends is waited for.
    farewell: Option<Instant>,
    /// Since when what is to be sent is not taken, and how long that may be.
    stuck: Option<Instant>,
    patience: Patience,
}

impl Clock {
    /// A connection that is opened.
    pub(super) fn new(now: Instant, write: Pace) -> Self {
        let patience = write.patience();
        Self { active: now, begun: None, has_spoken: false, farewell: None, stuck: None, patience }
    }

    /// Bytes came.
    pub(super) fn hears(&mut self) {
        self.has_spoken = true;
    }

    /// The connection is there for something.
    pub(super) fn is_active(&mut self, now: Instant) {
        self.active = now;
    }

    /// Something is there that is not whole: it was begun now, unless it was before.
    pub(super) fn begins(&mut self, now: Instant) {
        self.begun.get_or_insert(now);
    }

    /// Nothing is there that is not whole.
    pub(super) fn is_whole(&mut self) {
        self.begun = None;
    }

    /// The other side is told that the connection ends; `false` when it was before.
    pub(super) fn takes_leave(&mut self, now: Instant) -> bool {
        let is_first = self.farewell.is_none();
        self.farewell.get_or_insert(now + FAREWELL);
        is_first
    }

    /// Until when the next bytes have to come, and what it means if they do not. `is_in_body` while a body is being sent
    /// to a connection that carries nothing beside it.
    pub(super) fn deadline(
        &self,
        now: impl FnOnce() -> Instant,
        limits: &ConnectionLimits,
        link: &Link,
        is_in_body: bool,
    ) -> (Instant, Lapse) {
        if link.is_answering() {
            return (now() + limits.idle, Lapse::Look);
        }
        if let Some(until) = self.farewell {
            return (until.max(self.active.max(link.answered()) + FAREWELL), Lapse::Silent);
        }
        if let Some(begun) = self.begun {
            return (begun + limits.head, Lapse::Head);
        }
        if is_in_body {
            return (now() + limits.idle, Lapse::Look);
        }
        if !self.has_spoken {
            return (self.active + limits.first_byte, Lapse::Silent);
        }
        (self.active.max(link.answered()) + limits.idle, Lapse::Silent)
    }

    /// The system took `bytes` of what is sent, or all that there was.
    pub(super) fn is_taken(&mut self, bytes: usize, now: impl FnOnce() -> Instant) {
        let waited = self.stuck.take().map_or(Duration::ZERO, |since| now().saturating_duration_since(since));
        self.patience.heard(waited, bytes);
    }

    /// Nothing of what is sent is taken. Until when it may be so: `silence` long, or by the rate at which it was taken.
    pub(super) fn is_stuck(&mut self, now: Instant, silence: Option<Duration>) -> Instant {
        *self.stuck.get_or_insert(now) + silence.unwrap_or_else(|| self.patience.left())
    }
}

/// Goes off at the time that is asked for last.
#[derive(Debug)]
pub(super) struct Timer(Pin<Box<Sleep>>);

impl Timer {
    pub(super) fn new(now: Instant) -> Self {
        Self(Box::pin(sleep_until(now)))
    }

    /// Waits until `deadline`.
    pub(super) fn poll(&mut self, deadline: Instant, context: &mut Context<'_>) -> Poll<()> {
        // It is wound as rarely as can be: it may go off too early, not too late.
        loop {
            let set = self.0.deadline();
            if set > deadline || (set < deadline && self.0.is_elapsed()) {
                self.0.as_mut().reset(deadline);
            }
            ready!(self.0.as_mut().poll(context));
            if self.0.deadline() >= deadline || Instant::now() >= deadline {
                return Poll::Ready(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listener::HeadLimits;
    use std::sync::Arc;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn limits() -> ConnectionLimits {
        ConnectionLimits {
            connections_max: 1,
            address_max: 1,
            first_byte: s(1),
            head: s(10),
            idle: s(100),
            write: Pace { grace: s(30), bytes_per_s: 1_000 },
            stream_write: s(15),
            heads: HeadLimits { line_bytes_max: 1, bytes_max: 1, fields_max: 1 },
            body: Pace { grace: s(1), bytes_per_s: 1 },
        }
    }

    /// A connection that is opened, and what asks it for its deadline, in seconds from then on.
    fn opened() -> (Instant, Arc<Link>, Clock) {
        let now = Instant::now();
        (now, Arc::new(Link::new(([127, 0, 0, 1], 1).into())), Clock::new(now, limits().write))
    }

    #[test]
    fn a_connection_has_its_time_to_speak_then_to_say_all_of_it_then_to_ask_again() {
        let (start, link, mut clock) = opened();
        let deadline = |clock: &Clock, now| clock.deadline(|| start + s(now), &limits(), &link, false);
        assert_eq!(deadline(&clock, 0), (start + s(1), Lapse::Silent));
        clock.hears();
        clock.is_active(start + s(1));
        clock.begins(start + s(1));
        clock.begins(start + s(5));
        assert_eq!(deadline(&clock, 6), (start + s(11), Lapse::Head), "what drips gains nothing by it");
        clock.is_whole();
        assert_eq!(deadline(&clock, 6), (start + s(101), Lapse::Silent));
        clock.is_active(start + s(50));
        assert_eq!(deadline(&clock, 60), (start + s(150), Lapse::Silent));
    }

    #[test]
    fn who_is_waited_for_elsewhere_is_not_waited_for_here() {
        let (start, link, mut clock) = opened();
        clock.begins(start);
        let answering = link.answering();
        assert_eq!(clock.deadline(|| start + s(7), &limits(), &link, false), (start + s(107), Lapse::Look));
        drop(answering);
        assert_eq!(clock.deadline(|| start + s(7), &limits(), &link, true), (start + s(10), Lapse::Head));
        clock.is_whole();
        assert_eq!(clock.deadline(|| start + s(7), &limits(), &link, true), (start + s(107), Lapse::Look));
    }

    #[test]
    fn a_farewell_is_said_once_and_lasts_a_second() {
        let (start, link, mut clock) = opened();
        assert!(clock.takes_leave(start + s(8)));
        assert_eq!(clock.deadline(|| start + s(8), &limits(), &link, false), (start + s(9), Lapse::Silent));
        assert!(!clock.takes_leave(start + s(9)));
    }

    #[test]
    fn an_answer_is_waited_for_as_long_as_it_is_taken_at_the_least_rate() {
        let (start, _, mut clock) = opened();
        let stuck = |clock: &mut Clock, at| clock.is_stuck(start + s(at), None) - start;
        let taken = |clock: &mut Clock, at, bytes| clock.is_taken(bytes, || start + s(at));
        assert_eq!(stuck(&mut clock, 0), s(30));
        assert_eq!(stuck(&mut clock, 20), s(30), "it is stuck since the beginning");
        taken(&mut clock, 25, 2_000);
        assert_eq!(stuck(&mut clock, 25), s(25 + 7), "five of the thirty are left, and two are earned");
        taken(&mut clock, 30, 1_000_000);
        assert_eq!(stuck(&mut clock, 40), s(40 + 30), "and no more than there were at the beginning");
        // Of what never ends any of it will do.
        taken(&mut clock, 69, 1);
        assert_eq!(clock.is_stuck(start + s(70), Some(s(15))) - start, s(85));
        taken(&mut clock, 84, 1);
        assert_eq!(clock.is_stuck(start + s(84), Some(s(15))) - start, s(99));
    }

    #[tokio::test]
    async fn a_timer_goes_off_at_the_time_asked_for_last() {
        let start = Instant::now();
        let mut timer = Timer::new(start);
        let ms = Duration::from_millis;
        // Whatever it was set to before, later or earlier.
        for before in [start + s(3_600), start + s(1_800), start + s(2_700)] {
            std::future::poll_fn(|context| {
                assert!(timer.poll(before, context).is_pending());
                Poll::Ready(())
            })
            .await;
        }
        std::future::poll_fn(|context| timer.poll(start + ms(30), context)).await;
        assert!((ms(30)..s(60)).contains(&start.elapsed()), "{:?}", start.elapsed());
        std::future::poll_fn(|context| timer.poll(start + ms(60), context)).await;
        assert!((ms(60)..s(60)).contains(&start.elapsed()), "{:?}", start.elapsed());
    }
}
