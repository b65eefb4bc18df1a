//! Tasks: the only place that spawns, so that a stop reaches all of them and waits for all.
//!
//! A *vital* task (a drain, an accept loop) that panics, or returns before the stop, is our
//! own bug: it stops the whole process, which then exits with 1. Any other task's panic is
//! logged and costs what it was doing. A [`Part`] is a vital task that can be ended before the others.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

// As the locks of the channel: see `channel::locks`.
#[cfg(feature = "shuttle")]
use shuttle::thread;
#[cfg(not(feature = "shuttle"))]
use std::thread;

/// A group of tasks with one stop. Cheap to clone.
#[derive(Clone)]
pub struct Tasks {
    stop: CancellationToken,
    tracker: TaskTracker,
    failed: CancellationToken,
}

impl Default for Tasks {
    fn default() -> Self {
        Self::new()
    }
}

impl Tasks {
    pub fn new() -> Self {
        Tasks { stop: CancellationToken::new(), tracker: TaskTracker::new(), failed: CancellationToken::new() }
    }

    /// Spawns a task whose panic, or end before the stop, is a failure of the process.
    pub fn vital(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.vital_part(name, Part::from(self.stop.clone()), task);
    }

    /// As [`vital`](Self::vital), for a task that may end when `part`, which is [one of ours](Self::part), is ended.
    #[expect(clippy::disallowed_methods, reason = "the one place that spawns")]
    pub fn vital_part(&self, name: &'static str, part: Part, task: impl Future<Output = ()> + Send + 'static) {
        let (stop, failed) = (self.stop.clone(), self.failed.clone());
        self.tracker.spawn(async move {
            let _ended = part.ended.drop_guard();
            let ended = tokio::spawn(task).await;
            if ended.is_err() || !part.end.is_cancelled() {
                tracing::error!(task = name, panic = ended.is_err(), "a vital task ended; stopping");
                failed.cancel();
                stop.cancel();
            }
        });
    }

    /// A part of these tasks, for one of them.
    pub fn part(&self) -> Part {
        Part { end: self.stop.child_token(), stop: self.stop.clone(), ended: CancellationToken::new() }
    }

    /// Spawns a task that may end, or panic, at any time.
    #[expect(clippy::disallowed_methods, reason = "the one place that spawns")]
    pub fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.tracker.spawn(async move {
            if let Err(error) = tokio::spawn(task).await {
                tracing::error!(task = name, %error, "a task failed");
            }
        });
    }

    /// The token that says stop.
    pub fn stopping(&self) -> &CancellationToken {
        &self.stop
    }

    /// Whether a vital task failed.
    pub fn failed(&self) -> bool {
        self.failed.is_cancelled()
    }

    /// Says stop and waits until all have ended, at most `limit`; false if some had not.
    pub async fn stop(&self, limit: Duration) -> bool {
        self.stop.cancel();
        self.tracker.close();
        tokio::time::timeout(limit, self.tracker.wait()).await.is_ok()
    }
}

/// One task among others: told to end alone or with all of them. Cheap to clone.
#[derive(Clone)]
pub struct Part {
    end: CancellationToken,
    stop: CancellationToken,
    ended: CancellationToken,
}

/// A task on its own, which ends when all do.
impl From<CancellationToken> for Part {
    fn from(stop: CancellationToken) -> Part {
        Part { end: stop.clone(), stop, ended: CancellationToken::new() }
    }
}

impl Part {
    /// The token that tells this task to end.
    pub fn ending(&self) -> &CancellationToken {
        &self.end
    }

