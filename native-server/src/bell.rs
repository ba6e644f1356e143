//! The bell: wakes whoever waits for the node's state to move.
//!
//! A writer that has published only asks for a ring ([`Bell::ask`], a few nanoseconds); a task of its own rings, so ten
//! thousand waiting streams cost the write path nothing, and publications that come faster than rings share one.
//!
//! Who waits for lines of one ring alone is woken only when there may be some ([`Node::stirred`]): otherwise every write
//! would wake everybody, and those whom it concerns would wait for those whom it does not.

use headwater_core::feed::RingId;
use headwater_core::node::{Node, Stirred, Told};
use headwater_core::store::Store;
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use tokio::sync::Notify;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    asked: Notify,
    /// Those who hear every ring.
    all: Arc<Group>,
    /// Those who hear of one ring of the feed, while there are any.
    of_rings: Mutex<BTreeMap<RingId, Weak<Group>>>,
}

/// Listeners who are woken together.
#[derive(Debug, Default)]
struct Group {
    rings: AtomicU64,
    places: Mutex<Places>,
}

/// One place for each listener, so that one which is polled often does not fill the list with its wakers.
#[derive(Debug, Default)]
struct Places {
    wakers: Vec<Option<Waker>>,
    free: Vec<usize>,
}

impl Group {
    fn ring(&self) {
        self.rings.fetch_add(1, Ordering::Release);
        let waiting: Vec<Waker> = locked(&self.places).wakers.iter_mut().filter_map(Option::take).collect();
        for waker in waiting {
            waker.wake();
        }
    }
}

impl Bell {
    /// Asks for a ring soon. Callable from any thread; never blocks.
    pub(crate) fn ask(&self) {
        self.asked.notify_one();
    }

    /// Rings whenever asked to, for ever, for those whom it concerns.
    pub(crate) async fn attend<S: Store>(&self, node: &Node<S>) {
        let mut told = Told::default();
        loop {
            self.asked.notified().await;
            self.ring(&node.stirred(&mut told));
        }
    }

    fn ring(&self, stirred: &Stirred) {
        self.all.ring();
        let groups: Vec<_> = {
            let mut of_rings = locked(&self.of_rings);
            of_rings.retain(|_, group| group.strong_count() > 0);
            match stirred {
                Stirred::All => of_rings.values().filter_map(Weak::upgrade).collect(),
                Stirred::Rings(rings) => rings.iter().filter_map(|ring| of_rings.get(ring)?.upgrade()).collect(),
            }
        };
        groups.iter().for_each(|group| group.ring());
    }

    /// A new listener, who hears every ring from now on.
    pub(crate) fn listen(&self) -> Listener {
        Listener::new(Arc::clone(&self.all))
    }

    /// A new listener, who from now on hears what may concern this ring of the feed; `None` is that of everything.
    pub(crate) fn listen_for(&self, ring: Option<RingId>) -> Listener {
        let Some(ring) = ring else { return self.listen() };
        let mut of_rings = locked(&self.of_rings);
        let group = of_rings.entry(ring).or_default();
        Listener::new(group.upgrade().unwrap_or_else(|| {
            let new = Arc::default();
            *group = Arc::downgrade(&new);
            new
        }))
    }
}

/// Nothing that is guarded here panics half-way through a change that matters.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One who listens for the bell.
#[derive(Debug)]
pub(crate) struct Listener {
    group: Arc<Group>,
    heard: u64,
    place: usize,
}

impl Listener {
    fn new(group: Arc<Group>) -> Self {
        let place = {
            let mut places = locked(&group.places);
            places.free.pop().unwrap_or_else(|| {
                places.wakers.push(None);
                places.wakers.len() - 1
            })
        };
        Self { heard: group.rings.load(Ordering::Acquire), group, place }
    }

    /// From here on only later rings count. Call it before looking at the state one waits for.
    pub(crate) fn attend(&mut self) {
        self.heard = self.group.rings.load(Ordering::Acquire);
    }

    /// Ready once the bell has rung since [`Listener::attend`].
    pub(crate) fn poll_rung(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let mut places = locked(&self.group.places);
        // Under the lock a ring is either counted already, or will find the waker left here.
        if self.group.rings.load(Ordering::Acquire) != self.heard {
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
        let mut places = locked(&self.group.places);
        places.wakers[self.place] = None;
        places.free.push(self.place);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use headwater_core::credentials::Grant;
    use headwater_core::id::Id;
    use headwater_core::node::{NodeOptions, Role};
    use headwater_core::scope::Scope;
    use headwater_core::store::Progress;
    use headwater_core::store::memory::{MemoryOptions, MemoryStore};

    fn node() -> Arc<Node<MemoryStore>> {
        let progress =
            Progress { complete: true, cluster: Some(Id::from_bytes([1; 16])), ..Progress::new(Scope::Everything) };
        let store = MemoryStore::new(progress, MemoryOptions::single_threaded(1));
        Arc::new(Node::new(store, NodeOptions::new("node", Id::from_bytes([2; 16]), Role::Primary)))
    }

    #[test]
    fn a_ring_before_the_wait_is_not_missed() {
        let bell = Bell::default();
        let mut listener = bell.listen();
        listener.attend();
        bell.ring(&Stirred::Rings(Vec::new()));
        let mut context = Context::from_waker(Waker::noop());
        assert!(listener.poll_rung(&mut context).is_ready());
        listener.attend();
        assert!(listener.poll_rung(&mut context).is_pending());
    }

    #[test]
    fn places_of_the_gone_are_used_again() {
        let bell = Bell::default();
        for _ in 0..100 {
            let mut listener = bell.listen();
            assert!(listener.poll_rung(&mut Context::from_waker(Waker::noop())).is_pending());
        }
        assert_eq!(locked(&bell.all.places).wakers.len(), 1);
    }

    #[test]
    fn who_waits_for_one_ring_hears_of_that_alone_and_of_what_is_for_all() {
        let node = node();
        let streams = ["a", "b"].map(|name| {
            let scope = Scope::from_json(&format!("{{\"{name}\":[\"\"]}}")).unwrap();
            let request = headwater_core::stream::Request {
                node: name.into(),
                instance: None,
                cursor: None,
                takeover: None,
                scope,
            };
            let now = headwater_core::clock::Now { wall_ms: 1, mono_ms: 1 };
            headwater_core::stream::Stream::open(&node, request, &Grant::all("test"), None, now).unwrap()
        });
        let rings = streams.each_ref().map(|stream| stream.ring().expect("its scope leaves something out"));
        let bell = Bell::default();
        let mut listeners = rings.map(|ring| bell.listen_for(Some(ring)));
        let mut context = Context::from_waker(Waker::noop());
        let mut heard = |stirred: Stirred| {
            listeners.iter_mut().for_each(Listener::attend);
            bell.ring(&stirred);
            listeners.each_mut().map(|listener| listener.poll_rung(&mut context).is_ready())
        };
        assert_eq!(heard(Stirred::Rings(vec![rings[1]])), [false, true]);
        assert_eq!(heard(Stirred::Rings(Vec::new())), [false, false]);
        assert_eq!(heard(Stirred::All), [true, true]);
        drop(listeners);
        bell.ring(&Stirred::All);
        assert!(locked(&bell.of_rings).is_empty());
    }

    #[tokio::test]
    async fn asking_wakes_every_listener() {
        let (bell, node) = (Arc::new(Bell::default()), node());
        let attendant = Arc::clone(&bell);
        let ringing = tokio::spawn(async move { attendant.attend(&node).await });
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
