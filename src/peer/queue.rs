//! Events that wait for the application.
//!
//! The machine pushes and never waits; the application pops. What happens when the application is
//! slow depends on the event: a notification can be dropped, a fetched object and a neighbour's
//! request can't, so those are handed back to the machine.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Events that wait at most.
pub const MAX_EVENTS: usize = 1024;
/// Fetched objects waiting, from which the application counts as slow.
pub const SLOW_OBJECTS: usize = 256;
/// Bytes of fetched objects waiting, from which the application counts as slow.
pub const SLOW_OBJECT_BYTES: usize = 32 << 20;
/// Bytes of fetched objects that wait at most.
pub const MAX_OBJECT_BYTES: usize = 64 << 20;
/// The application has caught up when this part of what made it slow is left.
const CAUGHT_UP: usize = 4;

/// What an event is to the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Can be dropped.
    Notice,
    /// A neighbour waits for an answer.
    Request,
    /// An object of so many bytes.
    Object(usize),
}

pub(super) trait Queued {
    fn kind(&self) -> Kind;
}

/// What came of a push.
#[derive(Debug)]
pub(super) struct Pushed<E> {
    /// A request or object for which there is no room.
    pub(super) refused: Option<E>,
    /// The application is slow with objects.
    pub(super) is_slow: bool,
}

/// What the application gets.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Popped<E> {
    Event(E),
    /// So many notifications were dropped.
    Lagged(u64),
}

#[derive(Debug)]
pub(super) struct Queue<E> {
    state: Mutex<State<E>>,
    /// Something was pushed, or the queue was closed.
    changed: Notify,
}

#[derive(Debug)]
struct State<E> {
    events: VecDeque<E>,
    objects: usize,
    object_bytes: usize,
    lagged: u64,
    /// The machine was told that the application is slow, and wants to hear when it has caught up.
    slow: bool,
    closed: bool,
}

impl<E: Queued> Queue<E> {
    pub(super) fn new() -> Self {
        let state = State {
            events: VecDeque::new(),
            objects: 0,
            object_bytes: 0,
            lagged: 0,
            slow: false,
            closed: false,
        };
        Self { state: Mutex::new(state), changed: Notify::new() }
    }

    pub(super) fn push(&self, event: E) -> Pushed<E> {
        let pushed = self.lock().push(event);
        self.changed.notify_one();
        pushed
    }

    /// The next event, if one waits; `Err` when there will be none any more.
    pub(super) fn pop(&self) -> Result<Option<Popped<E>>, Closed> {
        self.lock().pop()
    }

    /// Waits for the next event; `None` when there will be none any more. May be cancelled.
    pub(super) async fn wait_pop(&self) -> Option<Popped<E>> {
        loop {
            let changed = self.changed.notified();
            match self.pop() {
                Ok(Some(popped)) => return Some(popped),
                Ok(None) => changed.await,
                Err(Closed) => return None,
            }
        }
    }

    /// True if the machine waits to hear that the application has caught up, and it has.
    pub(super) fn has_caught_up(&self) -> bool {
        let state = self.lock();
        state.slow && state.has_caught_up()
    }

    /// Forgets that the application was slow, if it has caught up.
    pub(super) fn resume(&self) -> bool {
        let mut state = self.lock();
        let resume = state.slow && state.has_caught_up();
        state.slow &= !resume;
        resume
    }

