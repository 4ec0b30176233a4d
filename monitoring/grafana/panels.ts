// What the dashboards show; `build.ts` writes them from this. A panel says what it means to the reader, and each of its
// queries has data while the fleet works, which scripts/check-monitoring verifies.
import { lines, p50p95, row, stat, type Item } from './panel.ts';

type Steps = [number | null, string][];
const RED_ABOVE_0: Steps = [[null, 'green'], [1, 'red']];
const RED_AT_0: Steps = [[null, 'red'], [1, 'green']];

const fleetOverview: Item[] = [
  stat('Waiting', 'Jobs that wait for a worker.', 'short', 'fleet:backlog_jobs:sum', { steps: [[null, 'green'], [20, 'orange'], [200, 'red']] }),
  stat('Running', 'Jobs on a worker now.', 'short', 'fleet:jobs:max{state="running"}'),
  stat('Oldest waiting', 'Age of the job that has waited longest.', 's', 'max(fleet:backlog_oldest_age_seconds:max)', { steps: [[null, 'green'], [600, 'orange'], [3600, 'red']] }),
  stat('Workers', 'Workers that were heard of lately.', 'short', 'fleet:workers:sum', { steps: RED_AT_0 }),
  stat('Failed, 30 min', 'Share of the jobs that ended in the last 30 minutes.', 'percentunit', 'fleet:jobs_failed:ratio_increase30m', { steps: [[null, 'green'], [0.05, 'orange'], [0.1, 'red']] }),
  stat('Cost, 24 h', 'Price of the GPU time of finished jobs.', 'currencyUSD', 'fleet:cost_usd:increase1d'),
  row('Work'),
  lines('Submissions', 'Accepted, and answered with the job of an earlier request of the same key; refused ones by reason.', 'reqps', [
    ['sum by (outcome) (rate(fleet_submissions_total[$__rate_interval]))', '{{outcome}}'],
    ['sum by (code) (rate(fleet_submissions_refused_total[$__rate_interval]))', 'refused: {{code}}'],
  ]),
  lines('Jobs that ended', 'Completed, failed and cancelled, by minute.', 'cpm', [
    ['sum by (state) (rate(fleet:jobs_finished_total:max[$__rate_interval])) * 60', '{{state}}'],
  ], { stacked: true }),
  lines('Jobs by state', 'Waiting for a plan or a worker, released to a pool, running.', 'short', [['fleet:jobs:max', '{{state}}']], { stacked: true }),
  lines('Waiting by tier', "'unplanned' has no tier yet.", 'short', [['fleet:backlog_jobs:max', '{{tier}}']], { stacked: true }),
  lines('Age of the oldest by tier', 'A job that grows old while others of its tier go is stuck.', 's', [
    ['fleet:backlog_oldest_age_seconds:max', '{{tier}}'],
  ]),
  lines('From submission to claim', 'How long a job waits until a worker takes it first.', 's', p50p95('fleet_job_wait_duration_seconds', 'tier')),
  lines('A whole run', 'From claim to stored video, of completed jobs.', 's', p50p95('fleet_run_duration_seconds', 'tier')),
  lines('Tried again', 'After a failure or a lost worker, handed back by a stopping worker, by the owner; leases that ran out.', 'cpm', [
    ['sum by (cause) (rate(fleet:jobs_requeued_total:max[$__rate_interval])) * 60', '{{cause}}'],
    ['sum(rate(fleet_leases_expired_total[$__rate_interval])) * 60', 'lease ran out'],
  ]),
  lines('Video made', 'Seconds of playback for each second.', 'short', [
    ['sum(rate(fleet_video_seconds_total[$__rate_interval]))', 'playback'],
  ]),
];

