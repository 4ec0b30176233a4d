//! Goal: the client does what docs/cli.md says, also while the server restarts and in a real terminal.
//! Method: the built executable against the fleet's own processes; tmux for what needs a terminal.

mod batch;
mod codes;
mod generate;
mod outages;
mod shell;
mod support;
mod terminal;
