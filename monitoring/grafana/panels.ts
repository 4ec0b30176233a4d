// The contents of the dashboards; `build.ts` generates them from this file. Each panel has a description for its reader, and
// each query has data on a working fleet, which scripts/check-monitoring checks.
import { lines, p50p95, row, stat, type Item } from './panel.ts';

type Steps = [number | null, string][];
const RED_ABOVE_0: Steps = [[null, 'green'], [1, 'red']];
const RED_AT_0: Steps = [[null, 'red'], [1, 'green']];

const fleetOverview: Item[] = [
  stat('Waiting', 'Jobs waiting for a worker.', 'short', 'fleet:backlog_jobs:sum', { steps: [[null, 'green'], [20, 'orange'], [200, 'red']] }),
  stat('Running', 'Jobs that a worker is rendering.', 'short', 'fleet:jobs:max{state="running"}'),
  stat('Oldest waiting', 'Age of the job that has been waiting longest.', 's', 'max(fleet:backlog_oldest_age_seconds:max)', { steps: [[null, 'green'], [600, 'orange'], [3600, 'red']] }),
  stat('Workers', 'Workers with a recent heartbeat.', 'short', 'fleet:workers:sum', { steps: RED_AT_0 }),
  stat('Failed, 30 min', 'Share of failed jobs among those that ended in the last 30 minutes.', 'percentunit', 'fleet:jobs_failed:ratio_increase30m', { steps: [[null, 'green'], [0.05, 'orange'], [0.1, 'red']] }),
  stat('Cost, 24 h', 'Cost of the GPU time of finished jobs.', 'currencyUSD', 'fleet:cost_usd:increase1d'),
  row('Work'),
  lines('Submissions', 'Accepted submissions, repeats of an earlier idempotency key, and refused submissions by reason.', 'reqps', [
    ['sum by (outcome) (rate(fleet_submissions_total[$__rate_interval]))', '{{outcome}}'],
    ['sum by (code) (rate(fleet_submissions_refused_total[$__rate_interval]))', 'refused: {{code}}'],
  ]),
  lines('Jobs that ended', 'Completed, failed and cancelled jobs per minute.', 'cpm', [
    ['sum by (state) (rate(fleet:jobs_finished_total:max[$__rate_interval])) * 60', '{{state}}'],
  ], { stacked: true }),
  lines('Jobs by state', 'Drafted, queued, released to a pool, or running.', 'short', [['fleet:jobs:max', '{{state}}']], { stacked: true }),
  lines('Waiting by tier', "'unplanned' jobs have no tier yet.", 'short', [['fleet:backlog_jobs:max', '{{tier}}']], { stacked: true }),
  lines('Age of the oldest by tier', 'A job that keeps ageing while others of its tier are rendered is stuck.', 's', [
    ['fleet:backlog_oldest_age_seconds:max', '{{tier}}'],
  ]),
  lines('From submission to claim', 'Time until a worker claims a job for the first time.', 's', p50p95('fleet_job_wait_duration_seconds', 'tier')),
  lines('Run time', 'From claim to stored video, for completed jobs.', 's', p50p95('fleet_run_duration_seconds', 'tier')),
  lines('Retries', 'Jobs queued again after a failure or a lost worker, handed back by a stopping worker, preempted for a deadline, or retried by their owner; and expired leases.', 'cpm', [
    ['sum by (cause) (rate(fleet:jobs_requeued_total:max[$__rate_interval])) * 60', '{{cause}}'],
    ['sum(rate(fleet_leases_expired_total[$__rate_interval])) * 60', 'lease expired'],
  ]),
  lines('Deadlines', 'Videos with a deadline that were finished in time or late, and running jobs that gave their slot to save one, per hour.', 'short', [
    ['sum by (outcome) (rate(fleet:deadlines_total:max[$__rate_interval])) * 3600', '{{outcome}}'],
    ['sum(rate(fleet_preemptions_total[$__rate_interval])) * 3600', 'preempted'],
  ]),
  lines('Video rendered', 'Seconds of playback rendered per second.', 'short', [
    ['sum(rate(fleet_video_seconds_total[$__rate_interval]))', 'playback'],
  ]),
];

