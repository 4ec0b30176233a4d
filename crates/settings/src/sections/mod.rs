//! One file a section of `configuration/base.toml`, in its order.

pub(crate) mod artifacts;
pub(crate) mod broker;
pub(crate) mod cache;
pub(crate) mod cost;
pub(crate) mod database;
pub(crate) mod limits;
pub(crate) mod log;
pub(crate) mod models;
pub(crate) mod optimization;
pub(crate) mod redis;
pub(crate) mod scheduler;
pub(crate) mod server;
pub(crate) mod tiers;
pub(crate) mod worker;
