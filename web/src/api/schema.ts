/** Types of the API. Written by scripts/api-types.mjs from docs/openapi.json; do not edit. */

/** GPU time and its price. */
export interface AmountView {
  /** GPU seconds; negative if more was used than saved. */
  gpu_seconds: number;
  /** Price in US dollars. */
  usd: number;
}

/** How a prompt would be rendered. */
export interface AnalysisView {
  /** Embedded guidance scale. */
  cfg_scale: number;
  /** Complexity class of the prompt. */
  complexity: Complexity;
  /** Estimated duration of the run in seconds if the embeddings are cached. */
  estimate_cached_s: number;
  /** Estimated duration of the run in seconds if the embeddings are not cached. */
  estimate_s: number;
  /** Estimated cost of the run in US dollars. */
  estimated_cost_usd: number;
  /** Estimated duration of the run in minutes, without queueing. Assumes cached embeddings if `cache_available`. */
  estimated_time_min: number;
  /** The seven factors of the score, each with the words of the prompt that contributed to it. */
  factors: FactorScore[];
  /** The value from the request. */
  flow_reverse: boolean;
  /** Number of denoising steps. */
  infer_steps: number;
  /** How many times as many frames per second interpolation would make; null for none. */
  interpolate?: number | null;
  progressive?: ProgressivePlan | null;
  /** Tier in which it would run. */
  quality_tier: Tier;
  /** Complexity score: the sum of the factors. */
  score: number;
  /** Step caching that would be used. */
  step_cache: StepCachePlan;
  /** Reason for the number of steps. */
  steps_reason: StepsReason;
}

/** Response of `GET /api/optimization/analyze`. */
export interface AnalyzeView {
  /** How it would be rendered. */
  analysis: AnalysisView;
  /**
   * Whether this prompt's embeddings are cached. Only true for prompts that the caller's tenant has used itself, so that the
   * cache does not reveal other tenants' prompts.
   */
  cache_available: boolean;
  forecast?: ForecastView | null;
  image_crop?: ImageCrop | null;
  /** The prompt that was analysed. */
  prompt: string;
  /**
   * What the model's text encoders read of the prompt and of the negative prompt; null while the API does not have the model's
   * tokenizers.
   */
  prompt_tokens?: PromptTokensView[] | null;
  /**
   * Words of the prompt, at most eight, that the model was not trained on and will ignore. Always empty for a model that was
   * trained on everything.
   */
  unknown_words: string[];
}

/** One aspect ratio of a named size. */
export interface AspectView {
  /** Value for the request's `aspect_ratio`, such as `16:9`. */
  aspect: string;
  /** Rendered height in pixels. */
  height: number;
  /** Rendered width in pixels. */
  width: number;
}

/** One accepted request of a batch. */
export interface BatchItem {
  /** False if this batch was submitted before; the job is then the one from that time. */
  created: boolean;
  /** Position of the request in the batch, from 0. */
  index: number;
  /** The job. */
  job: JobView;
}

/** Several video requests. */
export interface BatchRequest {
  /** The requests, each with the fields of `POST /api/generate`. */
  requests: VideoRequest[];
}

/** The jobs of a batch. */
export interface BatchView {
  /** One entry for each request, in order. */
  jobs: BatchItem[];
}

/** Budgets. */
export interface BudgetListView {
  /** By tenant, period and unit. */
  budgets: BudgetView[];
}

/** The period of a budget, which begins at midnight UTC. */
export type BudgetPeriod = "day" | "month";

/** What a budget counts. */
export type BudgetUnit = "usd" | "gpu_seconds";

/** A budget and its use. */
export interface BudgetView {
  /** The limit, in the unit. */
  amount: number;
  /** Its id. */
  budget_id: string;
  /** The period, which begins at midnight UTC. */
  period: BudgetPeriod;
  /** Start of the next period. */
  renews_at: string;
  /** `ok`, `warning` or `spent`. */
  state: string;
  /** Whether submissions are refused once the amount is used. */
  stops: boolean;
  /** Name of the tenant. */
  tenant: string;
  /** What is counted. */
  unit: BudgetUnit;
  /** Used in the current period, in the unit. */
  used: number;
  /** Share of the amount at which a warning is sent. */
  warn_share: number;
}

/** Where a job's embeddings came from. */
export type CacheMatch = "miss" | "identical" | "similar" | "off";

/** The embedding cache. */
export interface CacheStatsView {
  /** Whether embeddings are cached. */
  enabled: boolean;
  /** Share of look-ups that found an embedding, in percent. */
  hit_rate: number;
  /** Number of look-ups that found an embedding, in a worker's memory or in Redis. */
  keyspace_hits: number;
  /** Number of look-ups that found none. */
  keyspace_misses: number;
  /** `healthy`, `unavailable` or `disabled`. */
  status: string;
  /** Number of stored embeddings. */
  total_keys: number;
}

/** One of several candidates at the moment of the choice. */
export interface Candidate {
  draft?: DraftRecord | null;
  /** Its job. */
  job_id: string;
  /** Its place by the built-in measures, 1 for the best; absent when the drafts could not be compared. */
  rank?: number | null;
  /** Its seed; beyond 2^53 as a string of digits. */
  seed: Seed;
}

/** State of one dependency. */
export interface CheckView {
  /** Consequence of the outage; absent when the dependency is up. */
  detail?: string | null;
  /** `ok`, `down` or `off`. */
  status: string;
}

/** State of each dependency. */
export interface ChecksView {
  /** RabbitMQ. */
  broker: CheckView;
  /** Redis. */
  cache: CheckView;
  /** Postgres. */
  database: CheckView;
}

/** How one candidate was chosen; kept with its job. */
export interface Choice {
  /** Who chose. */
  by: Judge;
  /** All candidates, in the order of their submission. */
  candidates: Candidate[];
}

/** How demanding a prompt is for the model. */
export type Complexity = "simple" | "moderate" | "complex" | "very_complex";

/** Limits of sizes given as `WIDTHxHEIGHT`. */
export interface CustomSizeView {
  /** Each side must be a multiple of this, in pixels. */
  multiple_of: number;
  /** Largest allowed number of pixels per frame. */
  pixels_max: number;
  /** Shortest allowed side, in pixels. */
  side_min: number;
}

/** What happens to a request whose deadline probably cannot be met. */
export type DeadlinePolicy = "accept" | "reject";

