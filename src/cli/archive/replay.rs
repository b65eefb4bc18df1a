//! `spangate archive replay`: spans of an archive sent to a collector or a gateway, at a bounded rate.
//!
//! `replay` tells the story: pieces of a walk are cut into batches (`batch`), each is sent until it is taken or
//! refused for good (`sender`), and how far that came is kept in a file (`state`), from which a replay that was
//! stopped or killed goes on; it repeats a batch or two at most. What is sent is marked as archived before.

mod batch;
mod progress;
mod refused;
mod sender;
pub mod state;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

use super::super::{Exit, answer, complain, source};
use super::Losses;
use crate::archive::read::{Piece, Selection, Walk};
use crate::archive::store::{Listed, Store};
use crate::tasks;
use batch::Cut;
use progress::Progress;
use sender::{Sender, Stop};
use state::State;

/// What is asked of a replay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Where to, normalised.
    pub into: String,
    /// Spans a second.
    pub rate: u64,
    /// Spans of a request.
    pub batch: usize,
    /// How long nothing may get through before it ends.
    pub patience: Duration,
    /// Where its progress is kept.
    pub state: PathBuf,
    /// Whether it goes on with what an earlier run left.
    pub resumes: bool,
    /// The command line, but for what hangs on the moment: what another run needs to go on.
    pub arguments: Vec<String>,
}

/// A replay under way.
struct Run {
    sender: Sender,
    state: State,
    progress: Progress,
    losses: Losses,
}

/// Sends what `selection` takes of `objects`, from where an earlier run came.
pub(super) fn replay(
    options: &Options,
    selection: Selection,
    objects: Vec<Listed>,
    store: Arc<dyn Store>,
    runtime: &Runtime,
) -> Exit {
    let directory = source::working_dir();
    let begin = || match options.resumes {
        true => State::read(&options.state, &directory).map(|(state, _)| state),
        false => State::begin(options, directory.clone()),
    };
    let made = Sender::new(options).and_then(|sender| Ok((sender, begin()?)));
    let (sender, state) = match made {
        Ok(made) => made,
        Err(what) => return complain(&what, Exit::Configuration),
    };
    let open = objects.into_iter().filter(|object| state.is_open(object)).collect();
    let walk = Walk::new(store, runtime.handle().clone(), selection, open);
    let progress = Progress::new(walk.left().len() as u64);
    let mut run = Run { sender, state, progress, losses: Losses::default() };
    runtime.block_on(async {
        let ended = tokio::select! {
            ended = run.drive(walk, options.batch) => ended,
            signal = told_to_stop() => Err(signal),
        };
        run.progress.end();
        run.end(ended)
    })
}

async fn told_to_stop() -> Stop {
    let both = signal(SignalKind::interrupt()).and_then(|first| Ok((first, signal(SignalKind::terminate())?)));
    match both {
        Ok((mut interrupt, mut terminate)) => {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            Stop::Told
        }
        Err(error) => Stop::Failed(format!("signals: {error}")),
    }
}

impl Run {
    /// Gives the walk back that came to its end.
    async fn drive(&mut self, mut walk: Walk, spans_max: usize) -> Result<Walk, Stop> {
        loop {
            let (back, next) = tasks::blocking(move || {
                let next = walk.next();
                (walk, next)
            })
            .await;
            walk = back;
            match next {
                None => return Ok(walk),
                Some(Ok(piece)) => self.send(piece, spans_max).await?,
                Some(Err(trouble)) => self.losses.count(trouble).map_err(Stop::Failed)?,
            }
        }
    }

    async fn send(&mut self, piece: Piece, spans_max: usize) -> Result<(), Stop> {
        let (object, end, last) = (piece.object.clone(), piece.end, piece.last);
        for batch in Cut::new(piece, self.state.row_of(&object), spans_max) {
            self.sender.send(&batch, &mut self.progress).await?;
            self.state.reached(&object, batch.end).map_err(Stop::Failed)?;
        }
        let end = if last { u64::MAX } else { end };
        self.progress.objects(u64::from(last));
        self.state.reached(&object, end).map_err(Stop::Failed)
    }

    /// What is told at the end.
    fn end(&mut self, ended: Result<Walk, Stop>) -> Exit {
        let tally = &self.sender.tally;
        let mut report = format!("sent            {} spans\n", tally.sent);
        if tally.refused > 0 {
            let refused = self.sender.refused.path().display();
            report += &format!("refused         {} spans, written to {refused}\n", tally.refused);
        }
        if tally.tries > 0 {
            report += &format!("tried again     {} times\n", tally.tries);
        }
        let told = answer(&report);
        match ended {
            Ok(walk) => {
                let exit = match (self.state.remove(), tally.refused) {
                    (Err(what), _) => complain(&what, Exit::Fault),
                    (Ok(()), 0) => told,
                    (Ok(()), refused) => complain(&format!("{refused} spans were refused for good"), Exit::Fault),
                };
                self.losses.exit(&walk, exit)
            }
            Err(stop) => self.stopped(stop),
        }
    }

    /// Keeps the state, and says how to go on.
    fn stopped(&mut self, stop: Stop) -> Exit {
        let (what, exit) = match stop {
            Stop::Told => ("stopped before the end".to_owned(), Exit::Fault),
            Stop::Failed(what) => (what, Exit::Fault),
            Stop::Misconfigured(what) => (what, Exit::Configuration),
        };
        complain(&what, exit);
        let kept = if self.state.is_new() { self.state.remove() } else { self.state.save() };
        match kept {
            Err(what) => complain(&what, exit),
            Ok(()) if self.state.is_new() => exit,
            Ok(()) => {
                let path = self.state.path().display();
                complain(&format!("to go on: spangate archive replay --resume {path}"), exit)
            }
        }
    }
}

/// The command line of the replay that is to go on, whose options are `options`.
pub(super) fn arguments(options: &Options) -> Result<Vec<String>, String> {
    State::read(&options.state, &source::working_dir()).map(|(_, arguments)| arguments)
}

#[cfg(test)]
mod tests;
