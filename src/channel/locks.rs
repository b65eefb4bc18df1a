//! What the owner and the handles meet on: std's locks, bells and answers.
//!
//! With the feature `shuttle`, which no release build can have, they are shuttle's: at each of them it decides who goes
//! on, so that tests/orders.rs tries thousands of orders of the channel's own steps.

#[cfg(not(feature = "shuttle"))]
pub use std::sync::{Condvar, Mutex, MutexGuard, mpsc};
#[cfg(not(feature = "shuttle"))]
pub use std::thread::JoinHandle;

#[cfg(feature = "shuttle")]
pub use shuttle::sync::{Condvar, Mutex, MutexGuard, mpsc};
#[cfg(feature = "shuttle")]
pub use shuttle::thread::JoinHandle;

#[cfg(all(feature = "shuttle", not(debug_assertions)))]
compile_error!("the feature `shuttle` is for tests of the order of steps, in debug builds alone");