/** Deliveries. */
export interface DeliveryListView {
  /** Newest event first. */
  deliveries: DeliveryView[];
  /** Send this as `cursor` to get the next page; null on the last page. */
  next_cursor?: string | null;
}

/** The delivery of one event to one receiver. */
export interface DeliveryView {
  /** Time of the event. */
  at: string;
  /** Number of attempts. */
  attempts: number;
  /** Its id: the `webhook-id` header of every attempt. */
  delivery_id: string;
  /** Time at which it was delivered or given up. */
  ended_at?: string | null;
  /** The job. */
  job_id: string;
  /** Kind of the event. */
  kind: string;
  /** What was wrong with the last attempt. */
  last_error?: string | null;
  /** HTTP status of the last response. */
  last_status?: number | null;
  /** Earliest time of the next attempt; null unless pending. */
  next_at?: string | null;
  /** `pending`, `delivered` or `failed` (given up). */
  state: string;
  /** Where it is sent. */
  url: string;
  /** The receiver; null for the job's own `webhook`. */
  webhook_id?: string | null;
}

/** A field in which a replay differs from the original. */
export interface Difference {
  /** Its name; dots lead into objects. */
  field: string;
  /** Its value for the original; null if it has none. */
  original: unknown;
  /** Its value for the replay; null if it has none. */
  replay: unknown;
}

/** A finished draft. */
export interface DraftRecord {
  /** Price of the GPU seconds, US dollars. */
  cost_usd: number;
  /** GPU seconds of the job so far, over all attempts. */
  gpu_seconds: number;
  scores?: DraftScores | null;
  /** Denoising steps that it covers. */
  step: number;
}

/** What was measured on the frames of a draft. Only comparable between drafts of one prompt and one step. */
export interface DraftScores {
  /** Standard deviation of the brightness, 0 to 0.5. */
  contrast: number;
  /** Mean second difference over three consecutive frames, 0 to 2: change that reverses at once. */
  flicker: number;
  /** Mean difference between consecutive frames, 0 to 1. */
  motion: number;
  /** Variance of the Laplacian of the brightness, mean over the frames. */
  sharpness: number;
}

/** Jobs that paused after their first steps. */
export interface DraftsView {
  /** Number of drafts that were continued. */
  continued: number;
  /** Number of runs that paused. */
  drafted: number;
  /** GPU time of the runs that paused in seconds, whether or not the draft was continued. */
  gpu_seconds: number;
}

/** One factor of the prompt analysis and the words that caused it. */
export interface FactorScore {
  /** `motion`, `scene`, `camera`, `lighting`, `quality`, `length` or `subjects`. */
  factor: string;
  /** Contribution to the total score, 0 or more. */
  score: number;
  /** The words of the prompt that caused it, as written there. */
  words: string[];
}

/** Why a run ended without a video. */
export interface Failure {
  /** A stable code for programs, for example `out_of_memory`. */
  code: string;
  /** What happened and what to do, for people. */
  reason: string;
}

/** One thing wrong with a request. */
export interface FieldError {
  /** The field's name in the request. */
  field: string;
  /** What is wrong and what would be right. */
  reason: string;
}

/** When a request would be rendered if it was submitted now. */
export interface ForecastView {
  /** Whether `deadline_s` of the request would be met; null without one. */
  deadline_met?: boolean | null;
  /** The shortest `deadline_s` that would be met. */
  feasible_deadline_s: number;
  /** Estimated seconds until the video is finished. */
  finish_s: number;
  /** Estimated seconds until a worker starts it. */
  start_s: number;
}

/** Numbers of a group of jobs. */
export interface GroupView {
  /** Mean duration of a run in seconds. */
  avg_run_s: number;
  /** Mean planned steps per completed video. */
  avg_steps: number;
  /** How many of them used cached embeddings. */
  cache_hits: number;
  /** Number of completed jobs. */
  completed: number;
  /** Cost in US dollars. */
  cost_usd: number;
  /** The tier or complexity. */
  name: string;
  /** Seconds saved. */
  saved_s: number;
  /** US dollars saved. */
  saved_usd: number;
}

/** Health of the API process and its dependencies. */
export interface HealthView {
  /** State of each dependency. */
  checks: ChecksView;
  /** `ok`, `degraded` (slower, but nothing is lost) or `unavailable` (the database is unavailable). */
  status: string;
  /** Version of the API process. */
  version: string;
  /** Number of live workers. */
  workers: number;
}

/** The part of a picture that the video shows, in the picture's pixels: the largest one with the video's aspect, at its centre. */
export interface ImageCrop {
  /** Its height. */
  height: number;
  /** Its width. */
  width: number;
  /** Pixels left of it. */
  x: number;
  /** Pixels above it. */
  y: number;
}

/** What a model does with a picture, named by `image` in `fleet.toml`. */
export type ImageInput = "none" | "required";

/** How a request gives a picture. */
export type ImageSource = string | ImageUse;

/** A stored picture. */
export interface ImageUse {
  /** Pixels. Filled in by the fleet. */
  height?: number | null;
  /** Its id. */
  id: string;
  /** SHA-256 of the stored file. Filled in by the fleet; a request that gives another one is refused. */
  sha256?: string | null;
  /** Pixels. Filled in by the fleet. */
  width?: number | null;
}

/** An uploaded picture. */
export interface ImageView {
  /** Size of the stored PNG. */
  bytes: number;
  /** When it will be removed unless a job uses it by then. Uploading it again postpones this. */
  expires_at: string;
  /** Height in pixels. */
  height: number;
  /** Id for the request's `image`. */
  id: string;
  /** SHA-256 of the stored PNG. */
  sha256: string;
  /** Path of a small JPEG of it. */
  thumbnail_url: string;
  /** Path of the stored PNG. */
  url: string;
  /** Width in pixels, after its orientation was applied. */
  width: number;
}

/** What interpolation did to a finished video; kept in its record. */
export interface InterpolationRecord {
  /** Scene cuts, at which frames were repeated instead of blended. */
  cuts: number;
  /** How many times as many frames per second. */
  factor: number;
  /** Frames per second of the video. */
  fps: number;
  /** Frames of the video. */
  frames: number;
  /** Millions of pixels of all new frames; the time grows with them. */
  megapixels: number;
  /** Fingerprint of the interpolator's weights. */
  weights: string;
}

/** The picture that a job's video begins from. */
export interface JobImageView {
  crop?: ImageCrop | null;
  /** Path of a small JPEG of it. */
  thumbnail_url: string;
  /** Path of the stored PNG. */
  url: string;
}

