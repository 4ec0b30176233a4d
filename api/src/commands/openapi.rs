//! `api openapi`: the description as a file, from which the page's types are made.

use std::io::Write as _;

use crate::router::document;

/// The description as it is committed: pretty-printed, with a newline at its end.
#[must_use]
pub fn text() -> String {
    let mut text = document().to_pretty_json().expect("the document serialises; this is a bug");
    text.push('\n');
    text
}

/// Prints it.
///
/// # Errors
/// Nobody reads.
pub fn print() -> anyhow::Result<()> {
    std::io::stdout().write_all(text().as_bytes())?;
    Ok(())
}
