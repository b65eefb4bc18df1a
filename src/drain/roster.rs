//! The sinks that a group is to have, said anew whenever they change.
//!
//! Whoever knows them (a name that is followed, a configuration that is read again) says all of
//! them; the drain finds out which came and which left. A seat whose sink is the very same is left
//! as it is, with what is under way to it.

use std::sync::Arc;

use tokio::sync::watch;

use super::run::Flow;
use super::seat::Seat;

/// The seats of a group, now and from now on.
pub struct Roster(watch::Receiver<Vec<Seat>>);

impl Roster {
    /// Seats that change when the returned half says so.
    pub fn new(seats: Vec<Seat>) -> (watch::Sender<Vec<Seat>>, Roster) {
        let (sender, receiver) = watch::channel(seats);
        (sender, Roster(receiver))
    }

    /// Seats that stay as they are.
    pub fn fixed(seats: Vec<Seat>) -> Roster {
        Roster::new(seats).1
    }

    pub(super) fn seats(&mut self) -> Vec<Seat> {
        self.0.borrow_and_update().clone()
    }

    /// Returns when other seats are said; never where nobody is left to say so. Cancel safe.
    pub(super) async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending().await
        }
    }
}

impl Flow {
    /// Takes in the sinks that are new, and lets those go that are not among `seats`. What waits for one that goes is
    /// the group's; what is under way to it is answered for.
    pub(super) fn seat(&mut self, seats: Vec<Seat>) {
        let stays = |old: &Seat| seats.iter().any(|new| Arc::ptr_eq(&new.sink, &old.sink) && new.terms == old.terms);
        // Who left and is still under way does not stay: if it comes back, it is new.
        let (here, gone): (Vec<_>, Vec<_>) =
            self.seats.iter().filter(|(sink, _)| self.group.stands(**sink).is_some()).partition(|(_, old)| stays(old));
        let here: Vec<Seat> = here.into_iter().map(|(_, seat)| seat.clone()).collect();
        let leaving: Vec<_> = gone.into_iter().map(|(sink, _)| *sink).collect();
        for sink in leaving {
            self.group.remove(sink);
            self.report.leave(sink);
            self.forget(sink);
        }
        for seat in seats {
            if !here.iter().any(|old| Arc::ptr_eq(&seat.sink, &old.sink)) {
                self.add(seat);
            }
        }
    }

    fn add(&mut self, seat: Seat) {
        let sink = self.group.add(seat.sink.url(), &seat.terms);
        self.report.add(sink, &*seat.sink);
        self.seats.insert(sink, seat);
        self.stands(sink);
        self.watch(sink);
    }
}