/** One page. */
export interface JobListView {
  /** The jobs, newest first. */
  jobs: JobView[];
  /**
   * Send this as `cursor` to get the next page; null on the last page. With a filter, a page may be short or even empty although
   * more pages follow.
   */
  next_cursor?: string | null;
}

/** A run: from a worker's claim of the job to the end of its lease. */
export interface JobRunView {
  /** Number of the attempt. */
  attempt: number;
  /** Price of the GPU seconds in US dollars. */
  cost_usd: number;
  /** Device of the worker. */
  device: string;
  /** Time of its end. */
  ended_at: string;
  /** GPU seconds. */
  gpu_seconds: number;
  /** Whether the worker was lost. Its GPU seconds are then an estimate. */
  lost: boolean;
  /** Number of denoising steps that the next run had to compute again. */
  lost_steps: number;
  /**
   * How it ended: `completed`, `drafted`, `failed`, `cancelled`, `retrying` (a fault; the job is tried again) or `handed_back`
   * (the worker stopped; the job continues elsewhere).
   */
  outcome: string;
  /** Whether an earlier run of the job ended in a fault, so that this one repeats work. */
  repeated: boolean;
  /** Time of the claim. */
  started_at: string;
  /** Name of the worker. */
  worker: string;
}

/** The runs of a job. */
export interface JobRunsView {
  /** Runs that have ended, oldest first. */
  runs: JobRunView[];
}

/** Where a job is, as users see it. */
export type JobStatus = "queued" | "scheduled" | "running" | "drafted" | "completed" | "failed" | "cancelled";

/** A job. */
export interface JobView {
  /** Number of attempts by workers since the job was submitted or last retried. */
  attempts: number;
  /** Whether a cancellation was requested that has not taken effect yet. */
  cancel_requested: boolean;
  choice?: Choice | null;
  /** Time of submission. */
  created_at: string;
  /** Time at which its owner deleted it. It can be restored until the retention period ends. */
  deleted_at?: string | null;
  draft?: DraftRecord | null;
  /** Seconds of playback. */
  duration_s: number;
  failure?: Failure | null;
  /** Time at which it completed, failed or was cancelled. */
  finished_at?: string | null;
  /** Group of candidates that the job belongs to; null for a video by itself. */
  group_id?: string | null;
  image?: JobImageView | null;
  /** Id of the job and of its video. */
  job_id: string;
  /** Paths of related resources and actions. */
  links: Links;
  /** Earliest time of the next attempt after a failed one. */
  not_before?: string | null;
  /** What the optimisations planned and did. */
  optimization: OptimizationView;
  preview?: PreviewView | null;
  progress?: ProgressView | null;
  /**
   * What the model's text encoders read of the prompt and of the negative prompt; null while the API does not have the model's
   * tokenizers.
   */
  prompt_tokens?: PromptTokensView[] | null;
  /** Number of jobs that will start before this one on the same kind of worker; null unless the job is waiting. */
  queue_position?: number | null;
  /** Estimated seconds until a worker starts it; null unless the job is waiting and a suitable worker is available. */
  queue_wait_s?: number | null;
  record?: RunRecord | null;
  /** The job that this one renders again, to compare the bytes; null for all others. */
  replays?: string | null;
  /** The request with `seed` and `model` filled in. Sending it again produces the same video. */
  request: VideoRequest;
  /** Whether the fleet chose the seed at random. */
  seed_drawn: boolean;
  /** Size, length and frame rate that the model renders for the request. */
  shape: RenderShape;
  /** Time at which a worker first started it since it was submitted or last retried. */
  started_at?: string | null;
  /** State of the job. */
  status: JobStatus;
  /** Estimated GPU seconds that cancelling the job saved; null unless it was cancelled after it had started. */
  stopping_saved_s?: number | null;
  video?: VideoView | null;
  /** The worker that is rendering it or rendered it. */
  worker_id?: string | null;
}

/** Who chooses among candidates. */
export type Judge = "measures" | "person";

/** All keys of the fleet. */
export interface KeyListView {
  /** The keys, by tenant and time. */
  keys: KeyView[];
}

/** A key, without its secret. */
export interface KeyView {
  /** When it was issued. */
  created_at: string;
  /** Id of the key. */
  key_id: string;
  /** The label that its owner chose. */
  label: string;
  /** When it was last used, to the minute. */
  last_used_at?: string | null;
  /** First characters of the key. */
  prefix: string;
  /** Its quota. */
  quota: QuotaBody;
  /** When it was revoked. */
  revoked_at?: string | null;
  /** `user` or `admin`. */
  role: string;
  /** Name of its tenant. */
  tenant: string;
}

/** A change of learning. */
export interface LearnedChange {
  /** True pauses learning, false resumes it. */
  frozen: boolean;
}

/** What was learned about one kind of job. */
export interface LearnedGroupView {
  /** Complexity class of the prompts. */
  complexity: Complexity;
  /** Number of steps by which plans are reduced compared with the prompt analysis. Plans never leave the tier's range. */
  lower_by: number;
  /** The model's id. */
  model: string;
  /** The requested tier, which may be `auto`. */
  quality_tier: QualityTier;
  /** Number of runs it was learned from. */
  runs: number;
}

/** What was learned from finished runs. */
export interface LearnedView {
  /** Whether plans use it. This requires the settings `optimization.learned_steps` and `optimization.adaptive_steps`. */
  enabled: boolean;
  /** Whether learning is paused. What was learned before stays in use. */
  frozen: boolean;
  /** One entry for each kind of job that has had a run. */
  groups: LearnedGroupView[];
}

/** Limits of requests. */
export interface LimitsView {
  /** Most requests in one batch. */
  batch_max: number;
  /** Largest request body, in bytes. */
  body_max_bytes: number;
  /** Largest `cfg_scale`. */
  cfg_scale_max: number;
  /** Largest `deadline_s`. */
  deadline_s_max: number;
  /** Most frames of an interpolated video; 0 where the fleet does not interpolate. */
  interpolated_frames_max: number;
  /** Most jobs on one page of the job list. */
  page_max: number;
  /** Longest prompt, in characters. */
  prompt_chars_max: number;
  /** Largest `true_cfg_scale`. */
  true_cfg_scale_max: number;
}

