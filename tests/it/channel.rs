//! channel: (to be written)
