//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use serde_json::{Map, Value};

use crate::failure::{EXIT_CODES, Failure};

/// Command-line client of hunyuan-fleet: submit videos, follow them, fetch them.
#[derive(Debug, Parser)]
#[command(name = "fleet", version, after_help = EXIT_CODES, propagate_version = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command.
#[derive(Debug, Clone, Args)]
pub(crate) struct Common {
    /// Address of the API [default: http://localhost:8000].
    #[arg(long, global = true, env = "FLEET_SERVER", value_name = "URL")]
    pub(crate) server: Option<String>,
    /// API key. Prefer the variable or the configuration file, because other users of the machine can see flags.
    #[arg(long, global = true, env = "FLEET_API_KEY", hide_env_values = true)]
    pub(crate) key: Option<String>,
    /// Configuration file with `server` and `key` [default: fleet/config.toml in the user's configuration folder].
    #[arg(long, global = true, env = "FLEET_CLI_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Print results as JSON, one document per line.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Print no hints and no progress.
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
    /// Seconds to keep trying while the server cannot be reached or is unavailable [default: 10 for commands that only show
    /// something, 120 for the others].
    #[arg(long, global = true, value_name = "SECONDS")]
    pub(crate) patience_s: Option<u64>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Submit one video, and optionally wait for it and save it.
    Generate(GenerateArgs),
    /// Submit one video per line of a file or of standard input.
    Batch(BatchArgs),
    /// Show how a prompt would be rendered: tier, steps, time and cost. Submits nothing.
    Analyze(AnalyzeArgs),
    /// List jobs, newest first.
    Jobs(JobsArgs),
    /// Follow a job until it ends, or all jobs.
    Watch(WatchArgs),
    /// Cancel jobs.
    Cancel {
        /// Ids of the jobs.
        #[arg(required = true, value_name = "JOB_ID")]
        jobs: Vec<uuid::Uuid>,
    },
    /// Show, pause or resume your own queue.
    Queue {
        /// What to do [default: show].
        #[arg(value_enum, default_value = "show")]
        action: QueueAction,
    },
    /// Move a queued job within your own queue.
    Move(MoveArgs),
    /// Show a job, or save its video.
    Get(GetArgs),
    /// Render a finished job again and compare the videos byte for byte.
    Replay(ReplayArgs),
    /// Show numbers of jobs, costs and savings.
    Stats,
    /// Show GPU time, cost and savings by day, tenant, key, model, tier or worker.
    Usage(UsageArgs),
    /// Show the budgets and what has been used of them.
    Budgets,
    /// List the workers.
    Workers,
    /// Show what the current key gives access to, and its quota. With an admin key: list all keys, or set a quota.
    Keys(KeysArgs),
    /// Watch the fleet in a full-screen view.
    Top,
    /// Print a completion script for a shell.
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Print the man page, or write the pages of all commands.
    Man {
        /// Folder for the pages of all commands.
        #[arg(long, value_name = "FOLDER")]
        folder: Option<PathBuf>,
    },
}

/// Seconds for which a command that only shows something keeps trying: its user wants to know soon that the server is unavailable.
const PATIENCE_SHOWING_S: u64 = 10;
/// The same for commands that submit, change or follow something, which should survive a restart of the server.
const PATIENCE_S: u64 = 120;

impl Cli {
    /// How long to keep trying while the server is unavailable.
    pub(crate) fn patience(&self) -> Duration {
        let default_s = if self.command.only_shows() { PATIENCE_SHOWING_S } else { PATIENCE_S };
        Duration::from_secs(self.common.patience_s.unwrap_or(default_s))
    }
}

impl Command {
    /// Whether it changes nothing and does not follow a job.
    fn only_shows(&self) -> bool {
        match self {
            Self::Analyze(_) | Self::Jobs(_) | Self::Stats | Self::Usage(_) | Self::Budgets | Self::Workers => true,
            Self::Get(args) => args.output.is_none(),
            Self::Keys(args) => args.set_quota.is_none(),
            Self::Queue { action } => matches!(action, QueueAction::Show),
            _ => false,
        }
    }
}

