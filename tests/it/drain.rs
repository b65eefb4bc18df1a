//! drain: (to be written)
