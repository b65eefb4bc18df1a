//! Faults of our own that a proof must catch: a proof that finds nothing in a gateway that is broken on purpose proves
//! nothing. Without the feature `planted`, which no release build can have, [`has`] is `false` and all of it is gone.

/// What is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Planted {
    /// A slot says that what was given is settled.
    CursorBeforeDelivery,
    CrcUnchecked,
    /// Where all is settled the next process begins again at the segment's first position.
    PositionReused,
    /// An object is published first, and its plan not saved.
    PlanAfterPublish,
    /// A segment goes when the cursors in memory have passed it.
    UnlinkBeforeCursor,
    /// Whatever has an object's name is the object.
    TakenUnseen,
    /// Drains see what was written and not synced.
    PastTheTail,
    WakeBeforePublish,
}

#[cfg(all(feature = "planted", not(debug_assertions)))]
compile_error!("the feature `planted` breaks promises on purpose: it is for tests in debug builds alone");

#[cfg(feature = "planted")]
thread_local! {
    static PLANTED: std::cell::Cell<Option<Planted>> = const { std::cell::Cell::new(None) };
}

/// Breaks something, in this thread.
#[cfg(feature = "planted")]
pub fn plant(fault: Planted) {
    PLANTED.set(Some(fault));
}

#[cfg(feature = "planted")]
pub fn has(fault: Planted) -> bool {
    PLANTED.get() == Some(fault)
}

#[cfg(not(feature = "planted"))]
pub const fn has(_: Planted) -> bool {
    false
}