const optimisation: Item[] = [
  stat('Cache hit rate, 1 h', 'Share of look-ups that found embeddings.', 'percentunit', 'fleet:embedding_cache_hits:ratio_increase1h', { highest: 1 }),
  stat('Average steps, 1 h', 'Denoising steps per finished video.', 'short', 'sum(rate(fleet_steps_used_sum[1h])) / sum(rate(fleet_steps_used_count[1h]))'),
  stat('Steps skipped, 1 h', 'Share of steps skipped by the step cache.', 'percentunit', 'sum(rate(fleet_steps_skipped_total[1h])) / (sum(rate(fleet_steps_skipped_total[1h])) + sum(rate(fleet_steps_computed_total[1h])))', { highest: 1 }),
  stat('Saved', 'All-time saving compared with fixed steps and no caches; runs that cost more are subtracted.', 'currencyUSD', 'sum(fleet:saved_usd:max)', { negative: true }),
  stat('GPU time saved', 'The same saving in seconds of GPU time.', 's', 'sum(fleet:saved_seconds:max)', { negative: true }),
  stat('Estimate error', 'Median of |estimate - run| / run over recent runs.', 'percentunit', 'max(fleet_estimate_error_ratio)', { steps: [[null, 'green'], [0.3, 'orange']] }),
  row('Embedding cache'),
  lines('Look-ups', "By result. 'off' means that the cache is disabled.", 'ops', [
    ['sum by (result) (rate(fleet_embedding_cache_lookups_total[$__rate_interval]))', '{{result}}'],
  ], { stacked: true, width: 6 }),
  lines('Where embeddings came from', "The worker's memory, Redis, Redis after waiting for another worker to encode the prompt, or the text encoders.", 'ops', [
    ['sum by (place) (rate(fleet_embedding_cache_lookups_total[$__rate_interval]))', '{{place}}'],
  ], { stacked: true, width: 6 }),
  lines('Encoding time saved by hits', 'In the last hour.', 's', [
    ['sum(increase(fleet_embedding_cache_saved_seconds_total[1h]))', 'saved'],
  ], { width: 6 }),
  lines('Errors', 'Failed Redis calls and damaged or foreign values. Each counts as a miss and never fails a job.', 'cpm', [
    ['sum(rate(fleet_embedding_cache_errors_total[$__rate_interval])) * 60', 'errors'],
  ], { width: 6 }),
  row('Steps'),
  lines('Average steps by tier', 'Average over finished videos.', 'short', [
    ['sum by (tier) (rate(fleet_steps_used_sum[$__rate_interval])) / (sum by (tier) (rate(fleet_steps_used_count[$__rate_interval])) > 0)', '{{tier}}'],
  ]),
  lines('Average steps by complexity', 'Simple prompts should need the fewest.', 'short', [
    ['sum by (complexity) (rate(fleet_steps_used_sum[$__rate_interval])) / (sum by (complexity) (rate(fleet_steps_used_count[$__rate_interval])) > 0)', '{{complexity}}'],
  ]),
  lines('Steps planned', 'Median number of planned steps, by tier.', 'short', [
    ['histogram_quantile(0.5, sum by (le, tier) (rate(fleet_steps_planned_bucket[$__rate_interval])))', '{{tier}}'],
  ]),
  lines('Computed and skipped', 'Steps computed by the transformer and steps skipped by the step cache.', 'ops', [
    ['sum by (tier) (rate(fleet_steps_computed_total[$__rate_interval]))', '{{tier}} computed'],
    ['sum by (tier) (rate(fleet_steps_skipped_total[$__rate_interval]))', '{{tier}} skipped'],
  ]),
  lines('Plans', 'By complexity of the prompt and reason for the number of steps.', 'cpm', [
    ['sum by (complexity, reason) (rate(fleet_jobs_planned_total[$__rate_interval])) * 60', '{{complexity}}: {{reason}}'],
  ], { stacked: true }),
  lines('Steps removed by learning', 'By tier and complexity.', 'short', [
    ['max by (tier, complexity) (fleet_learned_steps_lower)', '{{tier}} {{complexity}}'],
  ]),
  row('Drafts'),
  lines('Drafts', 'Drafts that paused, and drafts that were continued to a video, in the last hour. The difference waits, was cancelled, or was a candidate that was not chosen.', 'short', [
    ['increase(fleet:drafts_total:max[1h])', 'paused'],
    ['increase(fleet:drafts_continued_total:max[1h])', 'continued'],
  ]),
  lines('Drafts that wait', 'Drafts that nobody has continued or cancelled yet; they expire after scheduler.draft_ttl_s.', 'short', [
    ['fleet:jobs:max{state="drafted"}', 'drafted'],
  ]),
  lines('GPU time of drafts', 'In the last hour, whether or not the drafts were continued.', 's', [
    ['increase(fleet:draft_gpu_seconds_total:max[1h])', 'drafts'],
  ]),
  row('Money'),
  lines('Saved by tier', 'All-time net saving.', 'currencyUSD', [['sum by (tier) (fleet:saved_usd:max)', '{{tier}}']], { stacked: true, negative: true }),
  lines('Saved by complexity', 'All-time net saving.', 'currencyUSD', [['sum by (complexity) (fleet:saved_usd:max)', '{{complexity}}']], { stacked: true, negative: true }),
  lines('Cost of a video', 'Average by tier in the last day.', 'currencyUSD', [
    ['sum by (tier) (increase(fleet:cost_usd_total:max[1d])) / (sum by (tier) (increase(fleet:jobs_finished_total:max{state="completed"}[1d])) > 0)', '{{tier}}'],
  ]),
  lines('Cost of the last day', 'Cost of the jobs that finished within 24 hours, and the budget (cost.budget_day_usd; 0 means none).', 'currencyUSD', [
    ['fleet:cost_usd:increase1d', 'cost'],
    ['fleet:cost_budget_day_usd:max', 'budget'],
  ]),
  lines('GPU time by tier', 'GPU time of the jobs completed in the last hour, including all attempts.', 's', [
    ['sum by (tier) (increase(fleet:gpu_seconds_total:max[1h]))', '{{tier}}'],
  ], { stacked: true }),
  lines('GPU time saved by tier', 'All-time net saving.', 's', [['sum by (tier) (fleet:saved_seconds:max)', '{{tier}}']], { stacked: true, negative: true }),
  row('Ledger'),
  lines('GPU time of runs', 'Of all runs that ended in the last hour, by whether they repeated work after a fault.', 's', [
    ['sum by (kind) (increase(fleet:run_gpu_seconds_total:max[1h]))', '{{kind}}'],
  ], { stacked: true }),
  lines('Saved by optimisation', 'All-time saving of GPU time, by the cost model.', 's', [
    ['max by (optimization) (fleet_optimization_saved_seconds)', '{{optimization}}'],
  ], { negative: true }),
  lines('Workers busy and idle', 'Share of the time online in the last hour.', 'percentunit', [
    ['sum by (state) (delta(fleet:worker_seconds:max[1h])) / ignoring (state) group_left () (sum(delta(fleet:worker_seconds:max[1h])) > 0)', '{{state}}'],
  ], { highest: 1 }),
  lines('Cost of idle workers', 'All-time price of the time without a job.', 'currencyUSD', [['max(fleet_worker_idle_usd)', 'idle']]),
  lines('Budgets', 'Budgets of tenants by state.', 'short', [['max by (state) (fleet_budgets)', '{{state}}']], { stacked: true }),
];

