//! Claims jobs and renders them; also renders one video without a fleet.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use worker::failure::in_one_line;
use worker::{convert, fingerprint, fit_preview, fleet, libtorch, ranks, render};

/// The fleet's worker.
#[derive(Debug, Parser)]
#[command(name = "worker", version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Join the fleet and render its jobs until stopped
    Run,
    /// Render one video, without a fleet
    Render(Box<render::RenderArgs>),
    /// Print the fingerprints of a model folder, as its fleet.toml needs them
    Fingerprint(fingerprint::FingerprintArgs),
    /// Find the preview factors of a model folder's VAE and write them into the folder
    FitPreview(fit_preview::FitPreviewArgs),
    /// Convert a single-file checkpoint or a PyTorch file to a component of a model folder
    Convert(convert::ConvertArgs),
    /// Run another device of a worker; the worker starts this itself
    #[command(hide = true)]
    Rank(Box<ranks::follow::RankArgs>),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = libtorch::check_version().and_then(|()| match arguments.command {
        Command::Run => fleet::run::run(),
        Command::Render(args) => render::run(&args),
        Command::Fingerprint(args) => fingerprint::run(&args),
        Command::FitPreview(args) => fit_preview::run(&args),
        Command::Convert(args) => convert::run(&args),
        Command::Rank(args) => ranks::follow::run(&args),
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            #[expect(clippy::print_stderr, reason = "the last word to the person who ran the command")]
            {
                eprintln!("worker: {}", in_one_line(&error));
            }
            ExitCode::FAILURE
        }
    }
}
