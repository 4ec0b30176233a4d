//! `fleet`: the command-line client of the API. It talks HTTP to one server and knows nothing about the fleet's internals.
//!
//! # Reading order
//! [`args`]: the command line; [`config`]: where server and key come from; [`api`]: requests that survive a restart of the
//! server; [`sse`] and [`events`]: event streams; [`follow`]: a job until it ends; [`commands`]: one file per command;
//! [`top`]: the full-screen view; [`failure`]: exit codes.

mod api;
mod args;
mod bar;
mod commands;
mod config;
mod download;
mod events;
mod failure;
mod follow;
mod job;
mod out;
mod prompt_tokens;
mod sse;
mod table;
mod text;
mod top;

use std::process::ExitCode;

use clap::Parser as _;

use crate::args::Cli;
use crate::failure::Failure;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(()) | Err(Failure::ReaderGone) => ExitCode::SUCCESS,
        Err(failure) => {
            out::complain(&failure.to_string());
            ExitCode::from(failure.exit_code())
        }
    }
}

fn run(cli: Cli) -> Result<(), Failure> {
    // Ring is the TLS implementation of the whole workspace. It fails only if one is installed already.
    drop(rustls::crypto::ring::default_provider().install_default());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|error| Failure::Local(format!("cannot start the runtime: {error}")))?;
    let outcome = runtime.block_on(commands::run(cli));
    // A read of standard input may still be pending on another thread, and nobody waits for it any more.
    runtime.shutdown_background();
    outcome
}
