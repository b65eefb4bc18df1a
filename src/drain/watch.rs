//! What collectors say of themselves beside their answers: a Zipkin server answers 202 before it stores, and may drop.
//!
//! Each sink that can be looked at is, every [`EVERY`]. Where it begins to drop, it is sent half of
//! what it was sent, and then more from look to look; that it drops on says nothing new (a server
//! that samples drops always). What can not be asked is left alone.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use tokio::time::sleep;

use super::group::SinkId;
use super::run::Flow;
use crate::sink::Glimpse;

/// Zipkin's storage times out after seconds; a look costs its server a page of text.
pub(super) const EVERY: Duration = Duration::from_secs(10);

/// A look under way.
pub(super) type Look = Pin<Box<dyn Future<Output = (SinkId, Glimpse)> + Send>>;

/// What the looks at one sink have told.
#[derive(Debug, Default)]
pub(super) struct Watched {
    dropped: Option<u64>,
    drops: bool,
    down: bool,
    blind: bool,
}

/// What a look tells that the last one did not.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct News {
    /// Spans dropped since the last look.
    pub dropped: u64,
    /// It stood still, and now it grows.
    pub begins: bool,
    pub ends: bool,
    /// Its health is another: whether it is down.
    pub down: Option<bool>,
    /// There is nothing to be seen, for the first time.
    pub blind: bool,
}

impl Watched {
    pub fn see(&mut self, glimpse: &Glimpse) -> News {
        let mut news = News::default();
        if let Some(now) = glimpse.dropped {
            // A counter that is less than it was is that of another process: it begins anew.
            news.dropped = self.dropped.map_or(0, |before| now.saturating_sub(before));
            self.dropped = Some(now);
            let dropped = std::mem::replace(&mut self.drops, news.dropped > 0);
            (news.begins, news.ends) = (self.drops && !dropped, dropped && !self.drops);
        }
        if let Some(down) = glimpse.up.map(|up| !up).filter(|down| *down != self.down) {
            self.down = down;
            news.down = Some(down);
        }
        let blind = glimpse.dropped.is_none() && glimpse.up.is_none();
        news.blind = blind && !std::mem::replace(&mut self.blind, blind);
        news
    }
}

impl Flow {
    /// Looks at a sink after a while, where there is something to look at.
    pub(super) fn watch(&mut self, sink: SinkId) {
        let Some(seat) = self.seats.get(&sink).filter(|seat| seat.terms.watch && seat.sink.can_be_looked_at()) else {
            return;
        };
        let looked_at = seat.sink.clone();
        self.looks.push(Box::pin(async move {
            sleep(EVERY).await;
            (sink, looked_at.look().await)
        }));
    }

    /// Takes in what a look saw.
    pub(super) fn looked(&mut self, sink: SinkId, glimpse: &Glimpse) {
        if self.group.stands(sink).is_none() {
            self.watched.remove(&sink);
            return;
        }
        let news = self.watched.entry(sink).or_default().see(glimpse);
        let rate = self.group.looked(sink, news.begins.then_some(EVERY));
        self.report.watched(sink, &news, rate);
        self.watch(sink);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn see(watched: &mut Watched, dropped: u64) -> (u64, bool, bool) {
        let news = watched.see(&Glimpse { up: Some(true), dropped: Some(dropped) });
        (news.dropped, news.begins, news.ends)
    }

    #[test]
    fn growth_is_news_where_it_stood_still() {
        let mut watched = Watched::default();
        assert_eq!(see(&mut watched, 70), (0, false, false), "what was before is nobody's");
        assert_eq!(see(&mut watched, 70), (0, false, false));
        assert_eq!(see(&mut watched, 75), (5, true, false));
        assert_eq!(see(&mut watched, 76), (1, false, false), "it goes on");
        assert_eq!(see(&mut watched, 76), (0, false, true));
        assert_eq!(see(&mut watched, 3), (0, false, false), "another process");
        assert_eq!(see(&mut watched, 4), (1, true, false));
    }

    #[test]
    fn health_and_blindness_are_news_once() {
        let mut watched = Watched::default();
        let mut see = |up: Option<bool>| {
            let news = watched.see(&Glimpse { up, dropped: None });
            (news.down, news.blind)
        };
        assert_eq!(see(Some(true)), (None, false));
        assert_eq!(see(Some(false)), (Some(true), false));
        assert_eq!(see(Some(false)), (None, false));
        assert_eq!(see(None), (None, true));
        assert_eq!(see(None), (None, false));
        assert_eq!(see(Some(true)), (Some(false), false));
    }
}