/// Fields of a request. Those that are not given keep the server's defaults.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Request")]
pub(crate) struct RequestArgs {
    /// Quality tier.
    #[arg(long, value_parser = ["auto", "preview", "standard", "premium"])]
    tier: Option<String>,
    /// Size: a name such as 540p, or WIDTHxHEIGHT.
    #[arg(long)]
    size: Option<String>,
    /// Aspect ratio of a named size, such as 16:9.
    #[arg(long)]
    aspect: Option<String>,
    /// Length in frames at 24 per second: a multiple of 4 plus 1.
    #[arg(long)]
    frames: Option<u32>,
    /// Denoising steps; 0 lets the fleet choose.
    #[arg(long)]
    steps: Option<u32>,
    /// Seed, up to 18446744073709551615; the same seed gives the same video. -1 chooses a random one.
    #[arg(long, allow_negative_numbers = true, value_parser = seed)]
    seed: Option<Value>,
    /// How closely to follow the prompt.
    #[arg(long)]
    guidance: Option<f64>,
    /// What the video should not show; needs --true-guidance above 1.
    #[arg(long)]
    negative: Option<String>,
    /// Classifier-free guidance; above 1 each step takes twice as long.
    #[arg(long)]
    true_guidance: Option<f64>,
    /// How eagerly steps are skipped.
    #[arg(long, value_parser = ["off", "balanced", "fast"])]
    step_cache: Option<String>,
    /// How many times as many frames per second the video gets by interpolation.
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u32).range(1..=8))]
    interpolate: Option<u32>,
    /// How many early steps are taken at half the width and height.
    #[arg(long, value_parser = ["off", "balanced", "fast"])]
    progressive: Option<String>,
    /// Id of the model.
    #[arg(long)]
    model: Option<String>,
    /// Seconds from now by which the video is wanted.
    #[arg(long)]
    deadline_s: Option<u32>,
    /// What to do if the deadline probably cannot be met.
    #[arg(long, value_parser = ["accept", "reject"], requires = "deadline_s")]
    deadline_policy: Option<String>,
    /// Any other field of the API's request, such as similar_prompts=true. Can be repeated.
    #[arg(long = "set", value_name = "FIELD=VALUE")]
    others: Vec<String>,
}

/// A seed as JSON.
fn seed(text: &str) -> Result<Value, String> {
    match (text, text.parse::<u64>()) {
        ("-1", _) => Ok(Value::from(-1)),
        (_, Ok(seed)) => Ok(Value::from(seed)),
        _ => Err("must be a whole number from 0 to 18446744073709551615, or -1 for a random one".to_owned()),
    }
}

impl RequestArgs {
    /// The given fields, by their names in the API.
    pub(crate) fn fields(&self) -> Result<Map<String, Value>, Failure> {
        let words = [
            ("quality_tier", &self.tier),
            ("video_size", &self.size),
            ("aspect_ratio", &self.aspect),
            ("negative_prompt", &self.negative),
            ("step_cache", &self.step_cache),
            ("progressive", &self.progressive),
            ("model", &self.model),
            ("deadline_policy", &self.deadline_policy),
        ];
        let mut fields: Map<String, Value> =
            words.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value.clone()?.into()))).collect();
        let numbers = [
            ("video_length", self.frames.map(Value::from)),
            ("infer_steps", self.steps.map(Value::from)),
            ("seed", self.seed.clone()),
            ("cfg_scale", self.guidance.map(Value::from)),
            ("true_cfg_scale", self.true_guidance.map(Value::from)),
            ("deadline_s", self.deadline_s.map(Value::from)),
            ("interpolate", self.interpolate.map(Value::from)),
        ];
        fields.extend(numbers.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
        for other in &self.others {
            let (name, value) = other
                .split_once('=')
                .ok_or_else(|| Failure::Usage(format!("--set {other}: use FIELD=VALUE, such as seed=7")))?;
            // A value that is not JSON is text, so that words need no quotes inside quotes.
            let value = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
            fields.insert(name.to_owned(), value);
        }
        Ok(fields)
    }
}

