/** Types of the API. Written by scripts/api-types.mjs from docs/openapi.json; do not edit. */

/** What would be done with a prompt. */
export interface AnalysisView {
  /** Embedded guidance it would run with. */
  cfg_scale: number;
  /** The prompt's class. */
  complexity: Complexity;
  /** The same with cached embeddings. */
  estimate_cached_s: number;
  /** Estimated seconds of the run, embeddings not cached. */
  estimate_s: number;
  /** Estimated price of the run, US dollars. */
  estimated_cost_usd: number;
  /** Estimated minutes of the run alone; with cached embeddings if they are there. */
  estimated_time_min: number;
  /** The seven factors with the words of the prompt that gave them. */
  factors: FactorScore[];
  /** As the request says. */
  flow_reverse: boolean;
  /** Denoising steps it would get. */
  infer_steps: number;
  /** The tier it would run in. */
  quality_tier: Tier;
  /** Sum of the factors. */
  score: number;
  /** Step caching it would run with. */
  step_cache: StepCachePlan;
  /** Why that many steps. */
  steps_reason: StepsReason;
}

/** Answer of `GET /api/optimization/analyze`. */
export interface AnalyzeView {
  /** What would be done with it. */
  analysis: AnalysisView;
  /** Whether this prompt's embeddings are cached, as far as the caller may know: true only for prompts of its own. */
  cache_available: boolean;
  /** The prompt that was analysed. */
  prompt: string;
}

/** One aspect of a named size. */
export interface AspectView {
  /** `16:9`. */
  aspect: string;
  /** Rendered height, pixels. */
  height: number;
  /** Rendered width, pixels. */
  width: number;
}

/** One accepted request of a batch. */
export interface BatchItem {
  /** False when this batch had been submitted before and this is the job of then. */
  created: boolean;
  /** Its place in the request, from 0. */
  index: number;
  /** The job. */
  job: JobView;
}

/** Several requests. */
export interface BatchRequest {
  /** The requests, each as `POST /api/generate` takes it. */
  requests: VideoRequest[];
}

/** What became of them. */
export interface BatchView {
  /** An answer for each request, in order. */
  jobs: BatchItem[];
}

/** Where a job's embeddings came from. */
export type CacheMatch = "miss" | "identical" | "similar" | "off";

/** The embedding cache. */
export interface CacheStatsView {
  /** Whether embeddings are cached. */
  enabled: boolean;
  /** 100 x hits / look-ups. */
  hit_rate: number;
  /** Look-ups that found one, wherever it was kept. */
  keyspace_hits: number;
  /** Look-ups that found none. */
  keyspace_misses: number;
  /** `healthy`, `unavailable` or `disabled`. */
  status: string;
  /** Embeddings that are kept. */
  total_keys: number;
}

/** One dependency. */
export interface CheckView {
  /** What that means; absent when all is well. */
  detail?: string | null;
  /** `ok`, `down` or `off`. */
  status: string;
}

/** Each dependency, `ok` or what its absence means. */
export interface ChecksView {
  /** RabbitMQ. */
  broker: CheckView;
  /** Redis. */
  cache: CheckView;
  /** Postgres. */
  database: CheckView;
}

/** How much a prompt asks of the model. */
export type Complexity = "simple" | "moderate" | "complex" | "very_complex";

/** Limits of sizes given in pixels. */
export interface CustomSizeView {
  /** Each side is a multiple of this. */
  multiple_of: number;
  /** Most pixels of a frame. */
  pixels_max: number;
  /** Shortest side, pixels. */
  side_min: number;
}

/** One factor of the prompt analysis and what gave it. */
export interface FactorScore {
  /** `motion`, `scene`, `camera`, `lighting`, `quality`, `length` or `subjects`. */
  factor: string;
  /** Contribution to the total score, 0 or more. */
  score: number;
  /** The words of the prompt that gave it, as written there. */
  words: string[];
}

/** Why a run ended without a video. */
export interface Failure {
  /** A stable word for programs, for example `out_of_memory`. */
  code: string;
  /** What happened and what to do, for people. */
  reason: string;
}

/** One error in a request. */
export interface FieldError {
  /** The field's name in the request. */
  field: string;
  /** What is wrong and what would be right. */
  reason: string;
}

/** Numbers of a group of jobs. */
export interface GroupView {
  /** Seconds of the average run. */
  avg_run_s: number;
  /** Planned steps of the average video. */
  avg_steps: number;
  /** Of those, with cached embeddings. */
  cache_hits: number;
  /** Completed jobs. */
  completed: number;
  /** Price, US dollars. */
  cost_usd: number;
  /** The tier or complexity. */
  name: string;
  /** Seconds saved. */
  saved_s: number;
  /** Dollars saved. */
  saved_usd: number;
}

