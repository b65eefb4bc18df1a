//! Replays and purges of dead letters, asked for on the admin port.
//!
//! The body says which letters, as `spangate dead-letters` sends it; the answer is a text for a person.

use std::sync::Arc;

use crate::admin::{Action, Asked, Done, StatusCode};
use crate::channel::Channel;
use crate::clock::Clock;
use crate::deadletter::{Filter, Store};
use crate::drain::letters::{self, Error};

/// What the admin port can be asked to do with the dead letters.
pub fn actions(channel: Channel, store: Store, clock: Clock) -> Vec<Action> {
    let all = Arc::new((channel, store, clock));
    let purging = all.clone();
    let replay = Action::new("/dead-letters/replay", move |asked| {
        let all = all.clone();
        async move {
            let (channel, store, clock) = &*all;
            let filter = match filter(&asked) {
                Ok(filter) => filter,
                Err(refusal) => return refusal,
            };
            done(letters::replay(channel, store, clock, &filter).await.map(|done| done.to_string()))
        }
    });
    let purge = Action::new("/dead-letters/purge", move |asked| {
        let all = purging.clone();
        async move {
            match filter(&asked) {
                Ok(filter) => done(letters::purge(&all.1, &filter).await.map(letters::purged)),
                Err(refusal) => refusal,
            }
        }
    });
    vec![replay, purge]
}

fn filter(asked: &Asked) -> Result<Filter, Done> {
    Filter::from_json(&asked.body)
        .map_err(|what| Done { status: StatusCode::BAD_REQUEST, text: format!("which letters? {what}\n") })
}

fn done(result: Result<String, Error>) -> Done {
    match result {
        Ok(text) => {
            tracing::info!(done = text.trim_end(), "dead letters");
            Done { status: StatusCode::OK, text }
        }
        Err(error) => {
            tracing::warn!(%error, "dead letters: stopped");
            let status =
                if matches!(error, Error::Busy) { StatusCode::CONFLICT } else { StatusCode::SERVICE_UNAVAILABLE };
            Done { status, text: format!("stopped: {error}\n") }
        }
    }
}