/** Paths of a job's related resources and actions. */
export interface Links {
  /** POST here to cancel the job; null when it has ended. */
  cancel?: string | null;
  /** POST here to continue the job; null unless it is drafted. */
  continue?: string | null;
  /** Stream of its events (server-sent events). */
  events: string;
  /** All candidates of its group; null for a video by itself. */
  group?: string | null;
  /** POST here to render the job again and compare the bytes; null until completed. */
  replay?: string | null;
  /** POST here to retry the job; null unless it failed or was cancelled. */
  retry?: string | null;
  /** The job. */
  self: string;
  /** The MP4; null until completed. */
  video?: string | null;
}

/** All adapters that the caller may use. */
export interface LoraListView {
  /** By name; the caller's own before shared ones. */
  loras: LoraView[];
}

/** What an adapter that was trained for few steps needs. Each value applies where the request leaves it open. */
export interface LoraSampling {
  /** Flow-match shift. */
  flow_shift?: number | null;
  /** Embedded guidance. */
  guidance?: number | null;
  /** Denoising steps. */
  steps?: number | null;
}

/** An adapter of a request. */
export interface LoraUse {
  /** Hash of the adapter's file. Filled in by the fleet; a request that gives another one is refused. */
  fingerprint?: string | null;
  /** Its name among your own adapters, or among those that everybody may use. */
  name: string;
  sampling?: LoraSampling | null;
  /** How strongly it acts: 1 as it was trained, 0 not at all; negative values reverse it. */
  scale?: number;
}

/** An adapter that a request may name. */
export interface LoraView {
  /** Size of the file, bytes. */
  bytes: number;
  /** When it was stored. */
  created_at: string;
  /** What its owner says about it. */
  description: string;
  /** blake3 of the file. */
  fingerprint: string;
  /** Its id. */
  id: string;
  /** Layers of the model that it changes. */
  layers: number;
  /** The model that it belongs to. */
  model: string;
  /** Name for the request's `loras`. */
  name: string;
  /** Whether it is the caller's own. */
  own: boolean;
  /** Largest rank of its factors. */
  rank: number;
  /** Steps, shift and guidance that it was trained for. */
  sampling: LoraSampling;
  /** Whether every tenant may use it. */
  shared: boolean;
}

/** An adapter in a worker's weights. */
export interface MergedView {
  /** blake3 of its file. */
  fingerprint: string;
  /** The caller's name for it; null for an adapter that the caller cannot use. */
  name?: string | null;
  /** How strongly it acts. */
  scale: number;
}

/** All models. */
export interface ModelListView {
  /** Sorted by id. */
  models: ModelView[];
}

/** A model of the fleet. */
export interface ModelView {
  /** Number of steps of the baseline that savings are compared with. */
  baseline_steps: number;
  /** Rules for sizes given as `WIDTHxHEIGHT`. */
  custom_size: CustomSizeView;
  /** Whether requests without a `model` use this one. */
  default: boolean;
  /** What the model can and cannot render. */
  description: string;
  /** Example prompts. */
  examples: string[];
  /** Id for the request's `model`. */
  id: string;
  /** `required`: its videos begin from a picture. `none`: it takes no picture. */
  image: ImageInput;
  /** Largest `infer_steps`. */
  infer_steps_max: number;
  /** Name to show to people. */
  name: string;
  /** Whether requests can ask for `progressive`. */
  progressive: boolean;
  /** Named sizes. */
  sizes: SizeView[];
  /** Longest `video_length` that the model does well; longer ones are rendered too. */
  video_length_good_max: number;
  /** Longest `video_length`, in frames at 24 per second. */
  video_length_max: number;
  /** Shortest `video_length`, in frames. */
  video_length_min: number;
  /** A valid `video_length` is the shortest one plus a multiple of this. */
  video_length_step: number;
  /** Fingerprint of the model's weights. */
  weights_fingerprint: string;
  /** Number of live workers that have it loaded. */
  workers: number;
}

/** Where a job is moved to within its owner's queue: name exactly one of `before` and `to`. */
export interface MoveBody {
  /** Directly before this job, which must wait in the same queue: same owner and same model. */
  before?: string | null;
  to?: QueueEnd | null;
}

/** Effect of the optimisations. */
export interface OptimizationStatsView {
  /** Whether the number of steps adapts to the prompt. */
  adaptive_enabled: boolean;
  /** Mean planned steps per completed video; 0 if there is none. */
  avg_steps: number;
  /** Mean steps per completed video that ran through the transformer. */
  avg_steps_computed: number;
  /** Mean steps per completed video that the step cache replaced. */
  avg_steps_skipped: number;
  /** Whether embeddings are cached. */
  cache_enabled: boolean;
  /** Share of completed jobs with cached embeddings, in percent. */
  cache_hit_rate: number;
  /** Number of completed jobs whose embeddings came from the cache. */
  cache_hits: number;
  /** How many of the `cache_hits` used the embeddings of a similar prompt. */
  cache_hits_similar: number;
}

/** What the optimisations planned, and what they did during the run. */
export interface OptimizationView {
  /** Actual duration of the run in minutes. */
  actual_time?: number | null;
  /** Whether the prompt's embeddings came from the cache; null until completed. */
  cache_hit?: boolean | null;
  cache_match?: CacheMatch | null;
  /** Similarity of the prompt whose embeddings were used, 0 to 1; null unless a similar prompt was used. */
  cache_score?: number | null;
  complexity?: Complexity | null;
  /** Cost of the run in US dollars. */
  cost_usd?: number | null;
  /** Estimated duration of the run in minutes, without queueing. */
  estimated_time?: number | null;
  /** The factors of the score, each with the words of the prompt that contributed to it. */
  factors: FactorScore[];
  /** Planned number of denoising steps. */
  final_steps?: number | null;
  /** How many times as many frames per second interpolation makes; null for none. */
  interpolate?: number | null;
  /** False until the scheduler has planned the job. The values are then a forecast of the API, made with the same rules. */
  planned: boolean;
  progressive?: ProgressivePlan | null;
  quality_tier?: Tier | null;
  /** Seconds saved compared with the model's default steps and no caches. */
  saved_s?: number | null;
  /** US dollars saved compared with the model's default steps and no caches. */
  saved_usd?: number | null;
  /** Complexity score of the prompt: the sum of the factors. */
  score?: number | null;
  step_cache?: StepCachePlan | null;
  /** Number of steps that ran through the transformer. */
  steps_computed?: number | null;
  steps_reason?: StepsReason | null;
  /** Number of steps that the step cache replaced. */
  steps_skipped?: number | null;
}