#[derive(Debug, Args)]
pub(crate) struct GenerateArgs {
    /// What the video shows.
    pub(crate) prompt: String,
    /// Picture that the video begins from, for models that take one: PNG, JPEG or WebP. It is uploaded first.
    #[arg(long, value_name = "FILE")]
    pub(crate) image: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) request: RequestArgs,
    #[command(flatten)]
    pub(crate) waiting: WaitArgs,
    /// Makes repeating this command safe: the same key and request give the same job [default: a new key].
    #[arg(long, value_name = "KEY")]
    pub(crate) idempotency_key: Option<String>,
}

/// Waiting for a job.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Waiting")]
pub(crate) struct WaitArgs {
    /// Wait until the job ends, with a progress bar.
    #[arg(long, short)]
    pub(crate) wait: bool,
    /// Save the video here; includes --wait.
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Give up waiting after this many seconds; the job continues.
    #[arg(long, value_name = "SECONDS")]
    pub(crate) timeout_s: Option<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct BatchArgs {
    /// File with one prompt, one JSON string or one JSON object of request fields per line; `-` is standard input.
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) request: RequestArgs,
    /// Wait until all jobs have ended.
    #[arg(long, short)]
    pub(crate) wait: bool,
    /// Save the videos here as LINE-JOB_ID.mp4; includes --wait.
    #[arg(long, short = 'o', value_name = "FOLDER")]
    pub(crate) output_folder: Option<PathBuf>,
    /// Remembers which lines were submitted [default: FILE.fleet-state; none for standard input].
    #[arg(long, value_name = "FILE")]
    pub(crate) state: Option<PathBuf>,
    /// Name of this run. Running the same file again under the same name continues it; a new name submits every line again.
    #[arg(long, default_value = "")]
    pub(crate) name: String,
    /// Submissions at a time.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) parallel: u16,
}

#[derive(Debug, Args)]
pub(crate) struct AnalyzeArgs {
    /// The prompt to analyse.
    pub(crate) prompt: String,
    #[command(flatten)]
    pub(crate) request: RequestArgs,
}

/// Actions on one's own queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum QueueAction {
    /// Show whether it is paused.
    Show,
    /// Start no more waiting jobs; running ones go on.
    Pause,
    /// Start waiting jobs again.
    Resume,
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("place").required(true))]
pub(crate) struct MoveArgs {
    /// The job.
    #[arg(value_name = "JOB_ID")]
    pub(crate) job: uuid::Uuid,
    /// Directly before this job.
    #[arg(long, value_name = "JOB_ID", group = "place")]
    pub(crate) before: Option<uuid::Uuid>,
    /// Before all others.
    #[arg(long, group = "place")]
    pub(crate) front: bool,
    /// After all others.
    #[arg(long, group = "place")]
    pub(crate) back: bool,
}

#[derive(Debug, Args)]
pub(crate) struct KeysArgs {
    /// List all keys of the fleet with their quotas.
    #[arg(long)]
    pub(crate) all: bool,
    /// Set the quota of this key; limits that are not given are removed.
    #[arg(long, value_name = "KEY_ID", conflicts_with = "all")]
    pub(crate) set_quota: Option<uuid::Uuid>,
    /// GPU seconds that the key may use in a day (UTC).
    #[arg(long, value_name = "SECONDS", requires = "set_quota")]
    pub(crate) gpu_seconds_per_day: Option<f64>,
    /// US dollars that the key may use in a day (UTC).
    #[arg(long, value_name = "USD", requires = "set_quota")]
    pub(crate) usd_per_day: Option<f64>,
}

