//! What peers send to the Scribe port, as a stream: cut into reads of any length, with rests between them.
//!
//! An input's head says how large a frame may be, what its connection may hold, how many messages are under way, and
//! how the stream is cut; the rest is the stream. [`Whole`] tells once more, over all of its bytes, what must come of
//! it, and when: whatever the cuts are.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use spangate::clock::Clock;
use spangate::disk::{Disk, MemoryDisk};
use spangate::listener::intake::{Door, Intake, Refusal, Settings};
use spangate::listener::scribe::raw::{Arrival, Frames};
use spangate::metrics::{Registry, TABLE, ZIPKIN_TABLE};
use spangate::wire::scribe::Header;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::rest::{alone, open};

const HEAD: usize = 12;
const BYTES_MAX: [usize; 4] = [64, 2_000, 20_000, 16_384_000];
/// What a connection may hold: a quarter of what all may. All but the first grow while a frame comes.
const SHARES: [usize; 4] = [512, 4_096, 100_000, 8 << 20];
/// Bytes a second of a frame, and the time in which it need not be told: `listener::pace`.
const RATE: u64 = 100;
const GRACE_MS: u64 = 5_000;
/// What is read of a frame before it has permits.
const PREFIX: usize = 1024;
const FOREIGN: &[u8] = b"GET POSTPUT HEADDELEOPTIPATCCONNTRACHTTPPRI ";

/// Lengths of pieces, and milliseconds before one.
const LENGTHS: [usize; 16] = [1, 2, 3, 4, 5, 7, 8, 64, 511, 512, 1_023, 1_024, 1_028, 4_096, 10_000, usize::MAX];
const RESTS: [u64; 16] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 10, 1_000, 4_999, 5_000, 5_001, 30_000];

pub fn scribe_frames(input: &[u8]) {
    came(input);
}

/// What an input's stream is made of, each by its name.
pub fn came(input: &[u8]) -> Vec<&'static str> {
    let Some((&[max, share, kept, fill, ref cuts @ ..], body)) = input.split_first_chunk::<HEAD>() else {
        return Vec::new();
    };
    // A frame may be larger than an input: then its end is zeros, and what follows them begins again.
    let zeros = vec![0; usize::from(fill) * 300];
    let bytes = if zeros.is_empty() { body.to_vec() } else { [body, &zeros, body].concat() };
    let share = usize::from(share) % SHARES.len();
    let whole = Whole {
        arrivals: arrivals(bytes.len(), cuts),
        bytes: &bytes,
        bytes_max: BYTES_MAX[usize::from(max) % BYTES_MAX.len()],
        share: SHARES[share],
        at: 0,
        now: 0,
        kept: VecDeque::new(),
        kept_max: usize::from(kept % 8),
    };
    // No budget of turns: a permit that is there is taken at once.
    alone(tokio::task::unconstrained(read(whole, &doors()[share])))
}

/// Doors that let nobody wait: a refusal takes no time.
fn doors() -> &'static [Door] {
    static DOORS: OnceLock<Vec<Door>> = OnceLock::new();
    DOORS.get_or_init(|| {
        let (registry, zipkin) = (Registry::new(TABLE), Registry::new(ZIPKIN_TABLE));
        let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
        let channel = alone(async { open(&disk) }).expect("memory takes it");
        let door = |share| {
            let settings = Settings { bytes_in_flight: 4 * share, commit_wait: Duration::ZERO };
            Intake::new(&settings, channel.clone(), Clock::manual(1_000_000), &registry, &zipkin).door("scribe")
        };
        SHARES.into_iter().map(door).collect()
    })
}

/// When each piece comes, in milliseconds, and where it ends.
fn arrivals(bytes: usize, cuts: &[u8]) -> Vec<(u64, usize)> {
    let (mut arrivals, mut now, mut end) = (Vec::new(), 0, 0);
    for cut in cuts.iter().cycle().take_while(|_| !cuts.is_empty()) {
        if end == bytes {
            break;
        }
        now += RESTS[usize::from(cut >> 4)];
        end = LENGTHS[usize::from(cut & 15)].saturating_add(end).min(bytes);
        arrivals.push((now, end));
    }
    arrivals
}

async fn read(mut whole: Whole<'_>, door: &Door) -> Vec<&'static str> {
    let began = Instant::now();
    let arrivals = whole.arrivals.iter().map(|(ms, end)| (began + Duration::from_millis(*ms), *end)).collect();
    let mut pieces = Pieces { bytes: whole.bytes, at: 0, arrivals, rest: Box::pin(sleep_until(began)) };
    let (mut frames, share, mut kept) = (Frames::new(&mut pieces), door.share(), VecDeque::new());
    let mut names = Vec::new();
    let is_over = loop {
        kept.drain(..kept.len().saturating_sub(whole.kept_max));
        let mut permit = share.permit();
        let came = frames.next(whole.bytes_max, RATE, &mut permit).await.expect("memory can be read");
        let may = whole.next();
        let expected = may.iter().find(|may| may.is(&came));
        let expected = *expected.unwrap_or_else(|| panic!("expected {may:?} at {}, found {came:?}", whole.at));
        names.push(expected.name());
        match expected {
            Next::Frame(payload) => {
                whole.pass(payload);
                whole.kept.push_back(whole.held(payload.len(), Some(payload)));
                kept.push_back(permit);
            }
            Next::Refused(payload) => whole.pass(payload),
            Next::Foreign => {
                frames.discard_rest().await.expect("memory can be read");
                break true;
            }
            Next::Cut(_) | Next::End => break true,
            Next::Slow | Next::BadLength(_) => break false,
        }
        assert_eq!(began.elapsed(), Duration::from_millis(whole.now), "what is there is given at once");
    };
    drop(frames);
    assert!(!is_over || pieces.at == whole.bytes.len(), "an end before the end");
    names
}

/// A stream whose every read brings a piece at most.
struct Pieces<'a> {
    bytes: &'a [u8],
    at: usize,
    arrivals: VecDeque<(Instant, usize)>,
    rest: Pin<Box<Sleep>>,
}

