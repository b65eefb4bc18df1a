//! The drain `dead-letters`: what the listeners set aside goes to the dead letters.
//!
//! It takes the frames that are addressed to it. An entry's label is its reason. A frame is
//! settled when its letters are synced; while they cannot be written it waits in the channel.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::batch::Stretch;
use super::bury::{LAST_WRITE, Trouble, write_patiently};
use crate::channel::{Head, Kind, Ledger, Outcome, ReadError, Taken, Tap};
use crate::deadletter::{Class, Letter, Store};
use crate::tasks;

/// The drain's name: frames are addressed to it by this.
pub const NAME: &str = "dead-letters";

/// How often the disk is looked at, as the channel does; and how long after something went, for a file system may free
/// later than it removes.
const LOOK: Duration = Duration::from_secs(1);
const FREED_LATE: Duration = Duration::from_secs(30);

/// Runs until `stop`, or until the channel stops.
pub async fn run(tap: Tap, letters: Store, stop: CancellationToken) {
    tokio::select! {
        biased;
        () = take(tap, &letters, stop) => {}
        () = give_way(&letters) => {}
    }
}

/// Lets the oldest letters go before intake would stop for want of their room; never ends.
async fn give_way(letters: &Store) {
    let mut failing = false;
    loop {
        let letters = letters.clone();
        let gave = tasks::blocking(move || letters.give_way()).await;
        if let Err(error) = &gave
            && !std::mem::replace(&mut failing, true)
        {
            tracing::warn!(%error, "dead letters cannot give way; trying again");
        }
        failing = gave.is_err();
        tokio::time::sleep(if gave.is_ok_and(|gave| gave) { FREED_LATE } else { LOOK }).await;
    }
}

async fn take(mut tap: Tap, letters: &Store, stop: CancellationToken) {
    let ledger = tap.ledger();
    let mut trouble = Trouble::new(NAME, "frames cannot be read; they stay in the channel");
    loop {
        let taken = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            taken = tap.next() => taken,
        };
        let Some(taken) = taken.transpose() else { return };
        let step = async {
            match taken {
                Ok(taken) => {
                    trouble.over();
                    empty(&ledger, letters, &taken).await;
                }
                Err(ReadError::Failed(error)) => trouble.wait(&error).await,
                Err(error @ ReadError::Damaged { .. }) => trouble.wait(&std::io::Error::other(error)).await,
            }
        };
        // What is not settled then is written again at the next start.
        tokio::select! {
            biased;
            () = step => {}
            () = long_stopped(&stop) => return,
        }
    }
}

async fn long_stopped(stop: &CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(LAST_WRITE).await;
}

async fn empty(ledger: &Ledger, store: &Store, taken: &Taken) {
    let stretches: Vec<_> =
        taken.open.iter().map(|items| Stretch { head: taken.head.clone(), items: items.clone() }).collect();
    let mut trouble = Trouble::new(NAME, "a frame cannot be read; it stays in the channel");
    let body = loop {
        match ledger.body(&taken.head).await {
            Ok(body) => break Some(body),
            Err(ReadError::Damaged { .. }) => break None,
            Err(ReadError::Failed(error)) => trouble.wait(&error).await,
        }
    };
    trouble.over();
    let outcome = match body {
        Some(body) => {
            let letters = stretches.iter().flat_map(|stretch| of_stretch(stretch, &body)).collect();
            write_patiently(store, NAME, letters).await;
            Outcome::DeadLettered
        }
        None => Outcome::Damaged,
    };
    for stretch in &stretches {
        ledger.settle(stretch.positions(), outcome);
    }
}

fn of_stretch(stretch: &Stretch, body: &bytes::Bytes) -> Vec<Letter> {
    let head = &*stretch.head;
    let each = stretch.items.clone().map(|item| Stretch { head: stretch.head.clone(), items: item..item + 1 });
    let class = if head.kind == Kind::Entries { Class::Undecodable } else { Class::Refused };
    each.map(|one| Letter {
        class,
        received_us: head.received_us,
        reason: reason(head, one.items.start),
        drain: NAME.to_owned(),
        position: one.positions().start,
        origin: head.origin.0.clone(),
        bytes: one.slice(body),
    })
    .collect()
}

/// An entry's label is why it was set aside.
fn reason(head: &Head, item: u32) -> String {
    let label = head.items[item as usize].label;
    head.labels.get(usize::from(label)).map_or_else(|| "no reason given".to_owned(), Clone::clone)
}
