//! listener: (to be written)
