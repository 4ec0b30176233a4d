//! Tests of the domain: pure computation, without services.

mod interleavings;
mod lifecycle;
mod request;
