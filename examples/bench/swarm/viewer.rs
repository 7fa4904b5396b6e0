//! A viewer: it reads the film through a playhead, as a player does.

use rtmfp::proto::range::IndexSet;
use rtmfp::proto::transport::Time;
use std::time::Duration;

/// Seconds of the film that are read before it plays, at the beginning and after each stall.
const BUFFER: f64 = 2.0;
/// Seconds of the film that are read ahead of what plays.
const READ_AHEAD: f64 = 10.0;

/// Seconds of the film from a jump on that the first frame there needs, on average: what is between the
/// key frame before it and itself, if there is one every two seconds.
const FRAME: f64 = 1.0;

/// A player of the film, which has one rate everywhere.
#[derive(Debug)]
pub(crate) struct Viewer {
    /// Seconds that one chunk plays.
    each: f64,
    chunks: u64,
    /// The chunk that is read next, counted from 1.
    next: u64,
    /// What plays, in seconds of the film, and since when; `None` while it buffers.
    playing: Option<(f64, Time)>,
    /// What plays next while it buffers.
    position: f64,
    since: Time,
    /// The next chunk is there, and is read when what is before it has played.
    has_next: bool,
    /// A jump whose first data is not there yet.
    awaits_first: bool,
    /// A jump whose first frame is not there yet.
    awaits_frame: bool,
    pub(crate) seen: Seen,
}

/// What a viewer has seen, in seconds.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    /// From the start until it plays.
    pub(crate) startup: Option<f64>,
    /// How often it waited while it played, and for how long in all.
    pub(crate) stalls: u32,
    pub(crate) stalled: f64,
    /// From a jump until the first data there, until the first frame can be shown, and until it plays.
    pub(crate) jump_data: Option<f64>,
    pub(crate) jump_frame: Option<f64>,
    pub(crate) jump_plays: Option<f64>,
    /// It has played until the end.
    pub(crate) ended: bool,
}

impl Viewer {
    /// A viewer that begins now; a chunk plays for `each` seconds.
    pub(crate) fn new(now: Time, chunks: u64, each: f64) -> Self {
        Self {
            each,
            chunks,
            next: 1,
            playing: None,
            position: 0.0,
            since: now,
            has_next: false,
            awaits_first: false,
            awaits_frame: false,
            seen: Seen::default(),
        }
    }

    /// Jumps to a chunk.
    pub(crate) fn jump(&mut self, now: Time, chunk: u64) {
        self.next = chunk.clamp(1, self.chunks);
        self.position = self.start_of(self.next);
        (self.playing, self.since) = (None, now);
        (self.awaits_first, self.awaits_frame) = (true, true);
        self.seen.jump_plays = None;
    }

    /// The chunk that it reads or waits for; none at the end of the film.
    pub(crate) fn playhead(&self) -> Option<u64> {
        (self.next <= self.chunks).then_some(self.next)
    }

    /// Reads what is there, and plays.
    pub(crate) fn update(&mut self, now: Time, held: &IndexSet) {
        self.advance(now);
        while self.next <= self.chunks
            && held.contains(self.next)
            && self.start_of(self.next) <= self.position_at(now) + READ_AHEAD
        {
            self.next += 1;
            if std::mem::take(&mut self.awaits_first) {
                self.seen.jump_data = Some(now.since(self.since).as_secs_f64());
            }
        }
        self.has_next = held.contains(self.next);
        let buffered = self.start_of(self.next) - self.position;
        if self.awaits_frame && (buffered >= FRAME || self.next > self.chunks) {
            self.awaits_frame = false;
            self.seen.jump_frame = Some(now.since(self.since).as_secs_f64());
        }
        let is_enough = buffered >= BUFFER || (self.next > self.chunks && buffered > 0.0);
        if self.playing.is_none() && is_enough && !self.seen.ended {
            self.play(now);
        }
    }

    /// When it has to be looked at even if nothing arrives.
    pub(crate) fn poll_timeout(&self) -> Option<Time> {
        let (position, since) = self.playing?;
        let read = self.start_of(self.next);
        let runs_dry = read - position;
        let reads = read - READ_AHEAD - position;
        let seconds = if self.has_next { reads } else { runs_dry };
        // Not before: then there is something to do.
        Some(since + Duration::from_secs_f64(seconds.max(0.0)) + Duration::from_millis(1))
    }

    fn play(&mut self, now: Time) {
        let waited = now.since(self.since).as_secs_f64();
        if self.seen.startup.is_none() {
            self.seen.startup = Some(waited);
        } else if self.seen.jump_data.is_some() && self.seen.jump_plays.is_none() {
            self.seen.jump_plays = Some(waited);
        } else {
            self.seen.stalled += waited;
        }
        self.playing = Some((self.position, now));
    }

    /// Plays on until now, or until nothing is left to play.
    fn advance(&mut self, now: Time) {
        if self.playing.is_none() {
            return;
        }
        let read = self.start_of(self.next);
        let position = self.position_at(now);
        if position < read {
            return;
        }
        (self.playing, self.position, self.since) = (None, read, now);
        match self.next > self.chunks {
            true => self.seen.ended = true,
            false => self.seen.stalls += 1,
        }
    }

    fn position_at(&self, now: Time) -> f64 {
        match self.playing {
            Some((position, since)) => position + now.since(since).as_secs_f64(),
            None => self.position,
        }
    }

    fn start_of(&self, chunk: u64) -> f64 {
        (chunk - 1) as f64 * self.each
    }
}