#[derive(Debug, Args)]
pub(crate) struct JobsArgs {
    /// Only jobs in these states, separated by commas.
    #[arg(long)]
    pub(crate) status: Option<String>,
    /// Only jobs whose prompt contains this text.
    #[arg(long, short = 's', value_name = "TEXT")]
    pub(crate) search: Option<String>,
    /// Only jobs of this tier.
    #[arg(long)]
    pub(crate) tier: Option<String>,
    /// Only jobs of this model.
    #[arg(long)]
    pub(crate) model: Option<String>,
    /// Deleted jobs instead of the others.
    #[arg(long)]
    pub(crate) deleted: bool,
    /// Most jobs to list.
    #[arg(long, short = 'n', default_value_t = 20)]
    pub(crate) limit: u32,
}

#[derive(Debug, Args)]
pub(crate) struct WatchArgs {
    /// The job; all jobs if it is left out.
    #[arg(value_name = "JOB_ID")]
    pub(crate) job: Option<uuid::Uuid>,
    /// Save the video here when the job has completed.
    #[arg(long, short, value_name = "FILE", requires = "job")]
    pub(crate) output: Option<PathBuf>,
    /// Give up waiting after this many seconds; the job continues.
    #[arg(long, value_name = "SECONDS")]
    pub(crate) timeout_s: Option<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct GetArgs {
    /// The job.
    #[arg(value_name = "JOB_ID")]
    pub(crate) job: uuid::Uuid,
    /// Save the video here; `-` writes it to standard output.
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Save the middle frame (a JPEG) instead of the video.
    #[arg(long, requires = "output")]
    pub(crate) poster: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// The job to render again.
    #[arg(value_name = "JOB_ID")]
    pub(crate) job: uuid::Uuid,
    /// Print the id of the new job and do not wait for it.
    #[arg(long)]
    pub(crate) no_wait: bool,
    /// Give up waiting after this many seconds; the replay continues.
    #[arg(long, value_name = "SECONDS")]
    pub(crate) timeout_s: Option<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct UsageArgs {
    /// First day (UTC), such as 2026-11-01 [default: the first day of this month].
    #[arg(long, value_name = "DAY")]
    pub(crate) from: Option<String>,
    /// Last day (UTC), included [default: today].
    #[arg(long, value_name = "DAY")]
    pub(crate) to: Option<String>,
    /// What to group by, separated by commas: day or month, tenant, key, model, tier, worker.
    #[arg(long, value_name = "FIELDS", default_value = "day")]
    pub(crate) by: String,
    /// Print CSV.
    #[arg(long, conflicts_with = "json")]
    pub(crate) csv: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn only_commands_that_change_or_follow_something_are_patient() {
        let id = "0198c5f2-0000-7000-8000-000000000001";
        let patience_s = |words: &str| Cli::try_parse_from(words.split(' ')).unwrap().patience().as_secs();
        for words in ["fleet stats", "fleet jobs", "fleet queue", "fleet keys", &format!("fleet get {id}")] {
            assert_eq!(patience_s(words), 10, "{words}");
        }
        let patient = ["fleet generate cat", "fleet batch a.txt", "fleet queue pause", &format!("fleet watch {id}")];
        for words in patient.into_iter().map(str::to_owned).chain([format!("fleet get {id} -o a.mp4")]) {
            assert_eq!(patience_s(&words), 120, "{words}");
        }
        assert_eq!(patience_s("fleet stats --patience-s 3"), 3);
    }

    #[test]
    fn flags_become_the_fields_of_the_api() {
        let words = "fleet generate cat --tier preview --frames 33 --seed -1 --interpolate 2 --progressive fast --set similar_prompts=true --set model=a-b";
        let Command::Generate(args) = Cli::try_parse_from(words.split(' ')).unwrap().command else {
            panic!("generate")
        };
        let fields = Value::Object(args.request.fields().unwrap());
        let expected = serde_json::json!({
            "quality_tier": "preview", "video_length": 33, "seed": -1, "interpolate": 2, "progressive": "fast",
            "similar_prompts": true, "model": "a-b",
        });
        assert_eq!(fields, expected);
    }
}
