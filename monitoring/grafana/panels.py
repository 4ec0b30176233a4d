"""What the dashboards show: `build` writes them from this. A panel says what it tells the reader; every query has data in a
fleet that works, which scripts/check-monitoring sees to.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Panel:
    """One panel; `queries` are (PromQL, legend)."""

    title: str
    tells: str
    unit: str
    queries: list[tuple[str, str]]
    kind: str = "timeseries"
    width: int = 8
    height: int = 8
    stacked: bool = False
    # (value from which on, colour); the first counts from the smallest.
    steps: list[tuple[float | None, str]] = field(default_factory=lambda: [(None, "green")])
    highest: float | None = None
    # Savings may be below 0.
    negative: bool = False


@dataclass
class Row:
    """A headline over the panels that follow."""

    title: str


def stat(title: str, tells: str, unit: str, expr: str, **more: object) -> Panel:
    """One number."""
    return Panel(title, tells, unit, [(expr, "")], kind="stat", width=4, height=4, **more)


def p50_p95(histogram: str, by: str = "") -> list[tuple[str, str]]:
    """Median and 95th percentile of a histogram."""
    labels = f"le, {by}" if by else "le"
    legend = f"{{{{{by}}}}} " if by else ""
    return [
        (f"histogram_quantile({q}, sum by ({labels}) (rate({histogram}_bucket[$__rate_interval])))", f"{legend}p{q * 100:.0f}")
        for q in (0.5, 0.95)
    ]


RED_ABOVE_0 = [(None, "green"), (1, "red")]
RED_AT_0 = [(None, "red"), (1, "green")]

FLEET_OVERVIEW = [
    stat("Waiting", "Jobs that wait for a worker.", "short", "fleet:backlog_jobs:sum", steps=[(None, "green"), (20, "orange"), (200, "red")]),
    stat("Running", "Jobs on a worker now.", "short", 'fleet:jobs:max{state="running"}'),
    stat("Oldest waiting", "Age of the job that has waited longest.", "s", "max(fleet:backlog_oldest_age_seconds:max)", steps=[(None, "green"), (600, "orange"), (3600, "red")]),
    stat("Workers", "Workers that were heard of lately.", "short", "fleet:workers:sum", steps=RED_AT_0),
    stat("Failed, 30 min", "Share of the jobs that ended in the last 30 minutes.", "percentunit", "fleet:jobs_failed:ratio_increase30m", steps=[(None, "green"), (0.05, "orange"), (0.1, "red")]),
    stat("Cost, 24 h", "Price of the GPU time of finished jobs.", "currencyUSD", "fleet:cost_usd:increase1d"),
    Row("Work"),
    Panel("Submissions", "Accepted, and answered with the job of an earlier request of the same key; refused ones by reason.", "reqps", [
        ("sum by (outcome) (rate(fleet_submissions_total[$__rate_interval]))", "{{outcome}}"),
        ("sum by (code) (rate(fleet_submissions_refused_total[$__rate_interval]))", "refused: {{code}}"),
    ]),
    Panel("Jobs that ended", "Completed, failed and cancelled, by minute.", "cpm", [
        ("sum by (state) (rate(fleet:jobs_finished_total:max[$__rate_interval])) * 60", "{{state}}"),
    ], stacked=True),
    Panel("Jobs by state", "Waiting for a plan or a worker, released to a pool, running.", "short", [("fleet:jobs:max", "{{state}}")], stacked=True),
    Panel("Waiting by tier", "'unplanned' has no tier yet.", "short", [("fleet:backlog_jobs:max", "{{tier}}")], stacked=True),
    Panel("Age of the oldest by tier", "A job that grows old while others of its tier go is stuck.", "s", [("fleet:backlog_oldest_age_seconds:max", "{{tier}}")]),
    Panel("From submission to claim", "How long a job waits until a worker takes it first.", "s", p50_p95("fleet_job_wait_duration_seconds", "tier")),
    Panel("A whole run", "From claim to stored video, of completed jobs.", "s", p50_p95("fleet_run_duration_seconds", "tier")),
    Panel("Tried again", "After a failure or a lost worker, handed back by a stopping worker, by the owner; leases that ran out.", "cpm", [
        ("sum by (cause) (rate(fleet:jobs_requeued_total:max[$__rate_interval])) * 60", "{{cause}}"),
        ("sum(rate(fleet_leases_expired_total[$__rate_interval])) * 60", "lease ran out"),
    ]),
    Panel("Video made", "Seconds of playback for each second.", "short", [("sum(rate(fleet_video_seconds_total[$__rate_interval]))", "playback")]),
]

OPTIMISATION = [
    stat("Cache hit rate, 1 h", "Look-ups whose embeddings were there.", "percentunit", "fleet:embedding_cache_hits:ratio_increase1h", highest=1),
    stat("Average steps, 1 h", "Denoising steps of a finished video.", "short", "sum(rate(fleet_steps_used_sum[1h])) / sum(rate(fleet_steps_used_count[1h]))"),
    stat("Steps skipped, 1 h", "Share of the steps that the step cache answered.", "percentunit", "sum(rate(fleet_steps_skipped_total[1h])) / (sum(rate(fleet_steps_skipped_total[1h])) + sum(rate(fleet_steps_computed_total[1h])))", highest=1),
    stat("Saved", "Against fixed steps without caches, all time; runs that cost more are subtracted.", "currencyUSD", "sum(fleet:saved_usd:max)", negative=True),
    stat("GPU time saved", "The same in seconds.", "s", "sum(fleet:saved_seconds:max)", negative=True),
    stat("Estimates off by", "Median of |estimate - run| / run over recent runs.", "percentunit", "max(fleet_estimate_error_ratio)", steps=[(None, "green"), (0.3, "orange")]),
    Row("Embedding cache"),
    Panel("Look-ups", "By what they found. 'off': the cache is turned off.", "ops", [
        ("sum by (result) (rate(fleet_embedding_cache_lookups_total[$__rate_interval]))", "{{result}}"),
    ], stacked=True, width=6),
    Panel("Where embeddings came from", "The worker's own memory, Redis, Redis after waiting for a worker that was encoding them, or the text encoders.", "ops", [
        ("sum by (place) (rate(fleet_embedding_cache_lookups_total[$__rate_interval]))", "{{place}}"),
    ], stacked=True, width=6),
    Panel("Encoding time saved by hits", "Over the last hour.", "s", [("sum(increase(fleet_embedding_cache_saved_seconds_total[1h]))", "saved")], width=6),
    Panel("Errors", "Failed calls of Redis, and values that were damaged or foreign; each is a miss, never a failed job.", "cpm", [
        ("sum(rate(fleet_embedding_cache_errors_total[$__rate_interval])) * 60", "errors"),
    ], width=6),
    Row("Steps"),
    Panel("Average steps by tier", "Of finished videos.", "short", [
        ("sum by (tier) (rate(fleet_steps_used_sum[$__rate_interval])) / (sum by (tier) (rate(fleet_steps_used_count[$__rate_interval])) > 0)", "{{tier}}"),
    ]),
    Panel("Average steps by complexity", "Simple prompts should need the fewest.", "short", [
        ("sum by (complexity) (rate(fleet_steps_used_sum[$__rate_interval])) / (sum by (complexity) (rate(fleet_steps_used_count[$__rate_interval])) > 0)", "{{complexity}}"),
    ]),
    Panel("Steps planned", "Median of what the scheduler plans, by tier.", "short", [
        ("histogram_quantile(0.5, sum by (le, tier) (rate(fleet_steps_planned_bucket[$__rate_interval])))", "{{tier}}"),
    ]),
    Panel("Computed and skipped", "Steps through the transformer, and steps that the step cache answered.", "ops", [
        ("sum by (tier) (rate(fleet_steps_computed_total[$__rate_interval]))", "{{tier}} computed"),
        ("sum by (tier) (rate(fleet_steps_skipped_total[$__rate_interval]))", "{{tier}} skipped"),
    ]),
    Panel("Plans", "By complexity of the prompt and what decided the steps.", "cpm", [
        ("sum by (complexity, reason) (rate(fleet_jobs_planned_total[$__rate_interval])) * 60", "{{complexity}}: {{reason}}"),
    ], stacked=True),
    Panel("Learnt to spare", "Steps that learning takes off, by tier and complexity.", "short", [("max by (tier, complexity) (fleet_learned_steps_lower)", "{{tier}} {{complexity}}")]),
    Row("Money"),
    Panel("Saved by tier", "All time, net.", "currencyUSD", [("sum by (tier) (fleet:saved_usd:max)", "{{tier}}")], stacked=True, negative=True),
    Panel("Saved by complexity", "All time, net.", "currencyUSD", [("sum by (complexity) (fleet:saved_usd:max)", "{{complexity}}")], stacked=True, negative=True),
    Panel("Cost of a video", "By tier, over the last day.", "currencyUSD", [
        ('sum by (tier) (increase(fleet:cost_usd_total:max[1d])) / (sum by (tier) (increase(fleet:jobs_finished_total:max{state="completed"}[1d])) > 0)', "{{tier}}"),
    ]),
    Panel("Cost of a day", "Of the jobs that finished within 24 hours, and what it may be (cost.budget_day_usd; 0 is no budget).", "currencyUSD", [
        ("fleet:cost_usd:increase1d", "cost"),
        ("fleet:cost_budget_day_usd:max", "budget"),
    ]),
    Panel("GPU time by tier", "Of the jobs that were completed within an hour, all their attempts.", "s", [
        ("sum by (tier) (increase(fleet:gpu_seconds_total:max[1h]))", "{{tier}}"),
    ], stacked=True),
    Panel("GPU time saved by tier", "All time, net.", "s", [("sum by (tier) (fleet:saved_seconds:max)", "{{tier}}")], stacked=True, negative=True),
]

WORKERS_GPUS = [
    stat("Workers", "Live workers.", "short", "fleet:workers:sum", steps=RED_AT_0),
    stat("Slots used", "Slots that have a job.", "short", 'fleet:worker_slots:sum{state="used"}'),
    stat("Slots free", "Slots that wait for one.", "short", 'fleet:worker_slots:sum{state="free"}'),
    stat("Not consuming", "Workers that cannot hear of work over RabbitMQ; they poll.", "short", "count(fleet_worker_consuming) - sum(fleet_worker_consuming)", steps=RED_ABOVE_0),
    stat("Leases lost, 1 h", "While working: a pause or a slow database.", "short", "sum(increase(fleet_leases_lost_total[1h]))", steps=RED_ABOVE_0),
    stat("Late writes refused, 1 h", "Writes of a worker whose lease was another's by then.", "short", "sum(increase(fleet_stale_writes_refused_total[1h]))", steps=RED_ABOVE_0),
    Row("Use"),
    Panel("Busy", "Share of the time in which a worker had a job.", "percentunit", [
        ("sum by (instance) (rate(fleet_worker_busy_seconds_total[$__rate_interval]))", "{{instance}}"),
    ], highest=1),
    Panel("Slots by pool", "Of live workers.", "short", [("max by (pool, state) (fleet_worker_slots)", "{{pool}} {{state}}")], stacked=True),
    Panel("Last sign of life", "Of the model while it works, of the loop while it waits.", "s", [
        ("time() - fleet_worker_last_progress_timestamp_seconds", "{{instance}}"),
    ]),
    Row("Devices"),
    Panel("GPU computing", "By NVML; 0 on a CPU.", "percentunit", [("fleet_gpu_utilisation_ratio", "{{instance}}")], highest=1),
    Panel("Memory", "Of the GPU by NVML; on a CPU, of the process and of the machine.", "bytes", [("fleet_device_memory_bytes", "{{instance}} {{state}}")]),
    Panel("Attention at the start", "What the self-check reached; 0 where the device has no fused attention to check.", "flops", [("fleet_attention_flops_per_second", "{{instance}}")]),
    Row("Runs"),
    Panel("Seconds of each stage", "Medians of completed runs.", "s", [
        ("histogram_quantile(0.5, sum by (le, stage) (rate(fleet_stage_duration_seconds_bucket[$__rate_interval])))", "{{stage}}"),
    ]),
    Panel("Ends of runs", "By outcome, each minute.", "cpm", [("sum by (outcome) (rate(fleet_runs_total[$__rate_interval])) * 60", "{{outcome}}")], stacked=True),
    Panel("Failures", "By code, each minute.", "cpm", [("sum by (code) (rate(fleet_run_failures_total[$__rate_interval])) * 60", "{{code}}")], stacked=True),
    Panel("Checkpoints", "Stored, begun from, jobs handed back.", "cpm", [
        ("sum(rate(fleet_checkpoints_total[$__rate_interval])) * 60", "stored"),
        ("sum(rate(fleet_resumes_total[$__rate_interval])) * 60", "begun from"),
        ("sum(rate(fleet_jobs_handed_back_total[$__rate_interval])) * 60", "handed back"),
    ]),
    Panel("Claims that came late", "Messages that spoke of a job which was no longer there to claim. Harmless; many mean doubled messages.", "cpm", [
        ("sum(rate(fleet_stale_claims_total[$__rate_interval])) * 60", "late claims"),
    ]),
    Panel("Silent workers", "Given up because they were not heard of.", "short", [("sum(increase(fleet_workers_silent_total[1h]))", "silent")]),
]

API_BROKER = [
    stat("Requests", "Answered each second.", "reqps", "sum(rate(fleet_http_request_duration_seconds_count[$__rate_interval]))"),
    stat("Answers 5xx", "Share of all answers.", "percentunit", '(sum(rate(fleet_http_request_duration_seconds_count{status=~"5.."}[$__rate_interval])) or vector(0)) / sum(rate(fleet_http_request_duration_seconds_count[$__rate_interval]))', steps=[(None, "green"), (0.01, "red")]),
    stat("Event streams", "Open pages and clients that listen.", "short", "sum(fleet_event_streams)"),
    stat("Leaders", "Schedulers that lead; exactly one should.", "short", "sum(fleet_scheduler_leading)", steps=[(None, "red"), (1, "green"), (2, "red")]),
    stat("Dead letters", "Messages that nobody could read.", "short", "fleet:dead_letters:max", steps=RED_ABOVE_0),
    stat("Services down", "Connections to Postgres, RabbitMQ or Redis that a process misses.", "short", "count(fleet_dependency_up) - sum(fleet_dependency_up)", steps=RED_ABOVE_0),
    Row("API"),
    Panel("Requests by route", "Rate.", "reqps", [("sum by (route, method) (rate(fleet_http_request_duration_seconds_count[$__rate_interval]))", "{{method}} {{route}}")]),
    Panel("Answers by status", "Errors.", "reqps", [("sum by (status) (rate(fleet_http_request_duration_seconds_count[$__rate_interval]))", "{{status}}")], stacked=True),
    Panel("Time to answer", "Duration; streams are not counted until they end.", "s", p50_p95("fleet_http_request_duration_seconds", "route")),
    Panel("Jobs in one insert", "Submissions that share a transaction under load.", "short", [
        ("sum(rate(fleet_ingest_rows_total[$__rate_interval])) / (sum(rate(fleet_ingest_batches_total[$__rate_interval])) > 0)", "jobs"),
    ]),
    Panel("Database connections", "Of the API processes.", "short", [("sum by (state) (fleet_database_connections)", "{{state}}")], stacked=True),
    Panel("Services", "1 while a process is answered by the service.", "short", [("min by (job, dependency) (fleet_dependency_up)", "{{job}}: {{dependency}}")], highest=1),
    Row("Scheduler"),
    Panel("A round", "Planning and dispatch.", "s", p50_p95("fleet_scheduler_round_duration_seconds")),
    Panel("Since the last round", "Of the scheduler that leads.", "s", [("time() - max(fleet_scheduler_last_round_timestamp_seconds)", "age")]),
    Panel("Released and told again", "A release is told again when nobody has claimed it; the ones RabbitMQ did not take are found by polling.", "cpm", [
        ("sum(rate(fleet_jobs_released_total[$__rate_interval])) * 60", "released"),
        ("sum(rate(fleet_jobs_reannounced_total[$__rate_interval])) * 60", "told again"),
        ("sum(rate(fleet_announce_failures_total[$__rate_interval])) * 60", "not taken by RabbitMQ"),
    ]),
    Row("RabbitMQ"),
    Panel("Messages", "Ready and delivered but not yet acked. Few: a queue is kept as short as the free slots.", "short", [
        ("sum(rabbitmq_queue_messages_ready)", "ready"),
        ("sum(rabbitmq_queue_messages_unacked)", "unacked"),
    ]),
    Panel("Flow", "Received, confirmed, acknowledged; redelivered should stay near 0.", "ops", [
        ("sum(rate(rabbitmq_global_messages_received_total[$__rate_interval]))", "received"),
        ("sum(rate(rabbitmq_global_messages_confirmed_total[$__rate_interval]))", "confirmed"),
        ("sum(rate(rabbitmq_global_messages_acknowledged_total[$__rate_interval]))", "acknowledged"),
        ("sum(rate(rabbitmq_global_messages_redelivered_total[$__rate_interval]))", "redelivered"),
    ]),
    Panel("Unreadable messages", "Moved to the dead-letter queue by a process.", "short", [("sum by (job) (increase(fleet_unreadable_messages_total[1h]))", "{{job}}")]),
    Panel("Memory until publishers wait", "RabbitMQ stops taking messages at the limit.", "bytes", [
        ("sum(rabbitmq_process_resident_memory_bytes)", "used"),
        ("sum(rabbitmq_resident_memory_limit_bytes)", "limit"),
    ]),
    Panel("Disk until publishers wait", "The same for free disk.", "bytes", [
        ("sum(rabbitmq_disk_space_available_bytes)", "free"),
        ("sum(rabbitmq_disk_space_available_limit_bytes)", "limit"),
    ]),
    Panel("Connections and channels", "Steady lines are healthy; a saw is a client that reconnects.", "short", [
        ("sum(rabbitmq_connections)", "connections"),
        ("sum(rabbitmq_channels)", "channels"),
    ]),
]

DASHBOARDS = {
    "fleet-overview": ("Fleet overview", FLEET_OVERVIEW),
    "optimisation": ("Optimisation", OPTIMISATION),
    "workers-gpus": ("Workers and GPUs", WORKERS_GPUS),
    "api-broker": ("API and broker", API_BROKER),
}
