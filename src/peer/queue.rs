//! The queue of events for the application.
//!
//! The machine pushes and never waits; the application pops. If the application is slow, the result
//! depends on the event: a notification can be dropped, a fetched object and a neighbor's request
//! can't, so those are returned to the machine.

use super::error::{Lagged, RecvError};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// The most events in the queue.
pub const MAX_EVENTS: usize = 1024;
/// The number of queued objects from which the application counts as slow.
pub const SLOW_OBJECTS: usize = 256;
/// The bytes of queued objects from which the application counts as slow.
pub const SLOW_OBJECT_BYTES: usize = 32 << 20;
/// The most bytes of queued objects.
pub const MAX_OBJECT_BYTES: usize = 64 << 20;
/// The most bytes of queued messages; beyond, the oldest are dropped.
pub const MAX_MESSAGE_BYTES: usize = 16 << 20;
/// The application has caught up when the queue is down to this part of those limits.
const CAUGHT_UP: usize = 4;

/// How the queue treats an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// It can be dropped.
    Notice,
    /// A message of this many bytes, which can be dropped.
    Message(usize),
    /// A neighbor waits for an answer.
    Request,
    /// An object of this many bytes.
    Object(usize),
}

impl Kind {
    fn is_droppable(self) -> bool {
        matches!(self, Self::Notice | Self::Message(_))
    }
}

pub(super) trait Queued {
    fn kind(&self) -> Kind;
}

/// The result of a push.
#[derive(Debug)]
pub(super) struct Pushed<E> {
    /// A request or an object that does not fit.
    pub(super) refused: Option<E>,
    /// The application is slow with objects.
    pub(super) is_slow: bool,
}

#[derive(Debug)]
pub(super) struct Queue<E> {
    state: Mutex<State<E>>,
}

#[derive(Debug)]
struct State<E> {
    events: VecDeque<E>,
    objects: usize,
    object_bytes: usize,
    message_bytes: usize,
    lagged: u64,
    /// The machine has stopped fetching until the application catches up.
    slow: bool,
    closed: bool,
    /// The readers that wait for an event or the end, by their numbers.
    waiting: BTreeMap<u64, Waker>,
    /// The number of readers so far.
    readers: u64,
}

/// A receiver of events. It waits in one task at a time; dropping it ends the wait.
#[derive(Debug)]
pub(super) struct Reader<E> {
    queue: Arc<Queue<E>>,
    number: u64,
}

impl<E: Queued> Queue<E> {
    pub(super) fn new() -> Self {
        let state = State {
            events: VecDeque::new(),
            objects: 0,
            object_bytes: 0,
            message_bytes: 0,
            lagged: 0,
            slow: false,
            closed: false,
            waiting: BTreeMap::new(),
            readers: 0,
        };
        Self { state: Mutex::new(state) }
    }

    pub(super) fn push(&self, event: E) -> Pushed<E> {
        let mut state = self.lock();
        let pushed = state.push(event);
        wake(state);
        pushed
    }

    /// The next event, if there is one. [`RecvError::Closed`] when none will follow.
    pub(super) fn pop(&self) -> Result<Option<E>, RecvError> {
        self.lock().pop()
    }

    /// Clears the slow state, if the application has caught up: `true` once each time.
    pub(super) fn resume(&self) -> bool {
        let mut state = self.lock();
        let resume = state.slow && state.has_caught_up();
        state.slow &= !resume;
        resume
    }

    /// True while the application is slow with objects.
    pub(super) fn is_slow(&self) -> bool {
        self.lock().slow
    }

    /// Closes the queue to new events. Queued ones can still be received.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        wake(state);
    }
}

impl<E> Queue<E> {
    fn lock(&self) -> MutexGuard<'_, State<E>> {
        // Nothing panics between changes that belong together.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<E> Reader<E> {
    pub(super) fn new(queue: Arc<Queue<E>>) -> Self {
        let mut state = queue.lock();
        let number = state.readers;
        state.readers += 1;
        drop(state);
        Self { queue, number }
    }
}

impl<E: Queued> Reader<E> {
    /// As [`Queue::pop`].
    pub(super) fn pop(&mut self) -> Result<Option<E>, RecvError> {
        self.queue.pop()
    }

    /// The next event; wakes the task when there is one, or when none will follow.
    pub(super) fn poll_pop(&mut self, context: &mut Context<'_>) -> Poll<Result<E, RecvError>> {
        let mut state = self.queue.lock();
        if let Some(popped) = state.pop().transpose() {
            return Poll::Ready(popped);
        }
        let earlier = state.waiting.insert(self.number, context.waker().clone());
        drop(state);
        // Dropping a waker may run code of the task, so the lock is released first.
        drop(earlier);
        Poll::Pending
    }
}

