//! The hand-over between the owner and a drain that waits: publish, then wake.
//!
//! The waiter looks at the worst moment that there is: on a thread of its own, the instant it is woken, while the owner
//! stands in the call that wakes it. Where the wake came before the publication it finds nothing, waits again, and is
//! never woken any more. No clock decides: when the owner is idle, a waiter that has nothing and was not woken is lost.

use std::pin::pin;
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use spangate::channel::{Channel, Settings, Start, Takes, Tap};
use spangate::clock::Clock;
use spangate::metrics::{Registry, TABLE};
use tokio::runtime::Builder;

use super::crash::{message, settings};
use crate::support::disk::SimDisk;

const ROUNDS: u64 = 12;
/// For so long the owner stands still while the waiter looks; it holds the lock then, so that the waiter cannot.
const STANDS: Duration = Duration::from_millis(30);

#[derive(Default)]
struct Moment(Mutex<Seen>, Condvar);

#[derive(Default)]
struct Seen {
    woken: bool,
    looked: u64,
    /// The owner has said yes and is idle.
    done: bool,
}

impl Wake for Moment {
    fn wake(self: Arc<Self>) {
        let mut seen = self.0.lock().unwrap();
        seen.woken = true;
        self.1.notify_all();
        let before = seen.looked;
        drop(self.1.wait_timeout_while(seen, STANDS, |seen| seen.looked == before).unwrap());
    }
}

impl Moment {
    fn look(&self, change: impl FnOnce(&mut Seen)) {
        change(&mut self.0.lock().unwrap());
        self.1.notify_all();
    }

    /// Polls until a frame comes; an error if there is one and nobody says so.
    fn wait(self: &Arc<Self>, tap: &mut Tap) -> Result<u64, String> {
        let waker = Waker::from(self.clone());
        let mut next = pin!(tap.next());
        loop {
            let polled = next.as_mut().poll(&mut Context::from_waker(&waker));
            self.look(|seen| seen.looked += 1);
            if let Poll::Ready(taken) = polled {
                return Ok(taken.map_err(|error| error.to_string())?.ok_or("stopped")?.head.at.first);
            }
            let mut seen = self.1.wait_while(self.0.lock().unwrap(), |seen| !seen.woken && !seen.done).unwrap();
            if !std::mem::take(&mut seen.woken) {
                return Err("promise 2: a drain that waits is not told of what was published".into());
            }
        }
    }
}

/// Hands some messages over, one at a time.
pub fn hand_over(plant: impl FnOnce() + Send) -> Result<(), String> {
    std::thread::scope(|scope| scope.spawn(|| rounds(plant)).join().unwrap())
}

fn rounds(plant: impl FnOnce()) -> Result<(), String> {
    spangate::tasks::simulate();
    plant();
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let _clock = runtime.enter();
    let (settings, disk): (Settings, _) = (settings(), SimDisk::new().disk());
    let opened = Channel::open(settings, disk, Clock::manual(1), &Registry::new(TABLE));
    let channel = opened.map_err(|error| error.to_string())?.0;
    let mut tap = channel.tap("zipkin", Start::End, Takes::Common).map_err(|error| error.to_string())?;
    for round in 0..ROUNDS {
        let moment = Arc::new(Moment::default());
        let first = std::thread::scope(|scope| {
            let waiter = scope.spawn(|| moment.wait(&mut tap));
            // It has looked, found nothing, and waits.
            drop(moment.1.wait_while(moment.0.lock().unwrap(), |seen| seen.looked == 0).unwrap());
            let answer = runtime.block_on(channel.append(vec![message(round)]).wait());
            moment.look(|seen| seen.done = true);
            answer.map_err(|error| error.to_string()).and(waiter.join().unwrap())
        })?;
        if first != round {
            return Err(format!("promise 1: {first} is given, {round} was appended"));
        }
    }
    Ok(())
}
