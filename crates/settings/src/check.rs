//! Values that are of the right kind but cannot be used, alone or together. All problems are reported at once.

use domain::Tier;

use crate::sections::Settings;
use crate::sections::server::KeysMode;
use crate::sections::telemetry::TelemetrySettings;

/// What is wrong, one sentence for each problem; empty if nothing is.
pub(crate) fn problems(settings: &Settings) -> Vec<String> {
    let mut wrong = Vec::new();
    server(settings, &mut wrong);
    host_names(settings, &mut wrong);
    path_prefix(&settings.server.path_prefix, &mut wrong);
    times(settings, &mut wrong);
    ranges(settings, &mut wrong);
    positive(settings, &mut wrong);
    telemetry(&settings.telemetry, &mut wrong);
    wrong
}

/// The endpoint is logged, so it must not hold a password.
fn telemetry(settings: &TelemetrySettings, wrong: &mut Vec<String>) {
    let endpoint = &settings.otlp_endpoint;
    let host = endpoint.strip_prefix("http://").or_else(|| endpoint.strip_prefix("https://"));
    let valid = host.is_some_and(|host| !host.is_empty() && !host.contains(['@', '?', '#']));
    if !endpoint.is_empty() && !valid {
        wrong.push(
            "telemetry.otlp_endpoint must be empty or a URL such as \"http://127.0.0.1:4318\", without user name and password; use the \
             variable OTEL_EXPORTER_OTLP_HEADERS for credentials"
                .to_owned(),
        );
    }
    if !(0.0..=1.0).contains(&settings.sampling_ratio) {
        wrong.push("telemetry.sampling_ratio must be between 0 and 1".to_owned());
    }
}

fn server(settings: &Settings, wrong: &mut Vec<String>) {
    let server = &settings.server;
    if server.keys == KeysMode::Off && !server.bind.is_loopback() && !server.open_to_all {
        wrong.push(format!(
            "server.keys is off and server.bind is {}: anyone who can reach that address could use the fleet. Set \
             server.keys to \"auto\", or server.open_to_all to true if that is what you want",
            server.bind
        ));
    }
}

/// A prefix must not hide a path of the API or of the page.
fn path_prefix(prefix: &str, wrong: &mut Vec<String>) {
    const TAKEN: [&str; 5] = ["api", "v1", "assets", "metrics", "dashboard"];
    let plain = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte))
            && !part.starts_with('.')
    };
    let mut parts = prefix.split('/');
    let begins_with_slash = parts.next() == Some("");
    let valid =
        begins_with_slash && parts.clone().all(plain) && parts.next().is_some_and(|first| !TAKEN.contains(&first));
    if !prefix.is_empty() && !valid {
        wrong.push(format!(
            "server.path_prefix is \"{prefix}\", but must be empty or a path such as \"/fleet\": it begins with a slash, does not end \
             with one, contains letters, digits and -_.~ only, and does not begin with /{}",
            TAKEN.join(", /")
        ));
    }
}

/// A URL instead of a name would be looked up, and logged with its password.
fn host_names(settings: &Settings, wrong: &mut Vec<String>) {
    let host = &settings.redis.host;
    if host.contains("://") || host.contains('@') || host.contains('/') {
        wrong.push(
            "redis.host (variable REDIS_HOST) must be a host name or an address, not a URL; use redis.port, redis.username, \
             redis.password, redis.tls and redis.database for its other parts"
                .to_owned(),
        );
    }
}

fn times(settings: &Settings, wrong: &mut Vec<String>) {
    let worker = &settings.worker;
    if worker.heartbeat_s == 0 || worker.heartbeat_s.saturating_mul(3) > worker.lease_s {
        wrong.push(format!(
            "worker.heartbeat_s ({}) must be at least 1 and at most a third of worker.lease_s ({}), so that one failed \
             renewal does not lose the job",
            worker.heartbeat_s, worker.lease_s
        ));
    }
    let pairs = [
        ("broker.reconnect", "ms", settings.broker.reconnect_min_ms, settings.broker.reconnect_max_ms),
        ("scheduler.reannounce", "s", settings.scheduler.reannounce_min_s, settings.scheduler.reannounce_max_s),
        ("scheduler.backoff", "s", settings.scheduler.backoff_min_s, settings.scheduler.backoff_max_s),
        ("webhooks.backoff", "s", settings.webhooks.backoff_min_s, settings.webhooks.backoff_max_s),
    ];
    for (name, unit, min, max) in pairs {
        if min > max {
            wrong.push(format!("{name}_min_{unit} ({min}) must not exceed {name}_max_{unit} ({max})"));
        }
    }
    if settings.scheduler.attempts_max < 1 || settings.scheduler.attempts_total_max < settings.scheduler.attempts_max {
        wrong.push("scheduler.attempts_max must be at least 1 and at most scheduler.attempts_total_max".to_owned());
    }
}