const workersGpus: Item[] = [
  stat('Workers', 'Workers with a recent heartbeat.', 'short', 'fleet:workers:sum', { steps: RED_AT_0 }),
  stat('Slots used', 'Slots with a job.', 'short', 'fleet:worker_slots:sum{state="used"}'),
  stat('Slots free', 'Slots without a job.', 'short', 'fleet:worker_slots:sum{state="free"}'),
  stat('Not consuming', 'Workers that do not receive jobs over RabbitMQ and poll instead.', 'short', 'count(fleet_worker_consuming) - sum(fleet_worker_consuming)', { steps: RED_ABOVE_0 }),
  stat('Leases lost, 1 h', 'Leases lost during a run, for example after a pause or with a slow database.', 'short', 'sum(increase(fleet_leases_lost_total[1h]))', { steps: RED_ABOVE_0 }),
  stat('Late writes refused, 1 h', 'Writes refused because another worker held the lease by then.', 'short', 'sum(increase(fleet_stale_writes_refused_total[1h]))', { steps: RED_ABOVE_0 }),
  row('Use'),
  lines('Busy', 'Share of time that a worker had a job.', 'percentunit', [
    ['sum by (instance) (rate(fleet_worker_busy_seconds_total[$__rate_interval]))', '{{instance}}'],
  ], { highest: 1 }),
  lines('Model at work', 'Share of time that the model encoded, denoised, decoded or interpolated. Below "Busy" by what a job waits for: its checkpoint, another worker\'s embedding, a place for its delivery.', 'percentunit', [
    ['sum by (instance) (rate(fleet_worker_model_seconds_total[$__rate_interval]))', '{{instance}}'],
  ], { highest: 1 }),
  lines('Deliveries', 'Finished videos that are written and uploaded beside the next job. Constantly at worker.deliveries_max: the object store is too slow for this worker.', 'short', [
    ['sum by (instance) (fleet_worker_deliveries)', '{{instance}}'],
  ]),
  lines('Slots by pool', 'Slots of workers with a recent heartbeat.', 'short', [['max by (pool, state) (fleet_worker_slots)', '{{pool}} {{state}}']], { stacked: true }),
  lines('Time since last progress', 'Of the model while a job runs, otherwise of the main loop.', 's', [
    ['time() - fleet_worker_last_progress_timestamp_seconds', '{{instance}}'],
  ]),
  row('Devices'),
  lines('GPU utilisation', 'Reported by NVML; 0 on a CPU.', 'percentunit', [['fleet_gpu_utilisation_ratio', '{{instance}}']], { highest: 1 }),
  lines('Memory', 'Of the GPU, reported by NVML; on a CPU, of the process and the machine.', 'bytes', [
    ['fleet_device_memory_bytes', '{{instance}} {{state}}'],
  ]),
  lines('Attention speed at start-up', 'Measured by the self-check; 0 if the device has no fused attention.', 'flops', [
    ['fleet_attention_flops_per_second', '{{instance}}'],
  ]),
  row('Runs'),
  lines('Time per stage', 'Medians over completed runs.', 's', [
    ['histogram_quantile(0.5, sum by (le, stage) (rate(fleet_stage_duration_seconds_bucket[$__rate_interval])))', '{{stage}}'],
  ]),
  lines('Run outcomes', 'By outcome, per minute.', 'cpm', [
    ['sum by (outcome) (rate(fleet_runs_total[$__rate_interval])) * 60', '{{outcome}}'],
  ], { stacked: true }),
  lines('Failures', 'By code, per minute.', 'cpm', [
    ['sum by (code) (rate(fleet_run_failures_total[$__rate_interval])) * 60', '{{code}}'],
  ], { stacked: true }),
  lines('Checkpoints', 'Checkpoints stored and resumed from, and jobs handed back.', 'cpm', [
    ['sum(rate(fleet_checkpoints_total[$__rate_interval])) * 60', 'stored'],
    ['sum(rate(fleet_resumes_total[$__rate_interval])) * 60', 'resumed from'],
    ['sum(rate(fleet_jobs_handed_back_total[$__rate_interval])) * 60', 'handed back'],
  ]),
  lines('Late claims', 'Messages about jobs that could no longer be claimed. Harmless; a large number means duplicated messages.', 'cpm', [
    ['sum(rate(fleet_stale_claims_total[$__rate_interval])) * 60', 'late claims'],
  ]),
  lines('Silent workers', 'Workers considered lost because they sent no heartbeat.', 'short', [
    ['sum(increase(fleet_workers_silent_total[1h]))', 'silent'],
  ]),
];

