//! Byte permits: the one bound on what intake holds in memory.
//!
//! A message holds permits from before its bytes are read until it is answered. They are taken in steps as bytes
//! arrive, so that a peer which announces much and sends nothing holds little: of one half its first 64 KiB, of the
//! other the rest, so that no large messages make small ones wait. A connection holds a quarter of all at most; a
//! single message that is larger stands alone there. Waiters are served in order of arrival (the semaphores are fair),
//! and a message waits for `commit_wait` in all: two that wait for each other's bytes are both refused rather than
//! stuck.
//!
//! Permits count a message's bytes as they came, and what they inflate to; what inflates to much has half as many for
//! itself. While it is decoded a message takes as much again, a hostile one up to six times (broken UTF-8 is three
//! bytes for one, a v1 entry grows to four times its own); the decoders bound that.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use super::{Refusal, Settings};
use crate::metrics::Gauge;

/// What is taken for a message of which nothing has arrived: so little that all connections together, stalled, leave
/// others a third of what is for first bytes.
const FIRST_BYTES: usize = 512;

/// Up to here permits are four times what has arrived, so that a usual message takes few steps; beyond, twice. And up
/// to here they are of the half that large messages take no more of.
const STEP_BYTES: usize = 64 * 1024;

/// The part of `bytes_in_flight` that is for the first bytes of messages: one over this.
const FIRST_SHARE: u32 = 2;

/// Connections' part of `bytes_in_flight`: one over this.
const SHARE: usize = 4;

/// What a compressed body may become without being called large: some two thousand spans.
const USUAL_BYTES: usize = 1 << 20;

/// What large ones hold together, beside all others: `bytes_in_flight` over this. 20 KB can stand for 20 MB: a few
/// peers with little to send would make all others wait. Whoever has it waits for nothing more, so that those who wait
/// for it, and hold what came of their bodies, get on.
const LARGE_SHARE: u32 = 2;

/// The permits of all connections. Cheap to clone.
#[derive(Clone)]
pub(super) struct Budget {
    first: Arc<Semaphore>,
    rest: Arc<Semaphore>,
    /// For what inflates to much.
    large: Arc<Semaphore>,
    bytes: u32,
    wait: Duration,
    held: Gauge,
}

impl Budget {
    pub fn new(settings: &Settings, held: Gauge) -> Self {
        // A semaphore counts to 2^29 on 32-bit machines; 1 is the least that moves.
        let bytes = settings.bytes_in_flight.clamp(1, 1 << 29) as u32;
        let first = bytes.div_ceil(FIRST_SHARE);
        let [first, rest, large] =
            [first, bytes - first, bytes / LARGE_SHARE].map(|bytes| Arc::new(Semaphore::new(bytes as usize)));
        Budget { first, rest, large, bytes, wait: settings.commit_wait, held }
    }

    /// How a message's bytes are shared between the two halves.
    fn halves(&self, bytes: usize) -> [u32; 2] {
        let first = self.bytes.div_ceil(FIRST_SHARE);
        let of_first = bytes.min(STEP_BYTES).min(first as usize);
        [of_first as u32, (bytes - of_first).min((self.bytes - first) as usize) as u32]
    }

    pub fn share(&self) -> Share {
        let bytes = (self.bytes / SHARE as u32).max(1);
        Share { budget: self.clone(), own: Arc::new(Semaphore::new(bytes as usize)), bytes }
    }
}

/// One connection's part of the permits. Cheap to clone.
#[derive(Clone)]
pub struct Share {
    budget: Budget,
    own: Arc<Semaphore>,
    bytes: u32,
}

impl Share {
    /// A permit for a message of which nothing has been read; [`Permit::grow`] takes bytes.
    pub fn permit(&self) -> Permit {
        let wait_left = self.budget.wait;
        Permit { wait_left, share: self.clone(), own: None, first: None, rest: None, large: None, held: 0 }
    }
}

/// What one message holds, and how long it may still wait.
pub struct Permit {
    share: Share,
    own: Option<OwnedSemaphorePermit>,
    first: Option<OwnedSemaphorePermit>,
    rest: Option<OwnedSemaphorePermit>,
    large: Option<OwnedSemaphorePermit>,
    /// Of first bytes and the rest.
    held: u32,
    wait_left: Duration,
}

impl Permit {
    /// How much of `commit_wait` is left for room and sync.
    pub fn wait_left(&self) -> Duration {
        self.wait_left
    }