fn ranges(settings: &Settings, wrong: &mut Vec<String>) {
    wrong.extend(settings.profiles().problems().iter().map(ToString::to_string));
    for &tier in Tier::ALL {
        let weight = settings.tiers.of(tier).weight;
        if !(weight.is_finite() && weight > 0.0) {
            wrong.push(format!("tiers.{tier}.weight must be above 0"));
        }
    }
    if !(0.0..=1.0).contains(&settings.cache.similar_threshold) {
        wrong.push("cache.similar_threshold must be between 0 and 1".to_owned());
    }
    if !(1..=30).contains(&settings.server.sse_keepalive_s) {
        wrong.push(
            "server.sse_keepalive_s must be between 1 and 30: the page opens a stream again that is silent for 45 s"
                .to_owned(),
        );
    }
    let share = settings.limits.backlog_tenant_share;
    if !(share > 0.0 && share <= 1.0) {
        wrong.push("limits.backlog_tenant_share must be above 0 and at most 1".to_owned());
    }
    let factor = settings.worker.run_limit_factor;
    if !(factor == 0.0 || factor.is_finite() && factor >= 1.0) {
        wrong.push("worker.run_limit_factor must be 0, or at least 1".to_owned());
    }
    if settings.worker.video_crf > 51 {
        wrong.push("worker.video_crf must be between 0 and 51".to_owned());
    }
    let money = [("gpu_hour_usd", settings.cost.gpu_hour_usd), ("budget_day_usd", settings.cost.budget_day_usd)];
    for (name, usd) in money {
        if !(usd.is_finite() && usd >= 0.0) {
            wrong.push(format!("cost.{name} must be 0 or more"));
        }
    }
}

/// Limits and timeouts that would stop everything if they were 0.
fn positive(settings: &Settings, wrong: &mut Vec<String>) {
    let values = [
        ("server.body_max_bytes", settings.server.body_max_bytes as u64),
        ("server.connections_max", settings.server.connections_max as u64),
        ("server.header_timeout_s", settings.server.header_timeout_s),
        ("server.request_timeout_s", settings.server.request_timeout_s),
        ("server.sse_poll_ms", settings.server.sse_poll_ms),
        ("database.pool_max", u64::from(settings.database.pool_max)),
        ("database.acquire_timeout_ms", settings.database.acquire_timeout_ms),
        ("database.statement_timeout_ms", settings.database.statement_timeout_ms),
        ("broker.connect_timeout_ms", settings.broker.connect_timeout_ms),
        ("broker.rpc_timeout_ms", settings.broker.rpc_timeout_ms),
        ("broker.publish_timeout_ms", settings.broker.publish_timeout_ms),
        ("broker.reconnect_min_ms", settings.broker.reconnect_min_ms),
        ("broker.message_max_bytes", settings.broker.message_max_bytes as u64),
        ("broker.progress_buffer", settings.broker.progress_buffer as u64),
        ("redis.pool_max", settings.redis.pool_max as u64),
        ("redis.connect_timeout_ms", settings.redis.connect_timeout_ms),
        ("redis.response_timeout_ms", settings.redis.response_timeout_ms),
        ("cache.ttl_s", settings.cache.ttl_s),
        ("cache.breaker_failures", u64::from(settings.cache.breaker_failures)),
        ("artifacts.part_bytes", settings.artifacts.part_bytes as u64),
        ("artifacts.timeout_s", settings.artifacts.timeout_s),
        ("limits.prompt_chars_max", settings.limits.prompt_chars_max as u64),
        ("limits.backlog_max", settings.limits.backlog_max),
        ("limits.batch_max", settings.limits.batch_max as u64),
        ("limits.ingest_rows_max", settings.limits.ingest_rows_max as u64),
        ("limits.ingest_queue_max", settings.limits.ingest_queue_max as u64),
        ("limits.image_bytes_max", settings.limits.image_bytes_max as u64),
        ("limits.image_pixels_max", settings.limits.image_pixels_max),
        ("limits.image_memory_max_bytes", settings.limits.image_memory_max_bytes),
        ("limits.image_decode_s", settings.limits.image_decode_s),
        ("limits.image_decodes_max", settings.limits.image_decodes_max as u64),
        ("limits.page_max", u64::from(settings.limits.page_max)),
        ("scheduler.poll_ms", settings.scheduler.poll_ms),
        ("scheduler.leader_ttl_s", settings.scheduler.leader_ttl_s),
        ("scheduler.plan_batch", u64::from(settings.scheduler.plan_batch)),
        ("scheduler.sweep_ms", settings.scheduler.sweep_ms),
        ("scheduler.sweep_batch", u64::from(settings.scheduler.sweep_batch)),
        ("scheduler.worker_gone_s", settings.scheduler.worker_gone_s),
        ("webhooks.timeout_s", settings.webhooks.timeout_s),
        ("webhooks.backoff_min_s", settings.webhooks.backoff_min_s),
        ("webhooks.parallel_max", u64::from(settings.webhooks.parallel_max)),
        ("webhooks.poll_ms", settings.webhooks.poll_ms),
        ("interpolation.frames_max", u64::from(settings.interpolation.frames_max)),
        ("worker.lease_s", settings.worker.lease_s),
        ("worker.poll_ms", settings.worker.poll_ms),
        ("worker.ffmpeg_stall_s", settings.worker.ffmpeg_stall_s),
        ("worker.progress_ms", settings.worker.progress_ms),
        ("telemetry.timeout_ms", settings.telemetry.timeout_ms),
    ];
    wrong.extend(values.iter().filter(|(_, value)| *value == 0).map(|(key, _)| format!("{key} must be at least 1")));
    if settings.models.dirs.is_empty() {
        wrong.push("models.dirs must name at least one model folder".to_owned());
    }
}