impl AsyncRead for Pieces<'_> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        let Some(&(time, end)) = self.arrivals.front() else { return Poll::Ready(Ok(())) };
        if Instant::now() < time {
            self.rest.as_mut().reset(time);
            return self.rest.as_mut().poll(cx).map(|()| Ok(()));
        }
        let given = end.min(self.at + buf.remaining());
        buf.put_slice(&self.bytes[self.at..given]);
        self.at = given;
        if given == end {
            self.arrivals.pop_front();
        }
        Poll::Ready(Ok(()))
    }
}

/// What a stream is made of.
#[derive(Debug, Clone, Copy)]
enum Next<'a> {
    Frame(&'a [u8]),
    Refused(&'a [u8]),
    Foreign,
    Slow,
    BadLength(i32),
    /// The stream ends within a payload of so many bytes.
    Cut(usize),
    End,
}

impl Next<'_> {
    fn name(&self) -> &'static str {
        match self {
            Next::Frame(_) => "frame",
            Next::Refused(_) => "refused",
            Next::Foreign => "foreign",
            Next::Slow => "slow",
            Next::BadLength(_) => "bad length",
            Next::Cut(_) => "cut",
            Next::End => "end",
        }
    }

    fn is(&self, came: &Option<Arrival>) -> bool {
        match (self, came) {
            (Next::Frame(payload), Some(Arrival::Frame(came))) => came == payload,
            (Next::Refused(payload), Some(Arrival::Refused { prefix, bytes, refusal: Refusal::Busy })) => {
                *bytes == payload.len() && prefix == &payload[..PREFIX.min(*bytes)]
            }
            (Next::BadLength(length), Some(Arrival::BadLength(came))) => came == length,
            (Next::Cut(length), Some(Arrival::Cut { bytes, error: None })) => bytes == length,
            (Next::Foreign, Some(Arrival::Foreign(_))) | (Next::Slow, Some(Arrival::Slow)) | (Next::End, None) => true,
            _ => false,
        }
    }
}

/// The whole stream, and where in it a reader is.
struct Whole<'a> {
    bytes: &'a [u8],
    arrivals: Vec<(u64, usize)>,
    bytes_max: usize,
    share: usize,
    at: usize,
    now: u64,
    /// What each message under way holds, the oldest first.
    kept: VecDeque<usize>,
    kept_max: usize,
}

impl<'a> Whole<'a> {
    /// What may come next. There is one answer, but of a frame for which there is no room and that stalls: it depends
    /// on the cuts which of the two is seen first.
    fn next(&mut self) -> Vec<Next<'a>> {
        self.kept.drain(..self.kept.len().saturating_sub(self.kept_max));
        let Some((first, rest)) = self.bytes[self.at..].split_first_chunk::<4>() else { return vec![Next::End] };
        let is_tls = matches!(first, [22, 3, ..5, _]);
        if is_tls || FOREIGN.as_chunks::<4>().0.contains(first) {
            return vec![Next::Foreign];
        }
        let length = i32::from_be_bytes(*first);
        if length <= 0 || length as usize > self.bytes_max {
            return vec![Next::BadLength(length)];
        }
        let (bytes, payload) = (length as usize, rest.get(..length as usize));
        if rest.len() < bytes.min(PREFIX) {
            return vec![Next::Cut(bytes)];
        }
        let held = self.held(bytes, payload);
        let is_slow = held > 0 && self.is_slow(bytes);
        let slow = Some(Next::Slow).filter(|_| is_slow);
        match (held <= self.share - self.kept.iter().sum::<usize>(), payload) {
            (true, Some(payload)) => vec![slow.unwrap_or(Next::Frame(payload))],
            (true, None) => vec![slow.unwrap_or(Next::Cut(bytes))],
            (false, payload) => slow.into_iter().chain([payload.map_or(Next::Cut(bytes), Next::Refused)]).collect(),
        }
    }

    /// The permits of a frame: none where its first bytes are the whole, and no `Log` call.
    fn held(&self, bytes: usize, payload: Option<&[u8]>) -> usize {
        let is_log = payload.is_none_or(|payload| Header::parse(payload).is_ok_and(|header| header.name == b"Log"));
        if bytes <= PREFIX && !is_log { 0 } else { bytes.min(self.share) }
    }

    /// Whether a frame that has permits stalls too long, once its first bytes are there.
    fn is_slow(&self, bytes: usize) -> bool {
        let began = self.now.max(self.time_of(1));
        let mut now = began.max(self.time_of(4 + bytes.min(PREFIX)));
        loop {
            let came = self.arrivals.partition_point(|(time, _)| *time <= now);
            let have = self.arrivals[came - 1].1 - self.at;
            let Some((next, _)) = self.arrivals.get(came).filter(|_| have < 4 + bytes) else { return false };
            if *next > began + GRACE_MS.max(have as u64 * 1_000 / RATE) {
                return true;
            }
            now = *next;
        }
    }

    /// When so many bytes of the next frame are there.
    fn time_of(&self, bytes: usize) -> u64 {
        self.arrivals[self.arrivals.partition_point(|(_, end)| *end < self.at + bytes)].0
    }

    fn pass(&mut self, payload: &[u8]) {
        self.now = self.now.max(self.time_of(4 + payload.len()));
        self.at += 4 + payload.len();
    }
}