/** An adapter as PEFT saves it. */
export interface PeftForm {
  /** The file adapter_config.json, which holds the scale. */
  config: string;
  /** The file adapter_model.safetensors. */
  file: string;
}

/** One hour or day. */
export interface PointView {
  /** Start of the period. */
  at: string;
  /** Mean duration of a run in seconds. */
  avg_run_s: number;
  /** Mean planned steps per completed video. */
  avg_steps: number;
  /** Mean time from submission to the first attempt, in seconds. */
  avg_wait_s: number;
  /** Share of completed jobs with cached embeddings, in percent. */
  cache_hit_rate: number;
  /** Number of completed jobs with cached embeddings. */
  cache_hits: number;
  /** Number of jobs cancelled. */
  cancelled: number;
  /** Number of jobs completed. */
  completed: number;
  /** Cost in US dollars. */
  cost_usd: number;
  /** Number of jobs failed. */
  failed: number;
  /** GPU time in seconds. */
  gpu_seconds: number;
  /** Seconds saved. */
  saved_s: number;
  /** US dollars saved. */
  saved_usd: number;
  /** Number of jobs submitted. */
  submitted: number;
}

/** The latest preview. */
export interface PreviewView {
  /** Number of denoising steps done when it was made. */
  step: number;
  /** Path of the animated WebP. */
  url: string;
}

/** The JSON body of every error. */
export interface ProblemBody {
  /** What happened in this case and what to do. */
  detail: string;
  /** The invalid fields, with the reason for each; absent when the problem is not about a field. */
  errors?: FieldError[];
  /** With `deadline-infeasible`: the shortest deadline that looks feasible, in seconds from submission. */
  feasible_deadline_s?: number | null;
  /** The HTTP status. */
  status: number;
  /** The kind of problem as a short phrase. */
  title: string;
  /** `urn:hunyuan-fleet:problem:<code>`. Stable; programs should compare this field. */
  type: string;
}

/** Progress of a running job. */
export interface ProgressView {
  stage?: Stage | null;
  /** Number of denoising steps done. */
  step: number;
  /** Total number of denoising steps. */
  steps: number;
}

/** How many of the early steps are taken at half the width and height. */
export type ProgressiveMode = "off" | "balanced" | "fast";

/** The early steps of a run. */
export interface ProgressivePlan {
  /** Height of these steps, pixels. */
  height: number;
  /** How many they are. */
  mode: ProgressiveMode;
  /** Shift of their schedule. */
  shift: number;
  /** Estimated time of one of them relative to a step at full size. */
  step_share: number;
  /** Number of these steps. */
  steps: number;
  /** Video tokens of these steps. */
  tokens: number;
  /** Width of these steps, pixels. */
  width: number;
}

/** The early steps of a finished run; kept in its record. */
export interface ProgressiveRecord {
  /** Height of these steps, pixels. */
  height: number;
  /** Number of these steps that ran through the transformer. */
  steps_computed: number;
  /** Number of these steps that the step cache replaced. */
  steps_skipped: number;
  /** Video tokens of these steps. */
  tokens: number;
  /** Width of these steps, pixels. */
  width: number;
}

/** Texts of a request that encoders read. */
export type PromptField = "prompt" | "negative_prompt";

/** What a text encoder reads of the prompt or of the negative prompt. */
export interface PromptTokensView {
  /** The encoder. */
  encoder: TextEncoder;
  /** The text. */
  field: PromptField;
  /** Tokens of the whole text. */
  tokens: number;
  /** Most tokens that this encoder reads. */
  tokens_max: number;
  /** The end of the text that it does not read, and that has no influence on the video through it; null if it reads all of it. */
  unread?: string | null;
}

/** A budget to be set. */
export interface PutBudget {
  /** The limit in the unit, above 0. */
  amount: number;
  /** The period, which begins at midnight UTC. */
  period: BudgetPeriod;
  /** Whether submissions are refused once the amount is used; default true. */
  stops?: boolean;
  /** Name of the tenant. */
  tenant: string;
  /** What is counted. */
  unit: BudgetUnit;
  /** Share of the amount at which a warning is sent; default 0.8. */
  warn_share?: number;
}

/** A receiver of the events of all jobs of the caller's tenant. */
export interface PutWebhook {
  /** The kinds of events that it receives; completed, failed and cancelled when null. */
  events?: string[] | null;
  /** Only events of jobs that are submitted with the caller's key; default false. */
  own_jobs_only?: boolean;
  /** Where deliveries are sent. */
  url: string;
}

/** What a user asks for: a tier, or `auto` to have one chosen by the prompt. */
export type QualityTier = "auto" | "preview" | "standard" | "premium";

/** An end of a queue. */
export type QueueEnd = "front" | "back";

/** The queue of the caller's tenant. */
export interface QueueView {
  /** Whether none of the tenant's jobs is started. */
  paused: boolean;
  /** Since when; null while the queue runs. */
  paused_at?: string | null;
}

/** Limits of a key for each day (UTC); null sets no limit. */
export interface QuotaBody {
  /** GPU seconds. */
  gpu_seconds_per_day?: number | null;
  /** US dollars, at the price of `cost.gpu_hour_usd`. */
  usd_per_day?: number | null;
}

/** The quota of the caller's key and how much of it is taken. */
export interface QuotaView {
  /** The limits. */
  quota: QuotaBody;
  /** When the next day begins. */
  renews_at: string;
  /** Estimated GPU seconds of its unfinished jobs; 0 without a quota. */
  reserved_gpu_seconds: number;
  /** GPU seconds that jobs of this key have used since the day began, including runs without a video. */
  used_gpu_seconds: number;
  /** Price of the used seconds, US dollars. */
  used_usd: number;
}

/** How far a job runs by itself. */
export type RenderMode = "full" | "draft";

/** What is rendered for a request: pixels, frames and playback rate. */
export interface RenderShape {
  /** Frames per second of playback. */
  fps: number;
  /** Frames: a length that the model's geometry allows, 4k+1 for HunyuanVideo. */
  frames: number;
  /** Height, pixels. */
  height: number;
  /** Width, pixels. */
  width: number;
}