/** The whole picture. */
export interface HealthView {
  /** Each dependency. */
  checks: ChecksView;
  /** `ok`, `degraded` (slower, nothing lost) or `unavailable` (the database is away). */
  status: string;
  /** Version of the API process. */
  version: string;
  /** Workers that were heard of lately. */
  workers: number;
}

/** One page. */
export interface JobListView {
  /** Newest first. */
  jobs: JobView[];
  /**
   * Send it back as `cursor` for the next page; null at the end. With a search a page may be short, even empty, and
   * still have a next.
   */
  next_cursor?: string | null;
}

/** Where a job is, as users see it. */
export type JobStatus = "queued" | "scheduled" | "running" | "completed" | "failed" | "cancelled";

/** One job. */
export interface JobView {
  /** Claims by workers since it was last submitted. */
  attempts: number;
  /** A stop was asked for and has not taken effect. */
  cancel_requested: boolean;
  /** Submission. */
  created_at: string;
  /** Hidden by its owner; can be restored until the retention ends. */
  deleted_at?: string | null;
  /** Seconds of playback. */
  duration_s: number;
  failure?: Failure | null;
  /** A terminal state was reached. */
  finished_at?: string | null;
  /** Its id; also the video's. */
  job_id: string;
  /** Where to go from here. */
  links: Links;
  /** Not before this time: it failed and waits before the next try. */
  not_before?: string | null;
  /** What the optimisations decided and did. */
  optimization: OptimizationView;
  progress?: ProgressView | null;
  /** Jobs of the same kind of worker that go first; only while it waits. */
  queue_position?: number | null;
  /** Estimated seconds until a worker takes it; only while it waits and a worker is there. */
  queue_wait_s?: number | null;
  record?: RunRecord | null;
  /** The request with `seed` and `model` filled in: sent again it gives the same video. */
  request: VideoRequest;
  /** Whether the seed was drawn by the fleet. */
  seed_drawn: boolean;
  /** What is rendered for the request by its model. */
  shape: RenderShape;
  /** First claim of the current try. */
  started_at?: string | null;
  /** Where it is. */
  status: JobStatus;
  video?: VideoView | null;
  /** The worker that renders or rendered it. */
  worker_id?: string | null;
}

/** What to change. */
export interface LearnedChange {
  /** Whether to learn nothing more for now. */
  frozen: boolean;
}

/** What was learnt of one kind of jobs. */
export interface LearnedGroupView {
  /** The prompts' class. */
  complexity: Complexity;
  /** Steps taken off what the prompt analysis gives; never out of the tier's range. */
  lower_by: number;
  /** The model's id. */
  model: string;
  /** The tier as it was requested. */
  quality_tier: QualityTier;
  /** Runs that taught it. */
  runs: number;
}

/** What was learnt. */
export interface LearnedView {
  /** Whether plans use it (`optimization.learned_steps` and adaptive steps). */
  enabled: boolean;
  /** Whether nothing is learnt at present; what was learnt stays in force. */
  frozen: boolean;
  /** One entry for each kind of jobs that has had a run. */
  groups: LearnedGroupView[];
}

/** What a request may ask for. */
export interface LimitsView {
  /** Most requests of one batch. */
  batch_max: number;
  /** Largest body, bytes. */
  body_max_bytes: number;
  /** Largest `cfg_scale`. */
  cfg_scale_max: number;
  /** Furthest `deadline_s`. */
  deadline_s_max: number;
  /** Most jobs of one page. */
  page_max: number;
  /** Longest prompt, characters. */
  prompt_chars_max: number;
  /** Largest `true_cfg_scale`. */
  true_cfg_scale_max: number;
}

/** Paths that go with a job. */
export interface Links {
  /** Where a POST stops it; null when it has ended. */
  cancel?: string | null;
  /** Its events, as a stream. */
  events: string;
  /** Where a POST tries it again; null unless it failed or was cancelled. */
  retry?: string | null;
  /** The job. */
  self: string;
  /** The MP4; null until completed. */
  video?: string | null;
}

/** All models. */
export interface ModelListView {
  /** By id. */
  models: ModelView[];
}

