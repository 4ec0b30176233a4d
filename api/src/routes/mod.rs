//! One file per route, or per group of closely related routes. Handlers follow one order: look up, change, announce, respond.

pub mod analyze;
pub mod batch;
pub mod cancel;
pub mod events;
pub mod generate;
pub mod health;
pub mod job;
pub mod jobs;
pub mod learned;
pub mod loras;
pub mod metrics;
pub mod models;
pub mod openapi;
pub mod page;
pub mod retry;
pub mod session;
pub mod settings;
pub mod stats;
pub mod tiers;
pub mod trash;
pub mod videos;
pub mod workers;