    /// Bytes that may be read now, of a message of which `have` are there and `expected` are due
    /// in all. Takes a step where `have` has used up what is held.
    pub async fn step(&mut self, have: usize, expected: usize) -> Result<usize, Refusal> {
        let step = (have * 4).clamp(FIRST_BYTES, STEP_BYTES).max(have * 2).min(expected);
        if have >= self.held as usize || expected <= step {
            self.grow(step).await?;
        }
        // Beyond all that a message may hold it stands alone, and reads on.
        let most = self.share.budget.halves(usize::MAX).iter().sum();
        Ok(if self.held < most { self.held as usize } else { step })
    }

    /// Holds at least `bytes` in all, or as much as there is.
    pub async fn grow(&mut self, bytes: usize) -> Result<(), Refusal> {
        let share = self.share.clone();
        let [first, rest] = share.budget.halves(bytes);
        let want = first + rest;
        let Some(more) = want.checked_sub(self.held).filter(|more| *more > 0) else {
            return Ok(());
        };
        let own = want.min(share.bytes) - self.held.min(share.bytes);
        let more_of = [(first, &self.first), (rest, &self.rest)].map(|(want, held)| want - permits(held));
        let [own, first, rest] = self.in_time(take_all(&share, own, more_of)).await?;
        merge(&mut self.own, own);
        merge(&mut self.first, first);
        merge(&mut self.rest, rest);
        share.budget.held.increment(f64::from(more));
        self.held = want;
        Ok(())
    }

    /// Holds what a compressed body is about to become: in all, where that is little; else as much of what is for large
    /// ones, or the whole of it.
    pub async fn inflate(&mut self, bytes: usize) -> Result<(), Refusal> {
        if bytes <= USUAL_BYTES {
            return self.grow(bytes).await;
        }
        let budget = self.share.budget.clone();
        let want = u32::try_from(bytes).unwrap_or(u32::MAX).min(budget.bytes / LARGE_SHARE);
        let more = want.saturating_sub(permits(&self.large));
        let taken = self.in_time(take(&budget.large, more)).await?;
        merge(&mut self.large, taken);
        budget.held.increment(f64::from(more));
        Ok(())
    }

    /// What comes of `taking`, as long as this message may wait.
    async fn in_time<T>(&mut self, taking: impl Future<Output = T>) -> Result<T, Refusal> {
        let began = Instant::now();
        let taken = timeout(self.wait_left, taking).await;
        self.wait_left = self.wait_left.saturating_sub(began.elapsed());
        taken.map_err(|_late| Refusal::Busy)
    }
}

impl Permit {
    /// Gives back what is held: the message is not kept.
    pub fn release(&mut self) {
        self.share.budget.held.decrement(f64::from(self.held + permits(&self.large)));
        (self.own, self.first, self.rest, self.large, self.held) = (None, None, None, None, 0);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.release();
    }
}

/// The connection's own first: who waits there keeps nobody else waiting. Then first bytes and the rest.
async fn take_all(share: &Share, own: u32, [first, rest]: [u32; 2]) -> [OwnedSemaphorePermit; 3] {
    let budget = &share.budget;
    [take(&share.own, own).await, take(&budget.first, first).await, take(&budget.rest, rest).await]
}

fn permits(held: &Option<OwnedSemaphorePermit>) -> u32 {
    held.as_ref().map_or(0, |held| held.num_permits() as u32)
}

async fn take(semaphore: &Arc<Semaphore>, permits: u32) -> OwnedSemaphorePermit {
    semaphore.clone().acquire_many_owned(permits).await.expect("these semaphores are never closed")
}