/** One model that the fleet knows. */
export interface ModelView {
  /** Steps of the fixed baseline that savings are counted against. */
  baseline_steps: number;
  /** What a `WIDTHxHEIGHT` size must keep to. */
  custom_size: CustomSizeView;
  /** Whether requests without a `model` go here. */
  default: boolean;
  /** What it can draw and what not. */
  description: string;
  /** Prompts that show it well. */
  examples: string[];
  /** Id for the request's `model`. */
  id: string;
  /** Most `infer_steps`. */
  infer_steps_max: number;
  /** Name for people. */
  name: string;
  /** Named sizes; the first is what an unnamed size would mean. */
  sizes: SizeView[];
  /** Longest `video_length`, frames at 24 a second. */
  video_length_max: number;
  /** Shortest `video_length`. */
  video_length_min: number;
  /** Each `video_length` is the shortest one plus a multiple of this. */
  video_length_step: number;
  /** Which weights these are. */
  weights_fingerprint: string;
  /** Workers that hold it and are alive. */
  workers: number;
}

/** What the optimisations do. */
export interface OptimizationStatsView {
  /** Whether steps adapt to the prompt. */
  adaptive_enabled: boolean;
  /** Planned steps of the average video; 0 before the first. */
  avg_steps: number;
  /** Computed steps of the average video. */
  avg_steps_computed: number;
  /** Steps of the average video that the step cache answered. */
  avg_steps_skipped: number;
  /** Whether embeddings are cached. */
  cache_enabled: boolean;
  /** 100 x hits / completed. */
  cache_hit_rate: number;
  /** Completed jobs whose embeddings came from the cache. */
  cache_hits: number;
  /** Of `cache_hits`, those of a similar prompt. */
  cache_hits_similar: number;
}

/** What the optimisations decided (from the plan) and did (from the run). */
export interface OptimizationView {
  /** Minutes the run really took. */
  actual_time?: number | null;
  /** Whether the prompt's embeddings came from the cache; null until the run is over. */
  cache_hit?: boolean | null;
  cache_match?: CacheMatch | null;
  /** Similarity of the prompt whose embeddings were used, 0 to 1. */
  cache_score?: number | null;
  complexity?: Complexity | null;
  /** Price of the run, US dollars. */
  cost_usd?: number | null;
  /** Estimated minutes of the run alone, without waiting in the queue. */
  estimated_time?: number | null;
  /** The prompt's factors and the words that gave them. */
  factors: FactorScore[];
  /** Planned denoising steps. */
  final_steps?: number | null;
  /** False while the scheduler has not decided yet: the values above are then the API's forecast by the same rules. */
  planned: boolean;
  quality_tier?: Tier | null;
  /** Seconds saved against fixed steps without caches. */
  saved_s?: number | null;
  /** Dollars saved against fixed steps without caches. */
  saved_usd?: number | null;
  /** Sum of the prompt's factors. */
  score?: number | null;
  step_cache?: StepCachePlan | null;
  /** Steps that went through the transformer. */
  steps_computed?: number | null;
  steps_reason?: StepsReason | null;
  /** Steps that the step cache answered. */
  steps_skipped?: number | null;
}

/** One hour or day. */
export interface PointView {
  /** Its start. */
  at: string;
  /** Seconds of the average run. */
  avg_run_s: number;
  /** Planned steps of the average video. */
  avg_steps: number;
  /** Seconds from submission to the first claim, on average. */
  avg_wait_s: number;
  /** 100 x hits / completed. */
  cache_hit_rate: number;
  /** Completed jobs with cached embeddings. */
  cache_hits: number;
  /** Jobs cancelled. */
  cancelled: number;
  /** Jobs completed. */
  completed: number;
  /** Price, US dollars. */
  cost_usd: number;
  /** Jobs failed. */
  failed: number;
  /** GPU seconds. */
  gpu_seconds: number;
  /** Seconds saved. */
  saved_s: number;
  /** Dollars saved. */
  saved_usd: number;
  /** Jobs submitted. */
  submitted: number;
}

/** The JSON body of every error. */
export interface ProblemBody {
  /** What happened this time and what to do. */
  detail: string;
  /** What is wrong with which field; empty when no field is to blame. */
  errors?: FieldError[];
  /** The HTTP status. */
  status: number;
  /** The kind in words. */
  title: string;
  /** `urn:hunyuan-fleet:problem:<code>`: stable, for programs. */
  type: string;
}

/** How far a running job is. */
export interface ProgressView {
  stage?: Stage | null;
  /** Denoising steps done. */
  step: number;
  /** Denoising steps in all. */
  steps: number;
}

/** What a user asks for: a tier, or `auto` to have one chosen by the prompt. */
export type QualityTier = "auto" | "preview" | "standard" | "premium";

