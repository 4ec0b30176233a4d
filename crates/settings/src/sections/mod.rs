//! The types of the settings: one file for each section of `configuration/base.toml`.

pub(crate) mod artifacts;
pub(crate) mod broker;
pub(crate) mod cache;
pub(crate) mod cost;
pub(crate) mod database;
pub(crate) mod interpolation;
pub(crate) mod limits;
pub(crate) mod log;
pub(crate) mod models;
pub(crate) mod optimization;
pub(crate) mod redis;
pub(crate) mod scheduler;
pub(crate) mod server;
pub(crate) mod telemetry;
pub(crate) mod tiers;
pub(crate) mod webhooks;
pub(crate) mod worker;

use artifacts::ArtifactsSettings;
use broker::BrokerSettings;
use cache::CacheSettings;
use cost::CostSettings;
use database::DatabaseSettings;
use interpolation::InterpolationSettings;
use limits::LimitsSettings;
use log::LogSettings;
use models::ModelsSettings;
use optimization::OptimizationSettings;
use redis::RedisSettings;
use scheduler::SchedulerSettings;
use serde::Deserialize;
use server::ServerSettings;
use telemetry::TelemetrySettings;
use tiers::TiersSettings;
use webhooks::WebhooksSettings;
use worker::WorkerSettings;

/// Everything that can be set. `Debug` shows no secret.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The API's HTTP server.
    pub server: ServerSettings,
    /// Postgres.
    pub database: DatabaseSettings,
    /// RabbitMQ.
    pub broker: BrokerSettings,
    /// Redis.
    pub redis: RedisSettings,
    /// The embedding cache.
    pub cache: CacheSettings,
    /// The object store.
    pub artifacts: ArtifactsSettings,
    /// Model folders.
    pub models: ModelsSettings,
    /// Limits on requests and load.
    pub limits: LimitsSettings,
    /// Quality tiers.
    pub tiers: TiersSettings,
    /// Frames between those of the model.
    pub interpolation: InterpolationSettings,
    /// Adaptive steps and step caching.
    pub optimization: OptimizationSettings,
    /// The scheduler.
    pub scheduler: SchedulerSettings,
    /// The worker.
    pub worker: WorkerSettings,
    /// Webhooks.
    pub webhooks: WebhooksSettings,
    /// What GPU time costs.
    pub cost: CostSettings,
    /// Logs.
    pub log: LogSettings,
    /// Traces.
    pub telemetry: TelemetrySettings,
}