const optimisation: Item[] = [
  stat('Cache hit rate, 1 h', 'Look-ups whose embeddings were there.', 'percentunit', 'fleet:embedding_cache_hits:ratio_increase1h', { highest: 1 }),
  stat('Average steps, 1 h', 'Denoising steps of a finished video.', 'short', 'sum(rate(fleet_steps_used_sum[1h])) / sum(rate(fleet_steps_used_count[1h]))'),
  stat('Steps skipped, 1 h', 'Share of the steps that the step cache answered.', 'percentunit', 'sum(rate(fleet_steps_skipped_total[1h])) / (sum(rate(fleet_steps_skipped_total[1h])) + sum(rate(fleet_steps_computed_total[1h])))', { highest: 1 }),
  stat('Saved', 'Against fixed steps without caches, all time; runs that cost more are subtracted.', 'currencyUSD', 'sum(fleet:saved_usd:max)', { negative: true }),
  stat('GPU time saved', 'The same in seconds.', 's', 'sum(fleet:saved_seconds:max)', { negative: true }),
  stat('Estimates off by', 'Median of |estimate - run| / run over recent runs.', 'percentunit', 'max(fleet_estimate_error_ratio)', { steps: [[null, 'green'], [0.3, 'orange']] }),
  row('Embedding cache'),
  lines('Look-ups', "By what they found. 'off': the cache is turned off.", 'ops', [
    ['sum by (result) (rate(fleet_embedding_cache_lookups_total[$__rate_interval]))', '{{result}}'],
  ], { stacked: true, width: 6 }),
  lines('Where embeddings came from', "The worker's own memory, Redis, Redis after waiting for a worker that was encoding them, or the text encoders.", 'ops', [
    ['sum by (place) (rate(fleet_embedding_cache_lookups_total[$__rate_interval]))', '{{place}}'],
  ], { stacked: true, width: 6 }),
  lines('Encoding time saved by hits', 'Over the last hour.', 's', [
    ['sum(increase(fleet_embedding_cache_saved_seconds_total[1h]))', 'saved'],
  ], { width: 6 }),
  lines('Errors', 'Failed calls of Redis, and values that were damaged or foreign; each is a miss, never a failed job.', 'cpm', [
    ['sum(rate(fleet_embedding_cache_errors_total[$__rate_interval])) * 60', 'errors'],
  ], { width: 6 }),
  row('Steps'),
  lines('Average steps by tier', 'Of finished videos.', 'short', [
    ['sum by (tier) (rate(fleet_steps_used_sum[$__rate_interval])) / (sum by (tier) (rate(fleet_steps_used_count[$__rate_interval])) > 0)', '{{tier}}'],
  ]),
  lines('Average steps by complexity', 'Simple prompts should need the fewest.', 'short', [
    ['sum by (complexity) (rate(fleet_steps_used_sum[$__rate_interval])) / (sum by (complexity) (rate(fleet_steps_used_count[$__rate_interval])) > 0)', '{{complexity}}'],
  ]),
  lines('Steps planned', 'Median of what the scheduler plans, by tier.', 'short', [
    ['histogram_quantile(0.5, sum by (le, tier) (rate(fleet_steps_planned_bucket[$__rate_interval])))', '{{tier}}'],
  ]),
  lines('Computed and skipped', 'Steps through the transformer, and steps that the step cache answered.', 'ops', [
    ['sum by (tier) (rate(fleet_steps_computed_total[$__rate_interval]))', '{{tier}} computed'],
    ['sum by (tier) (rate(fleet_steps_skipped_total[$__rate_interval]))', '{{tier}} skipped'],
  ]),
  lines('Plans', 'By complexity of the prompt and what decided the steps.', 'cpm', [
    ['sum by (complexity, reason) (rate(fleet_jobs_planned_total[$__rate_interval])) * 60', '{{complexity}}: {{reason}}'],
  ], { stacked: true }),
  lines('Learnt to spare', 'Steps that learning takes off, by tier and complexity.', 'short', [
    ['max by (tier, complexity) (fleet_learned_steps_lower)', '{{tier}} {{complexity}}'],
  ]),
  row('Money'),
  lines('Saved by tier', 'All time, net.', 'currencyUSD', [['sum by (tier) (fleet:saved_usd:max)', '{{tier}}']], { stacked: true, negative: true }),
  lines('Saved by complexity', 'All time, net.', 'currencyUSD', [['sum by (complexity) (fleet:saved_usd:max)', '{{complexity}}']], { stacked: true, negative: true }),
  lines('Cost of a video', 'By tier, over the last day.', 'currencyUSD', [
    ['sum by (tier) (increase(fleet:cost_usd_total:max[1d])) / (sum by (tier) (increase(fleet:jobs_finished_total:max{state="completed"}[1d])) > 0)', '{{tier}}'],
  ]),
  lines('Cost of a day', 'Of the jobs that finished within 24 hours, and what it may be (cost.budget_day_usd; 0 is no budget).', 'currencyUSD', [
    ['fleet:cost_usd:increase1d', 'cost'],
    ['fleet:cost_budget_day_usd:max', 'budget'],
  ]),
  lines('GPU time by tier', 'Of the jobs that were completed within an hour, all their attempts.', 's', [
    ['sum by (tier) (increase(fleet:gpu_seconds_total:max[1h]))', '{{tier}}'],
  ], { stacked: true }),
  lines('GPU time saved by tier', 'All time, net.', 's', [['sum by (tier) (fleet:saved_seconds:max)', '{{tier}}']], { stacked: true, negative: true }),
];

