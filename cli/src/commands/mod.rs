//! One file per command.

mod analyze;
mod batch;
mod batch_lines;
mod batch_outcome;
mod batch_state;
mod fleet;
mod generate;
mod jobs;
mod keys;
mod queue;
mod replay;
mod shell;
mod usage;
mod waiting;
mod waiting_many;
mod watch;

use crate::api::Api;
use crate::args::{Cli, Command};
use crate::config::Target;
use crate::failure::Failure;
use crate::out::Out;
use crate::top;

/// Runs the command.
pub(crate) async fn run(cli: Cli) -> Result<(), Failure> {
    let out = Out { json: cli.common.json, quiet: cli.common.quiet };
    // These two need no server, and must work before there is one.
    match &cli.command {
        Command::Completions { shell } => return shell::completions(*shell, out),
        Command::Man { folder } => return shell::man(folder.as_deref(), out),
        _ => {}
    }
    let target = Target::load(&cli.common)?;
    let api = Api::new(&target, cli.patience(), out)?;
    match cli.command {
        Command::Generate(args) => generate::generate(&api, out, args).await,
        Command::Batch(args) => batch::batch(&api, out, &args).await,
        Command::Analyze(args) => analyze::analyze(&api, out, &args).await,
        Command::Jobs(args) => jobs::list(&api, out, &args).await,
        Command::Watch(args) => watch::watch(&api, out, &args).await,
        Command::Cancel { jobs } => jobs::cancel(&api, out, &jobs).await,
        Command::Queue { action } => queue::queue(&api, out, action).await,
        Command::Move(args) => queue::move_job(&api, out, &args).await,
        Command::Get(args) => jobs::get(&api, out, &args).await,
        Command::Replay(args) => replay::replay(&api, out, &args).await,
        Command::Usage(args) => usage::usage(&api, out, &args).await,
        Command::Budgets => usage::budgets(&api, out).await,
        Command::Stats => fleet::stats(&api, out).await,
        Command::Workers => fleet::workers(&api, out).await,
        Command::Keys(args) => keys::keys(&api, out, &target, &args).await,
        Command::Top => top::top(&api, out).await,
        Command::Completions { .. } | Command::Man { .. } => Ok(()),
    }
}