const apiBroker: Item[] = [
  stat('Requests', 'Requests per second.', 'reqps', 'sum(rate(fleet_http_request_duration_seconds_count[$__rate_interval]))'),
  stat('5xx responses', 'Share of all responses.', 'percentunit', '(sum(rate(fleet_http_request_duration_seconds_count{status=~"5.."}[$__rate_interval])) or vector(0)) / sum(rate(fleet_http_request_duration_seconds_count[$__rate_interval]))', { steps: [[null, 'green'], [0.01, 'red']] }),
  stat('Event streams', 'Open event streams of pages and other clients.', 'short', 'sum(fleet_event_streams)'),
  stat('Leaders', 'Leading schedulers; there should be exactly one.', 'short', 'sum(fleet_scheduler_leading)', { steps: [[null, 'red'], [1, 'green'], [2, 'red']] }),
  stat('Dead letters', 'Messages that no process could read.', 'short', 'fleet:dead_letters:max', { steps: RED_ABOVE_0 }),
  stat('Services down', 'Missing connections of a process to Postgres, RabbitMQ or Redis.', 'short', 'count(fleet_dependency_up) - sum(fleet_dependency_up)', { steps: RED_ABOVE_0 }),
  row('API'),
  lines('Requests by route', 'Requests per second.', 'reqps', [
    ['sum by (route, method) (rate(fleet_http_request_duration_seconds_count[$__rate_interval]))', '{{method}} {{route}}'],
  ]),
  lines('Responses by status', 'Responses per second.', 'reqps', [
    ['sum by (status) (rate(fleet_http_request_duration_seconds_count[$__rate_interval]))', '{{status}}'],
  ], { stacked: true }),
  lines('Response time', 'Event streams are counted when they end.', 's', p50p95('fleet_http_request_duration_seconds', 'route')),
  lines('Jobs per insert', 'Under load, several submissions share a transaction.', 'short', [
    ['sum(rate(fleet_ingest_rows_total[$__rate_interval])) / (sum(rate(fleet_ingest_batches_total[$__rate_interval])) > 0)', 'jobs'],
  ]),
  lines('Database connections', 'Database connections of the API processes.', 'short', [['sum by (state) (fleet_database_connections)', '{{state}}']], { stacked: true }),
  lines('Services', '1 while the service responds to the process.', 'short', [
    ['min by (job, dependency) (fleet_dependency_up)', '{{job}}: {{dependency}}'],
  ], { highest: 1 }),
  row('Scheduler'),
  lines('Round time', 'Planning and dispatch.', 's', p50p95('fleet_scheduler_round_duration_seconds')),
  lines('Since the last round', 'Of the leading scheduler.', 's', [
    ['time() - max(fleet_scheduler_last_round_timestamp_seconds)', 'age'],
  ]),
  lines('Released and announced again', 'A release whose message is lost is announced again. Workers find those that RabbitMQ did not accept by polling.', 'cpm', [
    ['sum(rate(fleet_jobs_released_total[$__rate_interval])) * 60', 'released'],
    ['sum(rate(fleet_jobs_reannounced_total[$__rate_interval])) * 60', 'announced again'],
    ['sum(rate(fleet_announce_failures_total[$__rate_interval])) * 60', 'not accepted by RabbitMQ'],
  ]),
  row('Webhooks'),
  lines('Webhooks', 'Deliveries that receivers accepted, and attempts that failed and are repeated.', 'cpm', [
    ['sum(rate(fleet_webhooks_delivered_total[$__rate_interval])) * 60', 'delivered'],
    ['sum(rate(fleet_webhook_failures_total[$__rate_interval])) * 60', 'failed attempts'],
  ]),
  row('RabbitMQ'),
  lines('Messages', 'Ready, and delivered but not yet acked. Few, because a queue is kept as short as the number of free slots.', 'short', [
    ['sum(rabbitmq_queue_messages_ready)', 'ready'],
    ['sum(rabbitmq_queue_messages_unacked)', 'unacked'],
  ]),
  lines('Flow', 'Received, confirmed, acknowledged; redelivered should stay near 0.', 'ops', [
    ['sum(rate(rabbitmq_global_messages_received_total[$__rate_interval]))', 'received'],
    ['sum(rate(rabbitmq_global_messages_confirmed_total[$__rate_interval]))', 'confirmed'],
    ['sum(rate(rabbitmq_global_messages_acknowledged_total[$__rate_interval]))', 'acknowledged'],
    ['sum(rate(rabbitmq_global_messages_redelivered_total[$__rate_interval]))', 'redelivered'],
  ]),
  lines('Unreadable messages', 'Moved to the dead-letter queue by a process.', 'short', [
    ['sum by (job) (increase(fleet_unreadable_messages_total[1h]))', '{{job}}'],
  ]),
  lines('Memory until publishers wait', 'At the limit RabbitMQ accepts no messages.', 'bytes', [
    ['sum(rabbitmq_process_resident_memory_bytes)', 'used'],
    ['sum(rabbitmq_resident_memory_limit_bytes)', 'limit'],
  ]),
  lines('Disk until publishers wait', 'The same for free disk space.', 'bytes', [
    ['sum(rabbitmq_disk_space_available_bytes)', 'free'],
    ['sum(rabbitmq_disk_space_available_limit_bytes)', 'limit'],
  ]),
  lines('Connections and channels', 'Steady lines are healthy; a sawtooth means that a client keeps reconnecting.', 'short', [
    ['sum(rabbitmq_connections)', 'connections'],
    ['sum(rabbitmq_channels)', 'channels'],
  ]),
];

/** File name -> title and content. */
export const dashboards: Record<string, [title: string, content: Item[]]> = {
  'fleet-overview': ['Fleet overview', fleetOverview],
  optimisation: ['Optimisation', optimisation],
  'workers-gpus': ['Workers and GPUs', workersGpus],
  'api-broker': ['API and broker', apiBroker],
};