fn merge(held: &mut Option<OwnedSemaphorePermit>, more: OwnedSemaphorePermit) {
    match held {
        Some(held) => held.merge(more),
        None => *held = Some(more),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Registry, TABLE};

    const WAIT: Duration = Duration::from_millis(500);

    fn budget(bytes_in_flight: usize) -> (Budget, Registry) {
        let registry = Registry::new(TABLE);
        let settings = Settings { bytes_in_flight, commit_wait: WAIT };
        (Budget::new(&settings, registry.gauge("spangate_intake_bytes", &[])), registry)
    }

    async fn held(share: &Share, bytes: usize) -> Result<Permit, Refusal> {
        let mut permit = share.permit();
        permit.grow(bytes).await.map(|()| permit)
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_holds_a_quarter_and_others_still_get_theirs() {
        let (budget, registry) = budget(400);
        let (one, two) = (budget.share(), budget.share());
        let first = held(&one, 60).await.unwrap();
        let second = held(&one, 40).await.unwrap();
        assert_eq!(held(&one, 1).await.err(), Some(Refusal::Busy));
        let other = held(&two, 100).await.unwrap();
        assert!(registry.render().contains("spangate_intake_bytes 200\n"));
        drop((first, second, other));
        assert!(registry.render().contains("spangate_intake_bytes 0\n"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_larger_than_the_quarter_stands_alone_on_its_connection() {
        let (budget, _registry) = budget(1 << 20);
        let share = budget.share();
        let large = held(&share, 300 << 10).await.unwrap();
        assert_eq!(held(&share, 1).await.err(), Some(Refusal::Busy));
        assert!(held(&budget.share(), 100 << 10).await.is_ok());
        drop(large);
        assert!(held(&share, 1).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_larger_than_the_whole_budget_is_read_on_and_small_ones_do_not_wait_for_it() {
        let (budget, _registry) = budget(1 << 20);
        let (mut permit, mut have) = (budget.share().permit(), 0);
        while have < 4 << 20 {
            have = permit.step(have, 4 << 20).await.unwrap();
        }
        assert_eq!(held(&budget.share(), STEP_BYTES + 1).await.err(), Some(Refusal::Busy));
        let small = [held(&budget.share(), STEP_BYTES).await, held(&budget.share(), 1).await];
        assert!(small.iter().all(Result::is_ok));
    }

    #[tokio::test(start_paused = true)]
    async fn what_inflates_to_much_has_turns_and_takes_nothing_from_others() {
        let (budget, registry) = budget(16 << 20);
        let inflated = async |bytes| {
            let mut permit = budget.share().permit();
            permit.inflate(bytes).await.map(|()| permit)
        };
        let bomb = inflated(64 << 20).await.unwrap();
        assert_eq!(inflated(USUAL_BYTES + 1).await.err(), Some(Refusal::Busy));
        let others = held(&budget.share(), 7 << 20).await.unwrap();
        let usual = inflated(USUAL_BYTES).await.unwrap();
        drop(bomb);
        let [one, two] = [inflated(4 << 20).await.unwrap(), inflated(4 << 20).await.unwrap()];
        assert_eq!(inflated(USUAL_BYTES + 1).await.err(), Some(Refusal::Busy));
        drop((one, two, usual, others));
        let mut lied = inflated(2 << 20).await.unwrap();
        lied.inflate(64 << 20).await.unwrap();
        assert!(registry.render().contains("spangate_intake_bytes 8388608\n"));
        drop(lied);
        assert!(registry.render().contains("spangate_intake_bytes 0\n"));
    }

    /// Each holds what came of it, and all of these together are all that there is.
    #[tokio::test(start_paused = true)]
    async fn as_many_bombs_as_fill_the_permits_with_their_bodies_go_off_one_by_one() {
        let (budget, _registry) = budget(16 << 20);
        let bombs = (0..8).map(|_| async {
            let mut permit = held(&budget.share(), 1 << 20).await.unwrap();
            tokio::task::yield_now().await;
            permit.inflate(64 << 20).await.unwrap();
            tokio::time::sleep(WAIT / 20).await;
        });
        futures_util::future::join_all(bombs).await;
    }

    #[tokio::test(start_paused = true)]
    async fn permits_are_taken_in_steps_of_what_has_arrived() {
        let (budget, _registry) = budget(32 << 20);
        let mut permit = budget.share().permit();
        let (mut have, mut steps) = (0, Vec::new());
        while have < 1_000_000 {
            have = permit.step(have, 1_000_000).await.unwrap();
            steps.push(have);
        }
        assert_eq!(steps, [512, 2_048, 8_192, 32_768, 65_536, 131_072, 262_144, 524_288, 1_000_000]);
        let mut small = budget.share().permit();
        assert_eq!(small.step(0, 100).await, Ok(100));
        assert_eq!(small.held, 100);
    }

    #[tokio::test(start_paused = true)]
    async fn the_wait_for_permits_is_taken_from_the_wait_for_the_sync() {
        let (budget, _registry) = budget(400);
        let large = held(&budget.share(), 400).await.unwrap();
        let share = budget.share();
        let mut permit = share.permit();
        let waited = async {
            permit.grow(10).await.unwrap();
            permit.wait_left()
        };
        let freed = async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            drop(large);
        };
        let (left, ()) = tokio::join!(waited, freed);
        assert_eq!(left, Duration::from_millis(300));
        let began = Instant::now();
        let _all = held(&budget.share(), 190).await.unwrap();
        assert_eq!(permit.grow(20).await, Err(Refusal::Busy));
        assert_eq!(began.elapsed(), Duration::from_millis(300));
    }
}