const workersGpus: Item[] = [
  stat('Workers', 'Live workers.', 'short', 'fleet:workers:sum', { steps: RED_AT_0 }),
  stat('Slots used', 'Slots that have a job.', 'short', 'fleet:worker_slots:sum{state="used"}'),
  stat('Slots free', 'Slots that wait for one.', 'short', 'fleet:worker_slots:sum{state="free"}'),
  stat('Not consuming', 'Workers that cannot hear of work over RabbitMQ; they poll.', 'short', 'count(fleet_worker_consuming) - sum(fleet_worker_consuming)', { steps: RED_ABOVE_0 }),
  stat('Leases lost, 1 h', 'While working: a pause or a slow database.', 'short', 'sum(increase(fleet_leases_lost_total[1h]))', { steps: RED_ABOVE_0 }),
  stat('Late writes refused, 1 h', "Writes of a worker whose lease was another's by then.", 'short', 'sum(increase(fleet_stale_writes_refused_total[1h]))', { steps: RED_ABOVE_0 }),
  row('Use'),
  lines('Busy', 'Share of the time in which a worker had a job.', 'percentunit', [
    ['sum by (instance) (rate(fleet_worker_busy_seconds_total[$__rate_interval]))', '{{instance}}'],
  ], { highest: 1 }),
  lines('Slots by pool', 'Of live workers.', 'short', [['max by (pool, state) (fleet_worker_slots)', '{{pool}} {{state}}']], { stacked: true }),
  lines('Last sign of life', 'Of the model while it works, of the loop while it waits.', 's', [
    ['time() - fleet_worker_last_progress_timestamp_seconds', '{{instance}}'],
  ]),
  row('Devices'),
  lines('GPU computing', 'By NVML; 0 on a CPU.', 'percentunit', [['fleet_gpu_utilisation_ratio', '{{instance}}']], { highest: 1 }),
  lines('Memory', 'Of the GPU by NVML; on a CPU, of the process and of the machine.', 'bytes', [
    ['fleet_device_memory_bytes', '{{instance}} {{state}}'],
  ]),
  lines('Attention at the start', 'What the self-check reached; 0 where the device has no fused attention to check.', 'flops', [
    ['fleet_attention_flops_per_second', '{{instance}}'],
  ]),
  row('Runs'),
  lines('Seconds of each stage', 'Medians of completed runs.', 's', [
    ['histogram_quantile(0.5, sum by (le, stage) (rate(fleet_stage_duration_seconds_bucket[$__rate_interval])))', '{{stage}}'],
  ]),
  lines('Ends of runs', 'By outcome, each minute.', 'cpm', [
    ['sum by (outcome) (rate(fleet_runs_total[$__rate_interval])) * 60', '{{outcome}}'],
  ], { stacked: true }),
  lines('Failures', 'By code, each minute.', 'cpm', [
    ['sum by (code) (rate(fleet_run_failures_total[$__rate_interval])) * 60', '{{code}}'],
  ], { stacked: true }),
  lines('Checkpoints', 'Stored, begun from, jobs handed back.', 'cpm', [
    ['sum(rate(fleet_checkpoints_total[$__rate_interval])) * 60', 'stored'],
    ['sum(rate(fleet_resumes_total[$__rate_interval])) * 60', 'begun from'],
    ['sum(rate(fleet_jobs_handed_back_total[$__rate_interval])) * 60', 'handed back'],
  ]),
  lines('Claims that came late', 'Messages that spoke of a job which was no longer there to claim. Harmless; many mean doubled messages.', 'cpm', [
    ['sum(rate(fleet_stale_claims_total[$__rate_interval])) * 60', 'late claims'],
  ]),
  lines('Silent workers', 'Given up because they were not heard of.', 'short', [
    ['sum(increase(fleet_workers_silent_total[1h]))', 'silent'],
  ]),
];

