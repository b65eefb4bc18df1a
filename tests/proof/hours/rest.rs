//! Promise 4 at the end, to the last span: what was taken, what is a letter, what is damaged, and what the account
//! says.

use std::ops::RangeInclusive;
use std::sync::MutexGuard;

use spangate::channel::{Account, Outcome};

use super::Outside;
use super::crew::Guest;
use super::oracle::of;
use super::script::{Feed, GUEST};
use super::world::{Made, World};

/// Which spans are a drain's.
pub struct Whose<'a> {
    feed: &'a Feed,
    guest: Option<MutexGuard<'a, Guest>>,
}

impl<'a> Whose<'a> {
    pub fn new(outside: &'a Outside, feed: &'a Feed) -> Whose<'a> {
        let guest = (feed.settings.name == GUEST).then(|| outside.guest.lock().unwrap());
        Whose { feed, guest }
    }

    /// `None` where it cannot be told: the span has no position that anybody was told.
    pub fn takes(&self, made: &Made) -> Option<bool> {
        let Some(guest) = &self.guest else { return Some(self.feed.taste.takes(made)) };
        let is_its = |from| made.position >= from && guest.until.is_none_or(|until| made.position < until);
        made.acked.map(|_| guest.from.is_some_and(is_its) && self.feed.taste.takes(made))
    }

    /// The account of a drain that is gone.
    pub fn last_account(&self) -> Option<&Account> {
        self.guest.as_ref()?.account.as_ref()
    }
}

/// Spans in frames that are whole, or that rot hit.
#[derive(Debug, Default, Clone, Copy)]
struct Of {
    all: u64,
    /// Acknowledged, and the drain's.
    wanted: u64,
    taken: u64,
    letters: u64,
    /// A try in doubt was taken, and the span then failed as a suspect does.
    both: u64,
}

#[derive(Debug, Default)]
pub struct Sums {
    whole: Of,
    rotten: Of,
    /// Acknowledged, wanted, whole, and neither taken nor a letter.
    nowhere: u64,
    first: Option<u64>,
}

impl Sums {
    pub fn add(&mut self, number: u64, made: &Made, wanted: Option<bool>, taken: bool, letter: bool, rotten: bool) {
        let of = if rotten { &mut self.rotten } else { &mut self.whole };
        let wanted = made.acked.is_some() && wanted == Some(true);
        of.all += 1;
        of.wanted += u64::from(wanted);
        of.taken += u64::from(taken);
        of.letters += u64::from(letter);
        of.both += u64::from(taken && letter);
        if wanted && !taken && !letter && !rotten {
            self.nowhere += 1;
            self.first = self.first.or(Some(number));
        }
    }

    /// Each span has one outcome. One that rot hit has any: it was taken before or is damaged, and where a crash took
    /// back that it was settled, it is both and counted as one.
    pub fn judge(&self, world: &World, account: &Account, gives_up: bool, gave_way: u64) {
        let Sums { whole, rotten, nowhere, .. } = self;
        let gone = of(account, Outcome::Expired) + of(account, Outcome::Skipped);
        let (delivered, dead) = (of(account, Outcome::Delivered), of(account, Outcome::DeadLettered));
        let damaged = of(account, Outcome::Damaged);
        let says = |what: &str| format!("promise 4: {}: {what}: {self:?}, {account:?}", account.drain);
        world.holds(*nowhere <= gone + gave_way, || says("spans are nowhere"));
        world.count("spans damaged", damaged);
        world.holds(damaged <= rotten.all, || says("more is damaged than rot hit"));
        if gives_up {
            let taken = whole.taken + rotten.taken;
            return world.holds(delivered <= taken, || says("more is delivered than was taken"));
        }
        world.holds(gone == 0, || says("spans were given up"));
        let (delivered, sound) = (delivered + whole.both, whole.taken);
        // Of spans that were taken, too, as answers are lost: their letters may be among those that gave way.
        let hidden = gave_way.saturating_sub(*nowhere);
        let exact = delivered <= sound + rotten.taken && delivered + hidden >= sound;
        world.holds(exact, || says("what is delivered is not what was taken"));
        let exact = within(dead, whole.letters..=whole.letters + rotten.letters + gave_way);
        world.holds(exact, || says("what is dead is not what is a letter"));
        let settled = damaged + delivered.saturating_sub(sound) + dead.saturating_sub(whole.letters);
        let exact = within(settled, rotten.wanted..=rotten.all + gave_way);
        world.holds(exact, || says("what rot hit is not counted to the last span"));
    }
}

fn within(count: u64, range: RangeInclusive<u64>) -> bool {
    range.contains(&count)
}