/** A video and its replay, compared. */
export interface ReplayView {
  /** What the bytes depend on and differs, field by field, and the hashes if they differ. Empty until there is a comparison. */
  differences: Difference[];
  /** The job of the original. */
  original: string;
  /** Why there is no comparison; null if there is one or there will be. */
  reason?: string | null;
  /** The job of the replay. */
  replay: string;
  /** State of the replay. */
  status: JobStatus;
  /**
   * `pending` while the replay is not finished; `identical` if both videos have the same bytes; `different` if not;
   * `incomplete` if the replay ended without a video, or the original was purged or has no hash.
   */
  verdict: string;
}

/** What a video's bytes depend on besides the request, the shape, the plan and the adapters; and the bytes' hash. */
export interface Reproduction {
  /** blake3 of the embeddings that were used, those of the negative prompt included. */
  embeddings: string;
  /** Version and quality of the video encoder. */
  encoder: string;
  /** blake3 of the frames before they were encoded as a video. */
  frames: string;
  /** SHA-256 of the MP4, hex. */
  video_sha256: string;
  /** The worker that made it. */
  worker: WorkerIdentity;
}

/** Everything worth knowing about a finished run; kept with the job permanently. */
export interface RunRecord {
  /** Fingerprints of the adapters that were active. */
  adapters?: string[];
  /** Mean number of jobs that shared this run's forward passes, itself included; absent for a run that had them alone. */
  batch?: number | null;
  /** Worker and libtorch version. */
  build: string;
  /** Where the embeddings came from. */
  cache_match: CacheMatch;
  /** Similarity of the prompt whose embeddings were used, 0 to 1; only with `similar`. */
  cache_score?: number | null;
  /** Relative change of the predicted velocity from one computed step to the next, one value per step from the second. */
  convergence?: number[];
  /** Price of the GPU seconds, US dollars. */
  cost_usd: number;
  /** Device of the last attempt. */
  device: string;
  /** Devices that computed the last attempt together. */
  devices?: number;
  /** GPU seconds of this job over all attempts. */
  gpu_seconds: number;
  interpolation?: InterpolationRecord | null;
  progressive?: ProgressiveRecord | null;
  reproduction?: Reproduction | null;
  /** Why an existing checkpoint was not used; `None` when there was none or it was used. */
  restarted_because?: string | null;
  /** Step from which the last attempt resumed; `None` when it started from the beginning. */
  resumed_from?: number | null;
  /** Seconds saved against the fixed-step baseline without caches, by the fleet's cost model; may be negative. */
  saved_s: number;
  /** Price of the saved seconds, US dollars. */
  saved_usd: number;
  /** The saved seconds by optimisation. */
  savings?: Savings;
  /** Seconds by stage. */
  stages: StageSeconds;
  /** Steps that went through the transformer. */
  steps_computed: number;
  /** Steps that the step cache replaced. */
  steps_skipped: number;
}

/** Savings by optimisation. */
export interface SavedView {
  /** Fewer steps than the model's default, because the prompts need no more. */
  adaptive_steps: AmountView;
  /** Steps of drafts that nobody continued. */
  drafts: AmountView;
  /** Prompts whose embeddings were cached. */
  embedding_cache: AmountView;
  /** Steps that the step cache replaced. */
  step_cache: AmountView;
}

/** Seconds that each optimisation saved, by the fleet's cost model and this run's own speed. Their sum is the saving of the run. */
export interface Savings {
  /** Embeddings that were not computed again. */
  embeddings_s: number;
  /** Steps that the step cache replaced. */
  step_cache_s: number;
  /**
   * Fewer steps than the model's default, because the prompt needs no more, and steps at half the size; negative if the run needs
   * more.
   */
  steps_s: number;
}

/** GPU time, cost and savings of completed jobs. */
export interface SavingsView {
  /** Mean cost per completed video in US dollars; 0 if there is none. */
  cost_per_video_usd: number;
  /** Cost of the GPU time in US dollars. */
  cost_usd: number;
  /** GPU time in seconds, including all attempts. */
  gpu_seconds: number;
  /** Seconds saved compared with the model's default steps and no caches. */
  saved_s: number;
  /** Value of the saved time in US dollars. */
  saved_usd: number;
}

/** A number, or beyond 2^53 a string of digits, up to 18446744073709551615; -1 asks for a random seed. */
export type Seed = number | string;

/** Response of `GET /api/stats/series`. */
export interface SeriesView {
  /** Length of the period that one point covers, in seconds. */
  bucket_s: number;
  /** Oldest first. Periods without any event are omitted. */
  points: PointView[];
}

/** The current session. */
export interface SessionView {
  /** Whether the caller may see the whole fleet. */
  admin: boolean;
  /** Send this as `X-CSRF-Token` with every request that changes something; null when it is not needed. */
  csrf_token?: string | null;
  /** Whether this fleet requires keys. */
  keys_required: boolean;
}

/** Settings that clients may see. None of them is secret. */
export interface SettingsView {
  /** Whether the number of steps adapts to the prompt. */
  adaptive_enabled: boolean;
  /** Whether embeddings are cached. */
  cache_enabled: boolean;
  /** Id of the model for requests that name none. */
  default_model: string;
  /** Price of a GPU hour in US dollars. */
  gpu_hour_usd: number;
  /** Whether callers need a key. */
  keys_required: boolean;
  /** Limits of requests. */
  limits: LimitsView;
  /** Time during which a deleted job can be restored, in seconds. */
  retention_s: number;
  /** Whether embeddings of similar prompts are used unless a request disables this. */
  similar_prompts_default: boolean;
  /** Version of the API process. */
  version: string;
}

/** Whether every tenant may use an adapter. */
export interface ShareRequest {
  /** True for every tenant, false for its owner only. */
  shared: boolean;
}

/** A sign-in request. */
export interface SignIn {
  /** An API key. */
  key: string;
}

/** A named size. */
export interface SizeView {
  /** Its aspect ratios; the first is the default. */
  aspects: AspectView[];
  /** Name for the request's `video_size`, such as `540p`. */
  name: string;
}

/** What a running job is doing. */
export type Stage = "prepare" | "encode" | "denoise" | "decode" | "interpolate" | "deliver";

/** Seconds of each stage of a run; of the last attempt, except `denoise_s`, which adds up over a resumed run. */
export interface StageSeconds {
  /** Merging the run's adapters into the weights, or restoring the model's own; 0 where nothing had to change. */
  adapters_s?: number;
  /** Latents to frames. */
  decode_s: number;
  /** Frames to MP4 and poster, and their upload. */
  deliver_s: number;
  /** All denoising steps. */
  denoise_s: number;
  /** Prompt to embeddings, look-up included. */
  encode_s: number;
  /** New frames between those of the model. */
  interpolate_s?: number;
}

