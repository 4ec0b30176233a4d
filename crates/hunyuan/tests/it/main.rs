//! Tests of loading and of text encoding; those of rendering are in `tests/video`.

mod any_input;
mod loading;
mod text;
