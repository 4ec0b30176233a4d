//! `worker rank`: the process of another device. A worker starts it; it is of no use by itself.

use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use hunyuan::{DeviceChoice, Dtype, Engine, EngineOptions, Residency, Storage, Team};

use super::{FAILED, HERE, READY};

/// The flags with which a worker starts it.
#[derive(Debug, Args)]
pub struct RankArgs {
    /// File at which the processes meet
    #[arg(long)]
    meet: PathBuf,
    /// This process's number
    #[arg(long)]
    rank: usize,
    /// Number of processes
    #[arg(long)]
    size: usize,
    /// Longest wait for another process
    #[arg(long)]
    limit_ms: u64,
    /// Model folder
    #[arg(long)]
    model: PathBuf,
    /// cpu or cuda:N
    #[arg(long)]
    device: DeviceChoice,
    /// Number format of the transformer
    #[arg(long)]
    dtype: Dtype,
    /// How the transformer's matrices are kept
    #[arg(long)]
    storage: Storage,
    /// Number format of the decoder
    #[arg(long)]
    decoder_dtype: Dtype,
    /// Threads on a CPU
    #[arg(long)]
    threads: usize,
    /// Attention kernel
    #[arg(long)]
    attention: Option<String>,
    /// Build of FlashAttention 3
    #[arg(long)]
    attention_library: Option<PathBuf>,
    /// Folder that remembers hashes
    #[arg(long)]
    hashes: Option<PathBuf>,
    /// Only kernels whose results do not vary
    #[arg(long)]
    deterministic: bool,
}

/// Loads the model and follows the orders on standard input until it ends.
///
/// # Errors
/// The model, the device, or another process; the reason is written to standard output, too.
pub fn run(args: &RankArgs) -> anyhow::Result<()> {
    let followed = follow(args);
    if let Err(error) = &followed {
        say(&format!("{FAILED}{error:#}").replace('\n', " "))?;
    }
    followed
}

fn follow(args: &RankArgs) -> anyhow::Result<()> {
    say(HERE)?;
    let mut team = Team::join(&args.meet, args.rank, args.size, Duration::from_millis(args.limit_ms))?;
    let mut engine = Engine::load(&options(args)?).context("load the model")?;
    say(&format!("{READY}{}", engine.info().model_fingerprint))?;
    team.use_device(engine.device())?;
    for line in std::io::stdin().lock().lines() {
        engine.follow(&line.context("read an order")?, &team)?;
    }
    Ok(())
}

fn options(args: &RankArgs) -> anyhow::Result<EngineOptions> {
    let attention = args.attention.as_deref().map(str::parse).transpose().map_err(anyhow::Error::msg)?;
    Ok(EngineOptions {
        device: args.device,
        dtype: Some(args.dtype),
        storage: args.storage,
        decoder_dtype: Some(args.decoder_dtype),
        threads: Some(args.threads),
        attention,
        attention_library: args.attention_library.clone(),
        hashes_dir: args.hashes.clone(),
        deterministic: args.deterministic,
        // The first process encodes.
        text_encoders: Residency::OnDemand,
        ..EngineOptions::new(&args.model)
    })
}

fn say(line: &str) -> anyhow::Result<()> {
    let mut output = std::io::stdout().lock();
    writeln!(output, "{line}").and_then(|()| output.flush()).context("report to the worker")
}
