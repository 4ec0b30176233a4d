//! Goal: the metrics of all processes follow the same naming rules, and their documentation is current.
//! Method: checks the three declared registries against the rules and against `docs/metrics.md`. `UPDATE=1` writes that file.

use std::fmt::Write as _;
use std::path::Path;

use domain::{JobStatus, Tier};
use telemetry::{
    ApiMetrics, BacklogLevel, BudgetLevels, FleetTotals, GroupTotals, LedgerLevels, MetricInfo, PoolLevel,
    SchedulerMetrics, WorkerMetrics,
};

/// The head of `docs/metrics.md`.
const INTRODUCTION: &str = "\
# Metrics

Generated from the declarations in `crates/telemetry/src/metrics` by `UPDATE=1 cargo test --release -p telemetry`; a test checks
that this page is current.

Every process serves its metrics at `/metrics`: the API on its own port or on `server.metrics_port`, the scheduler and the workers
on `metrics_port`. The `process_*` metrics of the Prometheus client come with them. Counters start at 0 with the process, except
those of the scheduler that are counted from database rows: they cover the whole life of the fleet, and only the leading scheduler
exports them. Rules and dashboards are in `monitoring/`.
";

fn processes() -> Vec<(&'static str, Vec<MetricInfo>)> {
    vec![
        ("api", ApiMetrics::default().metrics().to_vec()),
        ("scheduler", SchedulerMetrics::default().metrics().to_vec()),
        ("worker", WorkerMetrics::default().metrics().to_vec()),
    ]
}

#[test]
fn names_carry_prefix_and_unit_helps_are_sentences_and_no_id_is_a_label() {
    for (process, metric) in processes().iter().flat_map(|(process, all)| all.iter().map(move |one| (process, one))) {
        let name = metric.name.as_str();
        assert!(name.starts_with("fleet_"), "{process}: {name}");
        assert_eq!(metric.kind == "counter", name.ends_with("_total"), "{process}: {name} is a {}", metric.kind);
        assert!(!name.contains("_ms") && !name.contains("_minutes") && !name.contains("_mb"), "{name}: base units");
        assert!(metric.help.ends_with('.') && metric.help.len() > 10, "{process}: {name}: {}", metric.help);
        for label in &metric.labels {
            assert!(
                !label.ends_with("_id") && label != "id" && label != "tenant" && label != "prompt",
                "{name}: {label}"
            );
        }
    }
}

#[test]
fn the_documentation_lists_exactly_what_is_exported() {
    let mut text = INTRODUCTION.to_owned();
    for (process, metrics) in processes() {
        write!(text, "\n## {process}\n\n| name | kind | labels | what it measures |\n|---|---|---|---|\n")
            .expect("a string grows");
        for metric in metrics {
            let labels = metric.labels.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(", ");
            let help = metric.help.replace('|', "\\|");
            writeln!(text, "| `{}` | {} | {labels} | {help} |", metric.name, metric.kind).expect("a string grows");
        }
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/metrics.md");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&file, &text).expect("docs/metrics.md can be written");
    }
    let written = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        written == text,
        "docs/metrics.md is out of date; update it with UPDATE=1 cargo test --release -p telemetry"
    );
}

