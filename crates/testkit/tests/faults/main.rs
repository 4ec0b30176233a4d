//! Goal: whatever fails, no job is lost, none is completed twice, and a video that survived a fault has the bytes of an
//! undisturbed one.
//! Method: the real processes on real services; faults are signals, a proxy that loses exactly one reply, an object store
//! that refuses, and a model that waits at gates so that a fault hits the intended moment. Nearly all workers have a
//! renderer that takes no time; a few have the real model.
//!
//! One file per dependency; `lost_replies` and `lost_sweeps` lose the reply of every transition; `storm` kills everything at random.

mod api_and_scheduler;
mod batches;
mod deadlines;
mod deliveries;
mod drafts;
mod failover;
mod hanging;
mod ledger;
mod lost_replies;
mod lost_sweeps;
mod postgres;
mod rabbitmq;
mod ranks;
mod redis_and_objects;
mod resolution;
mod storm;
mod support;
mod worker;
