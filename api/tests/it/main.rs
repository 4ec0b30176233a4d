//! Tests of the API against real Postgres, RabbitMQ and Redis. Each test runs the router in this process, on its own port and with
//! its own database and virtual host. Nothing is rendered: a test that needs a finished job performs a worker's actions through
//! the store, with real objects in a folder.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod app;
mod auth;
mod batch;
mod connections;
mod deadlines;
mod distilled;
mod drafts;
mod events;
mod faults;
mod generate;
mod images;
mod ingest;
mod jobs;
mod learned;
mod limits;
mod loras;
mod models;
mod openai;
mod openapi;
mod prompt_tokens;
mod proxy;
mod reading;
mod usage;
mod videos;
mod webhooks;
