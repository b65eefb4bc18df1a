//! `spangate send`: made-up traces to a gateway, or to anything else that takes Zipkin's spans.
//!
//! `send` tells the story. The `traces` of the `shop` are cut into `message`s; each
//! connection (`link`) has one under way; what was answered goes into the `tally` and the
//! `ledger`. What is not acknowledged is sent again, the same bytes: a span may arrive twice,
//! never not at all without being said. One thread does it all, so that on a small machine the
//! rest is the gateway's. Fails, with exit code 1, if something was never acknowledged.

mod encoder;
mod grpc;
mod ledger;
mod link;
pub mod message;
pub mod options;
mod padding;
mod progress;
mod shop;
pub(super) mod tally;
mod traces;
mod worker;

use std::rc::Rc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, interval, sleep_until};

use super::{Exit, answer, complain};
use crate::clock::Clock;
use ledger::Ledger;
use link::Link;
use message::{Plan, Source};
use options::{Options, Target};
use progress::Progress;
use worker::{Failure, Load};

/// After a Ctrl-C, answers are waited for this long.
const STOP_GRACE: Duration = Duration::from_secs(2);
/// How often the progress is shown and the ledger written.
const TICK: Duration = Duration::from_millis(250);

/// Sends what `options` ask for.
pub(super) fn send(options: Options) -> Exit {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return complain(&format!("no runtime: {error}"), Exit::Fault),
    };
    match runtime.block_on(carry_out(options)) {
        Ok(exit) => exit,
        Err(what) => complain(&what, Exit::Fault),
    }
}

async fn carry_out(options: Options) -> Result<Exit, String> {
    let seed = options.seed.unwrap_or_else(|| fastrand::u64(..));
    let load = load(&options, seed)?;
    let links = open(&options).await?;
    let mut progress = Progress::new(options.spans);
    let begun = Instant::now();
    let ended = drive(&load, links, &mut progress).await;
    let took = begun.elapsed();
    progress.end();
    let written = load.write_ledger();
    let tally = load.tally.borrow();
    let exit = answer(&format!("{}seed            {seed}\n", tally.report(took)));
    if let Err(failure) = ended.and(written) {
        return Ok(complain(&failure.0, Exit::Fault));
    }
    match tally.lost() {
        0 => Ok(exit),
        lost => Ok(complain(&format!("{lost} spans were never acknowledged"), Exit::Fault)),
    }
}

fn load(options: &Options, seed: u64) -> Result<Load, String> {
    let plan = Plan {
        format: options.format,
        seed,
        spans: options.spans,
        batch: options.batch,
        span_bytes: options.span_bytes,
        names: options.ledger.is_some(),
    };
    let ledger = match &options.ledger {
        Some(path) => Some(Ledger::begin(path).map_err(|error| format!("--ledger {}: {error}", path.display()))?),
        None => None,
    };
    let load = Load::new(Source::new(plan, Clock::system()), ledger, options.rate, options.patience);
    if options.prepare {
        load.prepare();
    }
    Ok(load)
}

/// Every connection, dialled: who sends to nobody hears it before anything is counted.
async fn open(options: &Options) -> Result<Vec<Link>, String> {
    let target = Rc::new(options.target.clone());
    let mut links = Vec::new();
    for _ in 0..options.connections {
        let mut link = Link::new(target.clone(), options.format, options.patience);
        link.open().await.map_err(|error| unreached(&target, &error))?;
        links.push(link);
    }
    Ok(links)
}

fn unreached(target: &Target, error: &std::io::Error) -> String {
    let (what, flag) = match target {
        Target::Scribe(host_port) => (host_port, "--scribe HOST:PORT"),
        Target::Http { host_port, .. } => (host_port, "--http URL"),
        Target::Grpc(host_port) => (host_port, "--grpc URL"),
    };
    format!("{what}: {error}: nothing was sent; is a gateway running there? {flag} names another")
}

/// Runs all connections until all is sent, a signal says stop, or one fails.
async fn drive(load: &Load, links: Vec<Link>, progress: &mut Progress) -> Result<(), Failure> {
    let mut workers: FuturesUnordered<_> = links.into_iter().map(|link| worker::work(load, link)).collect();
    let signals = |kind| signal(kind).map_err(|error| Failure(format!("signals: {error}")));
    let (mut interrupt, mut terminate) = (signals(SignalKind::interrupt())?, signals(SignalKind::terminate())?);
    let mut tick = interval(TICK);
    let mut deadline = None;
    loop {
        tokio::select! {
            ended = workers.next() => match ended {
                Some(ended) => ended?,
                None => return Ok(()),
            },
            _ = tick.tick() => {
                progress.show(&load.tally.borrow());
                load.write_ledger()?;
            }
            // The next signal finds us stopping and ends the wait.
            _ = interrupt.recv() => deadline = Some(load.stop(deadline)),
            _ = terminate.recv() => deadline = Some(load.stop(deadline)),
            () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => return Ok(()),
        }
    }
}