    /// No event follows. Those that wait can still be taken.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_waiters();
        self.changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State<E>> {
        // Nothing panics between changes that belong together.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The queue was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Closed;

impl<E: Queued> State<E> {
    fn push(&mut self, event: E) -> Pushed<E> {
        let refused = self.try_push(event);
        let too_much = self.objects >= SLOW_OBJECTS || self.object_bytes >= SLOW_OBJECT_BYTES;
        let refused_object = refused.as_ref().is_some_and(|e| e.kind() != Kind::Request);
        self.slow |= too_much || refused_object;
        Pushed { refused, is_slow: self.slow }
    }

    fn try_push(&mut self, event: E) -> Option<E> {
        let kind = event.kind();
        if let Kind::Object(bytes) = kind
            && self.objects > 0
            && self.object_bytes.saturating_add(bytes) > MAX_OBJECT_BYTES
        {
            return Some(event);
        }
        if self.events.len() >= MAX_EVENTS {
            match self.events.iter().position(|waiting| waiting.kind() == Kind::Notice) {
                Some(oldest) => {
                    self.events.remove(oldest);
                    self.lagged += 1;
                }
                None if kind == Kind::Notice => {
                    self.lagged += 1;
                    return None;
                }
                None => return Some(event),
            }
        }
        if let Kind::Object(bytes) = kind {
            self.objects += 1;
            self.object_bytes += bytes;
        }
        self.events.push_back(event);
        None
    }

    fn pop(&mut self) -> Result<Option<Popped<E>>, Closed> {
        if self.lagged > 0 {
            return Ok(Some(Popped::Lagged(std::mem::take(&mut self.lagged))));
        }
        let Some(event) = self.events.pop_front() else {
            return if self.closed { Err(Closed) } else { Ok(None) };
        };
        if let Kind::Object(bytes) = event.kind() {
            self.objects -= 1;
            self.object_bytes -= bytes;
        }
        Ok(Some(Popped::Event(event)))
    }

    fn has_caught_up(&self) -> bool {
        self.objects <= SLOW_OBJECTS / CAUGHT_UP
            && self.object_bytes <= SLOW_OBJECT_BYTES / CAUGHT_UP
            && self.events.len() <= MAX_EVENTS / CAUGHT_UP
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[derive(Debug, PartialEq, Eq)]
    struct Event(u32, Kind);

    impl Queued for Event {
        fn kind(&self) -> Kind {
            self.1
        }
    }

    fn notice(n: u32) -> Event {
        Event(n, Kind::Notice)
    }

    fn request(n: u32) -> Event {
        Event(n, Kind::Request)
    }

    fn object(n: u32, bytes: usize) -> Event {
        Event(n, Kind::Object(bytes))
    }

    fn drain(queue: &Queue<Event>) -> Vec<Popped<Event>> {
        std::iter::from_fn(|| queue.pop().ok().flatten()).collect()
    }

    #[test]
    fn the_oldest_notices_make_room_and_are_counted() {
        let queue = Queue::new();
        assert!(queue.push(request(0)).refused.is_none());
        for n in 1..=MAX_EVENTS as u32 + 2 {
            assert!(queue.push(notice(n)).refused.is_none());
        }
        let popped = drain(&queue);
        assert_eq!(popped[0], Popped::Lagged(3));
        assert_eq!(popped[1], Popped::Event(request(0)), "a request is never dropped");
        assert_eq!(popped[2], Popped::Event(notice(4)));
        assert_eq!(popped.len(), 1 + MAX_EVENTS);
    }

    #[test]
    fn a_request_too_many_is_handed_back() {
        let queue = Queue::new();
        for n in 0..MAX_EVENTS as u32 {
            assert!(queue.push(request(n)).refused.is_none());
        }
        let pushed = queue.push(request(9999));
        assert_eq!(pushed.refused, Some(request(9999)));
        assert!(!pushed.is_slow, "requests do not stop fetching");
        assert!(queue.push(notice(1)).refused.is_none());
        assert_eq!(queue.pop(), Ok(Some(Popped::Lagged(1))));
    }

    #[test]
    fn objects_are_bounded_by_bytes_but_one_always_fits() {
        let queue = Queue::new();
        assert!(queue.push(object(0, MAX_OBJECT_BYTES + 1)).refused.is_none());
        let pushed = queue.push(object(1, 1));
        assert_eq!(pushed.refused, Some(object(1, 1)));
        assert!(pushed.is_slow);
        assert!(!queue.has_caught_up());
        drain(&queue);
        assert!(queue.has_caught_up());
        assert!(queue.resume());
        assert!(!queue.resume(), "once");
    }

    #[test]
    fn slow_is_said_before_anything_is_refused() {
        let queue = Queue::new();
        for n in 0..SLOW_OBJECTS as u32 {
            let pushed = queue.push(object(n, 10));
            assert_eq!(pushed.is_slow, n + 1 == SLOW_OBJECTS as u32);
            assert!(pushed.refused.is_none());
        }
        for _ in 0..SLOW_OBJECTS - SLOW_OBJECTS / CAUGHT_UP - 1 {
            queue.pop().unwrap();
        }
        assert!(!queue.has_caught_up());
        queue.pop().unwrap();
        assert!(queue.has_caught_up());
    }

    #[tokio::test]
    async fn who_waits_is_woken_by_events_and_by_the_end() {
        let queue = Arc::new(Queue::new());
        let waiting = tokio::spawn({
            let queue = Arc::clone(&queue);
            async move {
                let first = queue.wait_pop().await;
                (first, queue.wait_pop().await)
            }
        });
        tokio::task::yield_now().await;
        queue.push(notice(1));
        queue.close();
        assert_eq!(waiting.await.unwrap(), (Some(Popped::Event(notice(1))), None));
        assert_eq!(queue.wait_pop().await, None);
    }
}