/** Response of `GET /api/stats`. */
export interface StatsView {
  /** Numbers by complexity. */
  by_complexity: GroupView[];
  /** Numbers by tier. Jobs that ended before they were planned are not included. */
  by_tier: GroupView[];
  /** State of the embedding cache, which all tenants share. */
  cache_stats: CacheStatsView;
  /** Number of jobs cancelled so far. */
  cancelled: number;
  /** Number of jobs completed so far. */
  completed: number;
  /** Drafts so far. */
  drafts: DraftsView;
  /** Number of jobs failed so far. */
  failed: number;
  /** Number of jobs that are waiting or running now. */
  in_progress: number;
  /** Effect of the optimisations. */
  optimization: OptimizationStatsView;
  /** GPU time, cost and savings. */
  savings: SavingsView;
  /** Number of jobs submitted so far. */
  total_generations: number;
}

/** Result of a probe. */
export interface StatusView {
  /** `ok`. */
  status: string;
}

/** How eagerly denoising steps may be replaced by a cached change. */
export type StepCacheMode = "off" | "balanced" | "fast";

/** How the worker uses the step cache. */
export interface StepCachePlan {
  /** How many steps may be skipped. */
  mode: StepCacheMode;
  /** EasyCache's accumulated-error threshold; 0 with `off`. */
  threshold: number;
}

/** Why the number of steps is what it is. */
export type StepsReason = "explicit" | "fixed" | "adaptive" | "learned" | "adapter";

/**
 * Text encoders. `llama` and `qwen` are the language models of HunyuanVideo 1.0 and 1.5, which read the prompt word by word. `clip`
 * summarises the prompt of 1.0 as a whole, and `byt5` reads what a prompt of 1.5 puts in quotation marks.
 */
export type TextEncoder = "llama" | "clip" | "qwen" | "byt5";

/** The tier in which a job actually runs: a [`QualityTier`] after `auto` has been decided. */
export type Tier = "preview" | "standard" | "premium";

/** One tier. */
export interface TierView {
  /** Estimated cost with the most steps, in US dollars. */
  estimated_cost_usd_max: number;
  /** Estimated minutes with the most steps, embeddings not cached. */
  estimated_time_max: number;
  /** Estimated minutes with the fewest steps, embeddings cached. */
  estimated_time_min: number;
  /** Value for the request's `quality_tier`. */
  quality_tier: QualityTier;
  step_cache?: StepCacheMode | null;
  /** Most denoising steps. */
  steps_max: number;
  /** Fewest denoising steps. */
  steps_min: number;
}

/** The tiers of a model. */
export interface TiersView {
  /** `auto`, `preview`, `standard`, `premium`. */
  tiers: TierView[];
}

/** Usage of one group. The fields by which the rows are not grouped are absent. */
export type UsageRowView = UsageSumsView & {
  /** Label of the API key. */
  key?: string | null;
  /** Id of the API key; absent for jobs that were submitted without one. */
  key_id?: string | null;
  /** Id of the model. */
  model?: string | null;
  /** Day such as `2026-11-28`, or month such as `2026-11` (UTC), in which the runs ended. */
  period?: string | null;
  /** Name of the tenant. */
  tenant?: string | null;
  /** The tier. */
  tier?: string | null;
};

/** Numbers of usage. */
export interface UsageSumsView {
  /** Price of the GPU seconds in US dollars. */
  cost_usd: number;
  /** GPU seconds of all runs, also of those without a video. */
  gpu_seconds: number;
  /** Number of denoising steps that had to be computed again. */
  lost_steps: number;
  /** Price of the repeated runs in US dollars. */
  repeated_cost_usd: number;
  /** GPU seconds of the repeated runs. */
  repeated_gpu_seconds: number;
  /** Of the runs, those that repeated a job after a fault. */
  repeated_runs: number;
  /** Number of runs that ended. A job has several if it was drafted, handed back or repeated. */
  runs: number;
  /** What each optimisation saved, by the cost model. */
  saved: SavedView;
  /** Number of videos. */
  videos: number;
}

/** Usage in a range of days. */
export interface UsageView {
  /** First day (UTC). */
  from: string;
  /** What the rows are grouped by. */
  group_by: string[];
  /** One row per group. */
  rows: UsageRowView[];
  /** Last day, included. */
  to: string;
  /** The rows added up. */
  total: UsageSumsView;
  /**
   * Time of workers, grouped by those of `day`, `month`, `model` and `worker` that were asked for. Null for users, because
   * workers serve all tenants.
   */
  workers?: WorkerUsageView[] | null;
}

/** A request for one video. Every field except `prompt` has a default; unknown fields are refused. */
export interface VideoRequest {
  /** One of the named size's aspect ratios, for example `16:9`; the first one when null. */
  aspect_ratio?: string | null;
  /** Number of seeds that are drafted, up to 8. One of the drafts is continued, the others end. 1 drafts none. */
  candidates?: number;
  /** Embedded guidance: how closely to follow the prompt. Costs nothing. */
  cfg_scale?: number;
  /**
   * What happens to a request whose `deadline_s` probably cannot be met: `accept` queues it, `reject` responds 422 with the
   * shortest deadline that looks feasible.
   */
  deadline_policy?: DeadlinePolicy;
  /**
   * Seconds from submission by which the video is wanted. Jobs whose deadlines can be met go first, within their tenant's share
   * of the fleet; a deadline that cannot be met any more has no effect.
   */
  deadline_s?: number | null;
  /** Integrate from noise to video, as the released weights were trained. False only for experiments. */
  flow_reverse?: boolean;
  image?: ImageSource | null;
  /** Denoising steps; 0 lets the fleet choose. */
  infer_steps?: number;
  /**
   * How many times as many frames per second the video gets: 2, 4 or 8, by computing frames between those that the model
   * renders. The duration stays. 1 adds none; null leaves it to the tier. Needs a fleet with an interpolator.
   */
  interpolate?: number | null;
  /**
   * Who chooses among several candidates: `measures` lets the fleet choose by motion, sharpness, flicker and contrast of
   * the drafts, `person` waits until one of them is continued.
   */
  judge?: Judge;
  /** Adapters (LoRA), up to four. Their effects add up; their order does not matter. */
  loras?: LoraUse[];
  /** `draft` pauses the job after its first steps, with a preview, until it is continued; `full` renders it to the end. */
  mode?: RenderMode;
  /** The model's id; the fleet's default when null. */
  model?: string | null;
  /** What the video should not show; takes effect with a `true_cfg_scale` above 1, the request's or the model's. */
  negative_prompt?: string | null;
  progressive?: ProgressiveMode | null;
  /** What the video shows. Any language; HunyuanVideo is trained on English and Chinese. */
  prompt: string;
  /** Quality tier; `auto` chooses by the prompt. */
  quality_tier?: QualityTier;
  /**
   * Whether positions in time are stretched (RIFLEx), so that a long video does not repeat itself; null lets the model decide
   * by the length.
   */
  riflex?: boolean | null;
  seed?: Seed | null;
  /** Whether embeddings of a similar prompt may be used (this changes the video); the fleet's setting when null. */
  similar_prompts?: boolean | null;
  step_cache?: StepCacheMode | null;
  /** Real classifier-free guidance; above 1 it doubles the cost of each step. 1 leaves it to the model: none for HunyuanVideo 1.0. */
  true_cfg_scale?: number;
  /** Length in frames at 24 frames per second: 4k+1, for example 129. */
  video_length?: number;
  /** One of the model's named sizes (`540p`, `720p`) or `WIDTHxHEIGHT`. */
  video_size?: string;
  /** URL that is notified of this job's events with signed requests; see docs/webhooks.md. */
  webhook?: string | null;
  /** The kinds of events that `webhook` is notified of, separated by commas; completed, failed and cancelled when null. */
  webhook_events?: string | null;
}

