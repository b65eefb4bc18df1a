//! Every order of steps in which threads that could go on are passed over at most so often.
//!
//! Orders without a bound are too many to try; most faults need one or two such steps aside. Depth first: an order is
//! repeated up to its last choice that has another way left, and goes on from there in the first way.

use std::cell::Cell;

use shuttle::scheduler::{Schedule, Scheduler, Task, TaskId};

thread_local! {
    static OPEN: Cell<bool> = const { Cell::new(false) };
}

/// From here on orders are tried; until then each thread goes on as long as it can.
pub fn begin() {
    OPEN.set(true);
}

/// Tries all orders with so many steps aside.
pub struct Bounded {
    most: usize,
    /// Each choice of this order: which way it goes, of how many.
    choices: Vec<(usize, usize)>,
    at: usize,
    aside: usize,
    begun: bool,
}

impl Bounded {
    pub fn new(most: usize) -> Bounded {
        Bounded { most, choices: Vec::new(), at: 0, aside: 0, begun: false }
    }
}

impl Scheduler for Bounded {
    fn new_execution(&mut self) -> Option<Schedule> {
        if self.begun {
            while self.choices.pop_if(|(way, ways)| *way + 1 == *ways).is_some() {}
            self.choices.last_mut()?.0 += 1;
        }
        (self.begun, self.at, self.aside) = (true, 0, 0);
        OPEN.set(false);
        Some(Schedule::new(0))
    }

    fn next_task(&mut self, runnable: &[&Task], current: Option<TaskId>, yields: bool) -> Option<TaskId> {
        let goes_on = current.filter(|current| runnable.iter().any(|task| task.id() == *current));
        // Whoever runs comes first: to go on is the first way.
        let others = runnable.iter().map(|task| task.id()).filter(|task| Some(*task) != goes_on);
        let ways: Vec<TaskId> = goes_on.into_iter().chain(others).collect();
        let free = goes_on.is_none() || yields;
        if !OPEN.get() || !free && self.aside == self.most {
            return ways.first().copied();
        }
        if self.at == self.choices.len() {
            self.choices.push((0, ways.len()));
        }
        let way = self.choices[self.at].0;
        self.at += 1;
        self.aside += usize::from(!free && way > 0);
        Some(ways[way])
    }

    fn next_u64(&mut self) -> u64 {
        unreachable!("the channel draws no number of shuttle's")
    }
}
