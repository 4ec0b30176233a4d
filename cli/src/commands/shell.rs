//! `fleet completions` and `fleet man`: generated from the command line's own definition, so they cannot be out of date.

use std::path::Path;

use clap::CommandFactory as _;
use clap_complete::Shell;
use clap_mangen::Man;

use crate::args::Cli;
use crate::failure::Failure;
use crate::out::Out;

/// Prints the completion script.
pub(crate) fn completions(shell: Shell, out: Out) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "fleet", &mut script);
    out.line(String::from_utf8_lossy(&script).trim_end())
}

/// Prints the main page, or writes the pages of all commands into a folder.
pub(crate) fn man(folder: Option<&Path>, out: Out) -> Result<(), Failure> {
    let command = Cli::command();
    let Some(folder) = folder else {
        let mut page = Vec::new();
        let rendered = Man::new(command).render(&mut page);
        rendered.map_err(|error| Failure::Local(format!("cannot render the page: {error}")))?;
        return out.line(String::from_utf8_lossy(&page).trim_end());
    };
    std::fs::create_dir_all(folder).map_err(|error| Failure::file("create", folder, &error))?;
    clap_mangen::generate_to(command, folder).map_err(|error| Failure::file("write pages to", folder, &error))?;
    out.hint(&format!("wrote the man pages to {0}; read one with `man -l {0}/fleet.1`", folder.display()));
    Ok(())
}
