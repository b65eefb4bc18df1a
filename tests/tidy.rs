//! Style, held by a test.