const apiBroker: Item[] = [
  stat('Requests', 'Answered each second.', 'reqps', 'sum(rate(fleet_http_request_duration_seconds_count[$__rate_interval]))'),
  stat('Answers 5xx', 'Share of all answers.', 'percentunit', '(sum(rate(fleet_http_request_duration_seconds_count{status=~"5.."}[$__rate_interval])) or vector(0)) / sum(rate(fleet_http_request_duration_seconds_count[$__rate_interval]))', { steps: [[null, 'green'], [0.01, 'red']] }),
  stat('Event streams', 'Open pages and clients that listen.', 'short', 'sum(fleet_event_streams)'),
  stat('Leaders', 'Schedulers that lead; exactly one should.', 'short', 'sum(fleet_scheduler_leading)', { steps: [[null, 'red'], [1, 'green'], [2, 'red']] }),
  stat('Dead letters', 'Messages that nobody could read.', 'short', 'fleet:dead_letters:max', { steps: RED_ABOVE_0 }),
  stat('Services down', 'Connections to Postgres, RabbitMQ or Redis that a process misses.', 'short', 'count(fleet_dependency_up) - sum(fleet_dependency_up)', { steps: RED_ABOVE_0 }),
  row('API'),
  lines('Requests by route', 'Rate.', 'reqps', [
    ['sum by (route, method) (rate(fleet_http_request_duration_seconds_count[$__rate_interval]))', '{{method}} {{route}}'],
  ]),
  lines('Answers by status', 'Errors.', 'reqps', [
    ['sum by (status) (rate(fleet_http_request_duration_seconds_count[$__rate_interval]))', '{{status}}'],
  ], { stacked: true }),
  lines('Time to answer', 'Duration; streams are not counted until they end.', 's', p50p95('fleet_http_request_duration_seconds', 'route')),
  lines('Jobs in one insert', 'Submissions that share a transaction under load.', 'short', [
    ['sum(rate(fleet_ingest_rows_total[$__rate_interval])) / (sum(rate(fleet_ingest_batches_total[$__rate_interval])) > 0)', 'jobs'],
  ]),
  lines('Database connections', 'Of the API processes.', 'short', [['sum by (state) (fleet_database_connections)', '{{state}}']], { stacked: true }),
  lines('Services', '1 while a process is answered by the service.', 'short', [
    ['min by (job, dependency) (fleet_dependency_up)', '{{job}}: {{dependency}}'],
  ], { highest: 1 }),
  row('Scheduler'),
  lines('A round', 'Planning and dispatch.', 's', p50p95('fleet_scheduler_round_duration_seconds')),
  lines('Since the last round', 'Of the scheduler that leads.', 's', [
    ['time() - max(fleet_scheduler_last_round_timestamp_seconds)', 'age'],
  ]),
  lines('Released and told again', 'A release is told again when nobody has claimed it; the ones RabbitMQ did not take are found by polling.', 'cpm', [
    ['sum(rate(fleet_jobs_released_total[$__rate_interval])) * 60', 'released'],
    ['sum(rate(fleet_jobs_reannounced_total[$__rate_interval])) * 60', 'told again'],
    ['sum(rate(fleet_announce_failures_total[$__rate_interval])) * 60', 'not taken by RabbitMQ'],
  ]),
  row('RabbitMQ'),
  lines('Messages', 'Ready and delivered but not yet acked. Few: a queue is kept as short as the free slots.', 'short', [
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
  lines('Memory until publishers wait', 'RabbitMQ stops taking messages at the limit.', 'bytes', [
    ['sum(rabbitmq_process_resident_memory_bytes)', 'used'],
    ['sum(rabbitmq_resident_memory_limit_bytes)', 'limit'],
  ]),
  lines('Disk until publishers wait', 'The same for free disk.', 'bytes', [
    ['sum(rabbitmq_disk_space_available_bytes)', 'free'],
    ['sum(rabbitmq_disk_space_available_limit_bytes)', 'limit'],
  ]),
  lines('Connections and channels', 'Steady lines are healthy; a saw is a client that reconnects.', 'short', [
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