/** A finished video. */
export interface VideoView {
  /** Size of the MP4 in bytes. */
  bytes: number;
  /** Frames per second of the MP4. */
  fps: number;
  /** Frames of the MP4; more than `shape` says where the video was interpolated. */
  frames: number;
  /** Path of its middle frame, a JPEG. */
  poster_url: string;
  /** Path of the MP4; supports byte ranges. */
  url: string;
}

/** All receivers. */
export interface WebhookListView {
  /** Oldest first. */
  webhooks: WebhookView[];
}

/** The secret that receivers verify signatures with. */
export interface WebhookSecretView {
  /** Time until which deliveries are signed with the secret before the last rotation, too; null when that is over. */
  previous_until?: string | null;
  /** The current secret: `whsec_` and base64, as the libraries of Standard Webhooks take it. */
  secret: string;
}

/** A receiver. */
export interface WebhookView {
  /** Time of its creation. */
  created_at: string;
  /** Time at which it responded with 410 Gone. Nothing more is sent until the same URL is created again. */
  disabled_at?: string | null;
  /** The kinds of events that it receives. */
  events: string[];
  /** Id of the API key whose jobs it is about; null for all jobs of the tenant. */
  key_id?: string | null;
  /** Where deliveries are sent. */
  url: string;
  /** Its id. */
  webhook_id: string;
}

/**
 * What the bytes of a worker's videos depend on, besides the job. Two workers with equal identities render a job to the same
 * bytes.
 */
export interface WorkerIdentity {
  /** The attention kernel in use; absent on a CPU. */
  attention?: string | null;
  /** Version of the worker and of libtorch. */
  build: string;
  /** The scope within which determinism is promised. */
  device_class: string;
  /** Number formats of transformer, text encoders and video decoder. */
  formats: string;
  /** Fingerprint of the model's weights. */
  model: string;
  /** Threads that the model computes with. */
  threads: number;
}

/** One page of workers. */
export interface WorkerListView {
  /** Send this as `cursor` to get the next page; null on the last page. */
  next_cursor?: string | null;
  /** Number of jobs that the workers on all pages are rendering and that the caller may see. */
  running: number;
  /** Number of workers on all pages. */
  total: number;
  /** Sorted by name. Workers that signed off or whose heartbeats stopped are not included. */
  workers: WorkerView[];
}

/** Time of workers in one group. */
export interface WorkerUsageView {
  /** Seconds with a job. A run counts on the day on which it ends. */
  busy_s: number;
  /** Seconds without a job. */
  idle_s: number;
  /** Price of the time without a job in US dollars. */
  idle_usd: number;
  /** Number of denoising steps that had to be computed again. */
  lost_steps: number;
  /** Id of the model. */
  model?: string | null;
  /** Seconds from registration to the last heartbeat; up to a minute of a live worker may be missing. */
  online_s: number;
  /** Price of the time online in US dollars. */
  online_usd: number;
  /** Day or month (UTC). */
  period?: string | null;
  /** Price of the repeated runs in US dollars. */
  repeated_cost_usd: number;
  /** GPU seconds of the repeated runs. */
  repeated_gpu_seconds: number;
  /** Of the runs, those that repeated a job after a fault. */
  repeated_runs: number;
  /** Number of runs that ended. */
  runs: number;
  /** Number of videos. */
  videos: number;
  /** Name of the worker. */
  worker?: string | null;
}

/** One worker. */
export interface WorkerView {
  /** The adapters (LoRA) in its weights, or being merged into them. Of other tenants' adapters only an admin sees any. */
  adapters: MergedView[];
  /** Fingerprints of the adapters whose files its machine keeps, as far as the caller may see them. */
  adapters_cached: string[];
  /** The attention kernel in use: `cudnn`, `flash`, `efficient` or `math`; null on a CPU. */
  attention?: string | null;
  /** Most jobs that it renders together; 1 if it renders one after the other. */
  batch_max: number;
  /** Versions of the worker and of libtorch. */
  build: string;
  /** `cpu`, or the name of the GPU. */
  device: string;
  /** Number of devices that compute each of its videos together. */
  devices: number;
  /** Jobs it is rendering that the caller may see. */
  job_ids: string[];
  /** Usable device memory in bytes. */
  memory_bytes: number;
  /** Id of the model it has loaded. */
  model: string;
  /** Name to show to people. */
  name: string;
  /** Its pool: model, memory class and number of devices. */
  pool: string;
  /** Time at which it registered. */
  registered_at: string;
  /** Number of jobs it is rendering, including those of other tenants. */
  running: number;
  /** Seconds since its last heartbeat. */
  silent_s: number;
  /** Number of jobs it can begin at once. Jobs that it renders together use one slot. */
  slots: number;
  /** `ready`, `busy` or `draining`. */
  state: string;
  /** Number of threads that the model computes with. */
  threads: number;
  /** Id of the worker process; a restarted worker has a new one. */
  worker_id: string;
}
