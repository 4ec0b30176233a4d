//! The store on a real Postgres: every transition, every guard, and concurrent calls.

#![expect(clippy::large_futures, reason = "tests run one future at a time; its size costs nothing")]

mod support;

mod access;
mod affinity;
mod at_scale;
mod claims;
mod deadlines;
mod dispatch;
mod divided;
mod documents;
mod drafts;
mod drift;
mod events;
mod failover;
mod fair_order;
mod images;
mod insert;
mod interleavings;
mod learning;
mod ledger;
mod lifecycle;
mod lists;
mod migrate;
mod own_queue;
mod phase2;
mod planning;
mod plans;
mod pooler;
mod replay;
mod reports;
mod rollup;
mod stats;
mod sweep;
mod together;
mod unreadable;
mod waited;
mod webhooks;
mod worker_role;