#[test]
fn a_pool_without_workers_and_a_tier_without_jobs_are_exported_as_zero() {
    let metrics = SchedulerMetrics::default();
    metrics.pools(&[PoolLevel { pool: "a", workers: 2, slots: 2, running: 1 }]);
    metrics.backlog(&[BacklogLevel { status: JobStatus::Queued, tier: Some(Tier::Premium), jobs: 3, oldest_s: 9.0 }]);
    let text = metrics.render();
    for line in [
        "fleet_workers{pool=\"a\"} 2",
        "fleet_worker_slots{pool=\"a\",state=\"free\"} 1",
        "fleet_backlog_jobs{tier=\"premium\"} 3",
        "fleet_backlog_oldest_age_seconds{tier=\"premium\"} 9",
        "fleet_jobs{state=\"running\"} 0",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
    metrics.pools(&[]);
    metrics.backlog(&[]);
    let text = metrics.render();
    for line in [
        "fleet_workers{pool=\"a\"} 0",
        "fleet_worker_slots{pool=\"a\",state=\"used\"} 0",
        "fleet_backlog_jobs{tier=\"premium\"} 0",
        "fleet_backlog_oldest_age_seconds{tier=\"premium\"} 0",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
}

#[test]
fn totals_follow_the_rows_and_end_with_the_leadership() {
    let metrics = SchedulerMetrics::default();
    let totals = |completed, cost_usd| FleetTotals {
        groups: vec![GroupTotals {
            tier: Some(Tier::Standard),
            completed,
            cost_usd,
            saved_usd: -0.5,
            ..GroupTotals::default()
        }],
        requeued: 2,
        ..FleetTotals::default()
    };
    metrics.leads(true);
    metrics.totals(&totals(4, 1.5));
    metrics.totals(&totals(5, 2.0));
    let text = metrics.render();
    for line in [
        "fleet_jobs_finished_total{complexity=\"unplanned\",state=\"completed\",tier=\"standard\"} 5",
        "fleet_cost_usd_total{complexity=\"unplanned\",tier=\"standard\"} 2",
        "fleet_saved_usd{complexity=\"unplanned\",tier=\"standard\"} -0.5",
        "fleet_jobs_requeued_total{cause=\"retry\"} 2",
        "fleet_scheduler_leading 1",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
    metrics.leads(false);
    let text = metrics.render();
    assert!(!text.contains("fleet_jobs_finished_total{"), "{text}");
    assert!(text.contains("fleet_scheduler_leading 0"), "{text}");
}

#[test]
fn the_ledger_is_exported_by_the_leader_only() {
    let metrics = SchedulerMetrics::default();
    let levels =
        LedgerLevels { first_s: 8.0, repeated_s: 2.0, saved_steps_s: -3.0, idle_s: 60.0, ..LedgerLevels::default() };
    metrics.leads(true);
    metrics.ledger(&levels);
    metrics.budgets(BudgetLevels { ok: 1, warning: 0, spent: 2 });
    let text = metrics.render();
    for line in [
        "fleet_run_gpu_seconds_total{kind=\"repeated\"} 2",
        "fleet_optimization_saved_seconds{optimization=\"adaptive_steps\"} -3",
        "fleet_worker_seconds{state=\"idle\"} 60",
        "fleet_budgets{state=\"spent\"} 2",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
    metrics.leads(false);
    assert!(!metrics.render().contains("fleet_run_gpu_seconds_total{"), "another leader exports them");
}

#[test]
fn a_hit_saves_the_mean_encoding_time_and_busy_time_grows_only_with_a_job() {
    let metrics = WorkerMetrics::default();
    let saved = || value(&metrics.render(), "fleet_embedding_cache_saved_seconds_total");
    metrics.looked_up(domain::CacheMatch::Identical, "redis", 0.5);
    assert!(saved().abs() < f64::EPSILON, "the duration of an encoding is not known yet");
    metrics.looked_up(domain::CacheMatch::Miss, "encoder", 4.0);
    metrics.looked_up(domain::CacheMatch::Miss, "encoder", 2.0);
    metrics.looked_up(domain::CacheMatch::Identical, "memory", 0.5);
    assert!((saved() - 2.5).abs() < 1e-9, "{}", saved());

    metrics.count_busy();
    assert!(value(&metrics.render(), "fleet_worker_busy_seconds_total").abs() < f64::EPSILON);
    metrics.slots(1, 1);
    metrics.slots(0, 1);
    let busy = value(&metrics.render(), "fleet_worker_busy_seconds_total");
    assert!(busy > 0.0);
    metrics.count_busy();
    assert!((value(&metrics.render(), "fleet_worker_busy_seconds_total") - busy).abs() < f64::EPSILON);
}

#[test]
fn the_model_is_idle_between_two_pieces_of_work() {
    let metrics = WorkerMetrics::default();
    let worked = || value(&metrics.render(), "fleet_worker_model_seconds_total");
    metrics.slots(1, 1);
    metrics.count_busy();
    assert!(worked().abs() < f64::EPSILON, "a slot in use is not a model at work");
    drop(metrics.model_works());
    let first = worked();
    assert!(first > 0.0);
    metrics.count_busy();
    assert!((worked() - first).abs() < f64::EPSILON);
    let _work = metrics.model_works();
    metrics.count_busy();
    assert!(worked() > first, "long work is counted while it lasts");
}

fn value(text: &str, name: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.expect("the metric is exported").parse().expect("a number")
}
