//! gateway: (to be written)
