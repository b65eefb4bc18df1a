//! archive: (to be written)
