//! wire: (to be written)