impl<E> Clone for Reader<E> {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.queue))
    }
}

impl<E> Drop for Reader<E> {
    fn drop(&mut self) {
        let waker = self.queue.lock().waiting.remove(&self.number);
        // As in `poll_pop`: after the lock is released.
        drop(waker);
    }
}

/// The item of a stream for what a reader returned.
pub(super) fn item<E>(popped: Result<E, RecvError>) -> Option<Result<E, Lagged>> {
    match popped {
        Ok(event) => Some(Ok(event)),
        Err(RecvError::Lagged(skipped)) => Some(Err(Lagged(skipped))),
        Err(RecvError::Closed) => None,
    }
}

/// Wakes the readers, without the lock.
fn wake<E>(mut state: MutexGuard<'_, State<E>>) {
    let waiting = std::mem::take(&mut state.waiting);
    drop(state);
    waiting.into_values().for_each(Waker::wake);
}

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
        if let Kind::Message(bytes) = kind {
            let max = MAX_MESSAGE_BYTES.saturating_sub(bytes);
            while self.message_bytes > max && self.drop_oldest(|k| matches!(k, Kind::Message(_))) {}
        }
        if self.events.len() >= MAX_EVENTS && !self.drop_oldest(Kind::is_droppable) {
            if kind.is_droppable() {
                self.lagged += 1;
                return None;
            }
            return Some(event);
        }
        match kind {
            Kind::Object(bytes) => {
                self.objects += 1;
                self.object_bytes += bytes;
            }
            Kind::Message(bytes) => self.message_bytes += bytes,
            Kind::Notice | Kind::Request => {}
        }
        self.events.push_back(event);
        None
    }

    /// Drops the oldest event of such a kind; `false` if there is none.
    fn drop_oldest(&mut self, is_of: impl Fn(Kind) -> bool) -> bool {
        let oldest = self.events.iter().position(|waiting| is_of(waiting.kind()));
        let Some(dropped) = oldest.and_then(|oldest| self.events.remove(oldest)) else {
            return false;
        };
        self.lagged += 1;
        self.removed(&dropped);
        true
    }

    /// Accounts for an event that left the queue.
    fn removed(&mut self, event: &E) {
        match event.kind() {
            Kind::Object(bytes) => {
                self.objects -= 1;
                self.object_bytes -= bytes;
            }
            Kind::Message(bytes) => self.message_bytes -= bytes,
            Kind::Notice | Kind::Request => {}
        }
    }

    fn pop(&mut self) -> Result<Option<E>, RecvError> {
        if self.lagged > 0 {
            return Err(RecvError::Lagged(std::mem::take(&mut self.lagged)));
        }
        let Some(event) = self.events.pop_front() else {
            return if self.closed { Err(RecvError::Closed) } else { Ok(None) };
        };
        self.removed(&event);
        Ok(Some(event))
    }

    fn has_caught_up(&self) -> bool {
        self.objects <= SLOW_OBJECTS / CAUGHT_UP
            && self.object_bytes <= SLOW_OBJECT_BYTES / CAUGHT_UP
            && self.events.len() <= MAX_EVENTS / CAUGHT_UP
    }
}