/** What is rendered for a request: pixels, frames and the rate they are played at. */
export interface RenderShape {
  /** Frames a second of playback. */
  fps: number;
  /** Frames: a length that the model's geometry allows, 4k+1 for HunyuanVideo. */
  frames: number;
  /** Pixels. */
  height: number;
  /** Pixels. */
  width: number;
}

/** Everything worth knowing about a finished run; kept with the job for ever. */
export interface RunRecord {
  /** Worker and libtorch version. */
  build: string;
  /** Where the embeddings came from. */
  cache_match: CacheMatch;
  /** Similarity of the prompt whose embeddings were used, 0 to 1; only with `similar`. */
  cache_score?: number | null;
  /** Relative change of the predicted velocity from one computed step to the next, one value a step from the second. */
  convergence?: number[];
  /** Their price, US dollars. */
  cost_usd: number;
  /** Device the last attempt ran on. */
  device: string;
  /** GPU seconds of this job over all attempts. */
  gpu_seconds: number;
  /** Why an existing checkpoint was not used, in words; `None` when there was none or it was used. */
  restarted_because?: string | null;
  /** Step from which the last attempt resumed; `None` when it began anew. */
  resumed_from?: number | null;
  /** Seconds saved against the fixed-step baseline without caches, by the fleet's cost model; may be negative. */
  saved_s: number;
  /** Their price, US dollars. */
  saved_usd: number;
  /** Seconds by stage. */
  stages: StageSeconds;
  /** Steps that went through the transformer. */
  steps_computed: number;
  /** Steps answered by the step cache. */
  steps_skipped: number;
}

/** Seconds and dollars of completed jobs. */
export interface SavingsView {
  /** Price of the average video, US dollars; 0 before the first. */
  cost_per_video_usd: number;
  /** Their price, US dollars. */
  cost_usd: number;
  /** GPU seconds, all attempts. */
  gpu_seconds: number;
  /** Seconds saved against fixed steps without caches. */
  saved_s: number;
  /** Their price, US dollars. */
  saved_usd: number;
}

/** Answer of `GET /api/stats/series`. */
export interface SeriesView {
  /** Seconds that one point stands for. */
  bucket_s: number;
  /** Oldest first; times without any event are left out. */
  points: PointView[];
}

/** Who is signed in. */
export interface SessionView {
  /** Whether this caller may see the whole fleet. */
  admin: boolean;
  /** Send it back as `X-CSRF-Token` with everything that changes something; null when it is not needed. */
  csrf_token?: string | null;
  /** Whether callers need a key at all. */
  keys_required: boolean;
}

/** Settings that clients see. None is secret. */
export interface SettingsView {
  /** Whether steps adapt to the prompt. */
  adaptive_enabled: boolean;
  /** Whether embeddings are cached. */
  cache_enabled: boolean;
  /** Model of requests that name none. */
  default_model: string;
  /** Price of a GPU hour, US dollars. */
  gpu_hour_usd: number;
  /** Whether callers need a key. */
  keys_required: boolean;
  /** Limits. */
  limits: LimitsView;
  /** How long a deleted job can be restored, seconds. */
  retention_s: number;
  /** Whether embeddings of similar prompts are used unless a request says no. */
  similar_prompts_default: boolean;
  /** Version of the API process. */
  version: string;
}

/** A sign-in. */
export interface SignIn {
  /** An API key. */
  key: string;
}

/** A named size. */
export interface SizeView {
  /** Its aspects; the first is the default. */
  aspects: AspectView[];
  /** `540p`. */
  name: string;
}

/** What a running job is doing. */
export type Stage = "prepare" | "encode" | "denoise" | "decode" | "deliver";

/** Seconds of each stage of a run; of the last attempt, except `denoise_s`, which adds up over a resumed run. */
export interface StageSeconds {
  /** Latents to frames. */
  decode_s: number;
  /** Frames to MP4 and poster, and their upload. */
  deliver_s: number;
  /** All denoising steps. */
  denoise_s: number;
  /** Prompt to embeddings, look-up included. */
  encode_s: number;
}

/** Answer of `GET /api/stats`. */
export interface StatsView {
  /** The same numbers by complexity. */
  by_complexity: GroupView[];
  /** The same numbers by tier; jobs that no plan was made for are left out. */
  by_tier: GroupView[];
  /** The embedding cache itself, which all tenants share. */
  cache_stats: CacheStatsView;
  /** Jobs cancelled so far. */
  cancelled: number;
  /** Jobs completed so far. */
  completed: number;
  /** Jobs failed so far. */
  failed: number;
  /** Jobs that wait or run now. */
  in_progress: number;
  /** What the optimisations do. */
  optimization: OptimizationStatsView;
  /** Seconds and dollars. */
  savings: SavingsView;
  /** Jobs submitted so far. */
  total_generations: number;
}

