//! The API against real Postgres, RabbitMQ and Redis: the router in this process, on a port of its own, one database and
//! virtual host for each test. Nothing is rendered here; where a test needs a finished job it makes the worker's moves
//! through the store, with real objects in a folder.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod app;
mod auth;
mod batch;
mod distilled;
mod events;
mod faults;
mod generate;
mod ingest;
mod jobs;
mod learned;
mod limits;
mod models;
mod openapi;
mod reading;
mod videos;
