//! Tests of the settings: loading, errors, and that code reads every key.

mod any_input;
mod keys_are_read;
mod load;
