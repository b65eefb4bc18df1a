//! Whether a channel takes and gives: by one more message, which every drain that takes such is given and settles.

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use spangate::channel::{AppendError, Channel, Intake, Outcome, Tap};
use tokio::time::error::Elapsed;
use tokio::time::timeout;

use super::book::Book;
use super::world::{DRAINS, LETTERS, World, body, draft, next, spans_of};

/// No span of a workload has this number.
const AGAIN: u64 = 1 << 40;
/// Room, a segment that is left, a disk that is looked at again.
const GOES_WITHIN: Duration = Duration::from_secs(5);

/// On a disk that is mended: the longest back-off, and a look at the disk.
const MENDED_WITHIN: Duration = Duration::from_secs(11);

/// What one more message is answered.
pub async fn say(channel: &Channel) -> Result<Result<Range<u64>, AppendError>, Elapsed> {
    let (draft, _) = draft(AGAIN..AGAIN + 1, 10, None);
    timeout(GOES_WITHIN, channel.append(vec![draft]).wait()).await
}

/// A drain that has settled all before is given that message next, settles it, and nothing waits.
pub async fn gives(tap: &mut Tap, positions: &Range<u64>) -> Result<(), String> {
    let given = timeout(GOES_WITHIN, tap.next()).await;
    let given = given.map(|taken| taken.map(|taken| taken.map(|taken| (taken.head.at.first, taken.head.items[0].key))));
    if !matches!(given, Ok(Ok(Some(given))) if given == (positions.start, AGAIN)) {
        return Err(format!("promise 2: {} is given {given:?} next, not {positions:?}", tap.drain()));
    }
    settles(tap, positions.clone()).await
}

/// A drain settles these, and nothing waits.
pub async fn settles(tap: &Tap, positions: Range<u64>) -> Result<(), String> {
    let ledger = tap.ledger();
    let committed = timeout(GOES_WITHIN, ledger.commit(positions, Outcome::Delivered, Bytes::new())).await;
    match matches!(committed, Ok(Ok(()))) && ledger.waiting() == 0 {
        true => Ok(()),
        false => Err(format!("promise 4: {} cannot settle what is left: {committed:?}", tap.drain())),
    }
}

/// A drain is given all that waits for it, and settles it.
async fn empty(book: &Book, tap: &mut Tap) -> Result<(), String> {
    let (ledger, name) = (tap.ledger(), tap.drain().to_owned());
    while ledger.waiting() > 0 {
        let wrong = |what: &str| format!("promise 4: of {} that wait for {} {what}", ledger.waiting(), name);
        let taken = next(tap).await.ok_or_else(|| wrong("none is given"))?;
        let body = body(tap, &taken.head).await.ok_or_else(|| wrong("one is damaged"))?;
        spans_of(book, &taken.head, &body)?;
        let first = taken.head.at.first;
        let open = taken.open.into_iter().map(|open| first + u64::from(open.start)..first + u64::from(open.end));
        ledger.settle_all(open.map(|positions| (positions, Outcome::Delivered)));
    }
    // One that reads nothing holds the log, though nothing of it is for it.
    if let Some(taken) = next(tap).await {
        return Err(format!("promise 2: {name} is given {:?}, all is settled", taken.head.at));
    }
    settles(tap, 0..0).await
}

impl World {
    /// A process that met faults goes on when the disk is mended: its drains are given all that waits and settle it,
    /// and after the longest back-off it takes and gives. Where it closed its log for good, it drains.
    pub async fn goes_on(&mut self) -> Result<(), String> {
        self.disk.mend();
        tokio::time::sleep(MENDED_WITHIN).await;
        self.offers.clear();
        self.sides.clear();
        (0..DRAINS.len()).for_each(|drain| self.attach(drain));
        let channel = self.channel.clone().ok_or("promise 6: there was no start")?;
        if let Some(account) = channel.snapshot().accounts.iter().find(|account| !account.attached) {
            return Err(format!("promise 2: {} cannot be attached", account.drain));
        }
        let mut taps: Vec<Tap> = std::mem::take(&mut self.sides).into_values().map(|side| side.tap).collect();
        for tap in &mut taps {
            empty(&self.book, tap).await?;
        }
        let Some(positions) = self.takes_again(&channel, taps.is_empty()).await? else { return Ok(()) };
        for tap in taps.iter_mut().filter(|tap| tap.drain() != DRAINS[LETTERS]) {
            gives(tap, &positions).await?;
        }
        Ok(())
    }

    /// The positions of a message that is taken; none where the log is closed for good, or nobody makes room.
    async fn takes_again(&self, channel: &Channel, nobody: bool) -> Result<Option<Range<u64>>, String> {
        // Two failures in a row.
        let closed = self.truth().closed && self.disk.trouble().hits.len() > 1;
        let answer = say(channel).await;
        let intake = channel.snapshot().intake;
        match answer {
            Ok(Ok(positions)) if !closed => Ok(Some(positions)),
            Ok(Err(_)) if closed => Ok(None),
            Err(_) if nobody && intake == Intake::Full => Ok(None),
            other => Err(format!("promise 6: the channel is told to take a message: {other:?}, {intake:?}")),
        }
    }
}