#[cfg(test)]
mod tests {
    use super::{
        CAUGHT_UP, Kind, MAX_EVENTS, MAX_MESSAGE_BYTES, MAX_OBJECT_BYTES, Queue, Queued, Reader,
        SLOW_OBJECTS,
    };
    use crate::peer::RecvError;
    use std::future::poll_fn;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Poll, Wake, Waker};

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

    fn drain(queue: &Queue<Event>) -> Vec<Result<Event, RecvError>> {
        std::iter::from_fn(|| queue.pop().transpose()).collect()
    }

    #[test]
    fn the_oldest_notices_make_space_and_are_counted() {
        let queue = Queue::new();
        assert!(queue.push(request(0)).refused.is_none());
        for n in 1..=MAX_EVENTS as u32 + 2 {
            assert!(queue.push(notice(n)).refused.is_none());
        }
        let popped = drain(&queue);
        assert_eq!(popped[0], Err(RecvError::Lagged(3)));
        assert_eq!(popped[1], Ok(request(0)), "a request is never dropped");
        assert_eq!(popped[2], Ok(notice(4)));
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
        assert_eq!(queue.pop(), Err(RecvError::Lagged(1)));
    }

    #[test]
    fn objects_are_bounded_by_bytes_but_one_always_fits() {
        let queue = Queue::new();
        assert!(queue.push(object(0, MAX_OBJECT_BYTES + 1)).refused.is_none());
        let pushed = queue.push(object(1, 1));
        assert_eq!(pushed.refused, Some(object(1, 1)));
        assert!(pushed.is_slow);
        assert!(!queue.resume());
        drain(&queue);
        assert!(queue.is_slow());
        assert!(queue.resume());
        assert!(!queue.is_slow());
        assert!(!queue.resume(), "once");
    }

    #[test]
    fn messages_are_bounded_by_bytes_and_the_oldest_give_way() {
        let queue = Queue::new();
        let message = |n, bytes| Event(n, Kind::Message(bytes));
        assert!(queue.push(notice(0)).refused.is_none());
        for n in 1..=4 {
            let pushed = queue.push(message(n, MAX_MESSAGE_BYTES / 4));
            assert!(pushed.refused.is_none() && !pushed.is_slow);
        }
        assert!(queue.push(message(5, MAX_MESSAGE_BYTES / 4 + 1)).refused.is_none());
        let left = drain(&queue);
        assert_eq!(left[0], Err(RecvError::Lagged(2)));
        let left: Vec<_> = left[1..].iter().map(|e| e.as_ref().unwrap().0).collect();
        assert_eq!(left, [0, 3, 4, 5]);
        assert!(queue.push(message(6, 2 * MAX_MESSAGE_BYTES)).refused.is_none());
        assert_eq!(drain(&queue).len(), 1, "one always fits");
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
        assert!(!queue.resume());
        queue.pop().unwrap();
        assert!(queue.resume());
    }

    #[tokio::test]
    async fn who_waits_is_woken_by_events_and_by_the_end() {
        let queue = Arc::new(Queue::new());
        let waiting = tokio::spawn({
            let mut reader = Reader::new(Arc::clone(&queue));
            async move {
                let first = poll_fn(|context| reader.poll_pop(context)).await;
                (first, poll_fn(|context| reader.poll_pop(context)).await)
            }
        });
        tokio::task::yield_now().await;
        queue.push(notice(1));
        queue.close();
        assert_eq!(waiting.await.unwrap(), (Ok(notice(1)), Err(RecvError::Closed)));
        assert_eq!(queue.pop(), Err(RecvError::Closed));
    }

    #[derive(Default)]
    struct Counted(AtomicUsize);

    impl Wake for Counted {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Polls once, for a task of its own.
    fn poll(reader: &mut Reader<Event>) -> (Arc<Counted>, Poll<Result<Event, RecvError>>) {
        let task = Arc::new(Counted::default());
        let waker = Waker::from(Arc::clone(&task));
        let polled = reader.poll_pop(&mut Context::from_waker(&waker));
        (task, polled)
    }

    #[test]
    fn a_reader_wakes_its_last_task_and_keeps_no_other() {
        let queue = Arc::new(Queue::new());
        let mut reader = Reader::new(Arc::clone(&queue));
        let (first, _) = poll(&mut reader);
        let (last, polled) = poll(&mut reader);
        assert!(polled.is_pending());
        assert_eq!(Arc::strong_count(&first), 1, "kept");
        queue.push(notice(1));
        assert_eq!(first.0.load(Ordering::Relaxed), 0);
        assert_eq!(last.0.load(Ordering::Relaxed), 1);
        assert_eq!(Arc::strong_count(&last), 1, "kept");
        assert_eq!(poll(&mut reader).1, Poll::Ready(Ok(notice(1))));
    }

    #[test]
    fn a_dropped_reader_leaves_nothing_and_others_are_woken() {
        let queue = Arc::new(Queue::new());
        let mut kept = Reader::new(Arc::clone(&queue));
        let mut dropped = kept.clone();
        let ((task, _), (gone, _)) = (poll(&mut kept), poll(&mut dropped));
        assert_eq!(Arc::strong_count(&gone), 2);
        drop(dropped);
        assert_eq!(Arc::strong_count(&gone), 1, "kept");
        queue.push(notice(1));
        assert_eq!(task.0.load(Ordering::Relaxed), 1);
        assert_eq!(gone.0.load(Ordering::Relaxed), 0);
        assert_eq!(poll(&mut kept).1, Poll::Ready(Ok(notice(1))));
    }

    #[test]
    fn an_event_wakes_every_reader_so_that_none_is_missed() {
        let queue = Arc::new(Queue::new());
        let mut readers = [Reader::new(Arc::clone(&queue)), Reader::new(Arc::clone(&queue))];
        let tasks = readers.each_mut().map(|reader| poll(reader).0);
        queue.push(notice(1));
        assert!(tasks.iter().all(|task| task.0.load(Ordering::Relaxed) == 1));
        let [first, second] = readers;
        // One was woken and is gone; the event is left for the other.
        drop(first);
        assert_eq!(poll(&mut { second }).1, Poll::Ready(Ok(notice(1))));
    }
}