    /// Whether all are to end: nobody goes on where this one leaves off.
    pub fn is_last(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Resolves `grace` after all were told to end; never, as long as only this one was.
    pub async fn cut(&self, grace: Duration) {
        self.stop.cancelled().await;
        tokio::time::sleep(grace).await;
    }

    /// Resolves when the task has ended, also by a panic.
    pub async fn ended(&self) {
        self.ended.cancelled().await;
    }
}

/// Runs blocking work (file calls, compression) on the runtime's blocking threads, or in place in a
/// [simulation](simulate). Panics where the work panicked.
#[expect(clippy::disallowed_methods, reason = "the one place that spawns")]
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let done = match (simulated(), pace()) {
        (false, _) => tokio::task::spawn_blocking(work),
        (true, Duration::ZERO) => return work(),
        // As on a thread, it is done though nobody waits for it any more.
        (true, pace) => tokio::spawn(async move {
            tokio::time::sleep(pace).await;
            work()
        }),
    };
    match done.await {
        Ok(value) => value,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// Starts a plain thread for work that blocks for as long as the process runs; whoever starts
/// it says stop to it and joins it.
pub fn thread(name: &str, work: impl FnOnce() + Send + 'static) -> std::io::Result<thread::JoinHandle<()>> {
    thread::Builder::new().name(name.to_owned()).spawn(work)
}

/// Time that the next piece of blocking work takes.
type Pace = Box<dyn FnMut() -> Duration>;

thread_local! {
    static SIMULATED: Cell<bool> = const { Cell::new(false) };
    static PACE: RefCell<Option<Pace>> = const { RefCell::new(None) };
}

/// Makes this thread the only one of what it runs from here on: blocking work is done in place, and a channel that it
/// opens is worked by a task. With a runtime of one thread and paused time, a run then depends on its seed alone.
pub fn simulate() {
    SIMULATED.set(true);
}

/// As [`simulate`], and blocking work and a channel's turns take as much of the runtime's time as `pace` says: so what
/// else there is goes on meanwhile, as beside a thread.
pub fn simulate_at(pace: impl FnMut() -> Duration + 'static) {
    simulate();
    PACE.set(Some(Box::new(pace)));
}

fn pace() -> Duration {
    PACE.with_borrow_mut(|pace| pace.as_mut().map_or(Duration::ZERO, |pace| pace()))
}

pub fn simulated() -> bool {
    SIMULATED.get()
}

/// Spawns what takes the place of a [thread](thread()) in a simulation; it ends on its own.
#[expect(clippy::disallowed_methods, reason = "the one place that spawns")]
pub fn in_place_of_a_thread(work: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(work);
}

/// What takes the place of a [thread](thread()) is as slow as [`simulate_at`] says.
pub async fn take_time() {
    let pace = pace();
    if pace > Duration::ZERO {
        tokio::time::sleep(pace).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn a_vital_task_that_panics_or_ends_early_says_stop_to_the_others() {
        for panics in [true, false] {
            let tasks = Tasks::new();
            let stop = tasks.stopping().clone();
            tasks.vital("other", async move { stop.cancelled().await });
            tasks.vital("ill", async move { assert!(!panics, "as it was told") });
            tokio::time::timeout(LIMIT, tasks.stopping().cancelled()).await.expect("the stop was said");
            assert!(tasks.stop(LIMIT).await && tasks.failed(), "panics: {panics}");
        }
    }

    #[tokio::test]
    async fn a_vital_task_that_panics_during_the_stop_is_a_failure_and_one_that_ends_is_none() {
        for panics in [true, false] {
            let tasks = Tasks::new();
            let stop = tasks.stopping().clone();
            tasks.vital("task", async move {
                stop.cancelled().await;
                assert!(!panics, "as it was told");
            });
            assert!(tasks.stop(LIMIT).await);
            assert_eq!(tasks.failed(), panics);
        }
    }

    #[tokio::test]
    async fn a_part_ends_alone_and_all_parts_with_the_others() {
        let tasks = Tasks::new();
        let parts = [tasks.part(), tasks.part()];
        for part in parts.clone() {
            let end = part.ending().clone();
            tasks.vital_part("part", part, async move { end.cancelled().await });
        }
        parts[0].ending().cancel();
        parts[0].ended().await;
        assert!(!tasks.stopping().is_cancelled() && !parts[0].is_last() && !parts[1].ending().is_cancelled());
        assert!(tasks.stop(LIMIT).await && !tasks.failed());
        parts[1].ended().await;
        assert!(parts[1].is_last());
    }

    #[tokio::test]
    async fn a_part_that_ends_untold_says_stop_to_the_others() {
        let tasks = Tasks::new();
        let part = tasks.part();
        tasks.vital_part("ill", part.clone(), async {});
        part.ended().await;
        tokio::time::timeout(LIMIT, tasks.stopping().cancelled()).await.expect("the stop was said");
        assert!(tasks.stop(LIMIT).await && tasks.failed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_part_is_cut_only_when_all_end() {
        let tasks = Tasks::new();
        let (part, grace) = (tasks.part(), Duration::from_secs(3));
        part.ending().cancel();
        assert!(tokio::time::timeout(grace * 1000, part.cut(grace)).await.is_err());
        tasks.stopping().cancel();
        let begun = tokio::time::Instant::now();
        part.cut(grace).await;
        assert_eq!(begun.elapsed(), grace);
    }

    #[tokio::test(start_paused = true)]
    async fn a_simulation_does_blocking_work_on_its_own_thread_in_its_own_time_though_nobody_waits_for_it() {
        let (here, begun) = (std::thread::current().id(), tokio::time::Instant::now());
        assert_ne!(blocking(|| std::thread::current().id()).await, here);
        simulate_at(|| Duration::from_secs(7));
        assert_eq!(blocking(|| std::thread::current().id()).await, here);
        assert_eq!(begun.elapsed(), Duration::from_secs(7));
        let done = CancellationToken::new();
        let guard = done.clone().drop_guard();
        assert!(tokio::time::timeout(Duration::from_secs(1), blocking(move || drop(guard))).await.is_err());
        done.cancelled().await;
        assert_eq!(begun.elapsed(), Duration::from_secs(14));
    }

    #[tokio::test]
    async fn any_other_task_that_panics_costs_itself_only() {
        let tasks = Tasks::new();
        tasks.spawn("ill", async { panic!("as it was told") });
        tokio::task::yield_now().await;
        assert!(tasks.stop(LIMIT).await && !tasks.failed());
    }

    #[tokio::test]
    async fn a_task_that_does_not_heed_the_stop_is_not_waited_for_longer_than_the_limit() {
        let tasks = Tasks::new();
        tasks.vital("deaf", std::future::pending());
        assert!(!tasks.stop(Duration::from_millis(20)).await);
    }
}