/** One word. */
export interface StatusView {
  /** `ok`. */
  status: string;
}

/** How eagerly denoising steps may be replaced by a cached change. */
export type StepCacheMode = "off" | "balanced" | "fast";

/** The step cache as the worker is told to use it. */
export interface StepCachePlan {
  /** How eager. */
  mode: StepCacheMode;
  /** EasyCache's accumulated-error threshold; 0 with `off`. */
  threshold: number;
}

/** Why the number of steps is what it is. */
export type StepsReason = "explicit" | "fixed" | "adaptive" | "learned";

/** The tier that a job really runs in: a [`QualityTier`] after `auto` has been decided. */
export type Tier = "preview" | "standard" | "premium";

/** One tier. */
export interface TierView {
  /** Estimated price with the most steps, US dollars. */
  estimated_cost_usd_max: number;
  /** Estimated minutes with the most steps, embeddings not cached. */
  estimated_time_max: number;
  /** Estimated minutes with the fewest steps, embeddings cached. */
  estimated_time_min: number;
  /** Its name in requests. */
  quality_tier: QualityTier;
  step_cache?: StepCacheMode | null;
  /** Most denoising steps. */
  steps_max: number;
  /** Fewest denoising steps. */
  steps_min: number;
}

/** All tiers. */
export interface TiersView {
  /** `auto`, `preview`, `standard`, `premium`. */
  tiers: TierView[];
}

/** A request for one video. Every field except `prompt` has a default; unknown fields are refused. */
export interface VideoRequest {
  /** One of the named size's aspect ratios, for example `16:9`; the first one when null. */
  aspect_ratio?: string | null;
  /** Embedded guidance: how closely to follow the prompt. Costs nothing. */
  cfg_scale?: number;
  /** Seconds from submission by which the video is wanted. Affects the queue order; not a guarantee. */
  deadline_s?: number | null;
  /** Integrate from noise to video, as the released weights were trained. False only for experiments. */
  flow_reverse?: boolean;
  /** Denoising steps; 0 lets the fleet choose. */
  infer_steps?: number;
  /** The model's id; the fleet's default when null. */
  model?: string | null;
  /** What the video should not show; takes effect with a `true_cfg_scale` above 1. */
  negative_prompt?: string | null;
  /** What the video shows. Any language; HunyuanVideo is trained on English and Chinese. */
  prompt: string;
  /** Quality tier; `auto` chooses by the prompt. */
  quality_tier?: QualityTier;
  /** The same seed gives the same video. Drawn at random and reported when null or -1. */
  seed?: number | null;
  /** Whether embeddings of a similar prompt may be used (this changes the video); the fleet's setting when null. */
  similar_prompts?: boolean | null;
  step_cache?: StepCacheMode | null;
  /** Real classifier-free guidance; above 1 it doubles the cost of each step. */
  true_cfg_scale?: number;
  /** Length in frames at 24 frames per second: 4k+1, for example 129. */
  video_length?: number;
  /** One of the model's named sizes (`540p`, `720p`) or `WIDTHxHEIGHT`. */
  video_size?: string;
}

/** A finished video. */
export interface VideoView {
  /** Size of the MP4, bytes. */
  bytes: number;
  /** Its first frame, JPEG. */
  poster_url: string;
  /** The MP4; answers byte ranges. */
  url: string;
}

/** All workers. */
export interface WorkerListView {
  /** By name; those that said goodbye or fell silent are left out. */
  workers: WorkerView[];
}

/** One worker. */
export interface WorkerView {
  /** Version of the worker and of libtorch. */
  build: string;
  /** `cpu`, or the GPU's name. */
  device: string;
  /** What it renders, as far as the caller may see it. */
  job_ids: string[];
  /** Usable device memory, bytes. */
  memory_bytes: number;
  /** The model it holds. */
  model: string;
  /** A name for people. */
  name: string;
  /** Its ready queue: model and memory class. */
  pool: string;
  /** When it registered. */
  registered_at: string;
  /** Jobs it renders, whoever's they are. */
  running: number;
  /** Seconds since it was last heard of. */
  silent_s: number;
  /** Jobs it renders at once. */
  slots: number;
  /** `ready`, `busy` or `draining`. */
  state: string;
  /** Threads that the model computes with. */
  threads: number;
  /** This life of its process. */
  worker_id: string;
}
