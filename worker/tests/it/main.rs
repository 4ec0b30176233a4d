//! Tests of the worker: its program as a person runs it, and its renderer with real models. One executable, since each links libtorch.

mod convert;
mod drafts;
mod first_frame;
mod interpolation;
mod libtorch;
mod not_finite;
mod progressive;
mod prompt;
mod ranks;
mod render;
mod sizes;
mod together;
