//! `api openapi`: prints the OpenAPI description, from which the page's types are generated.

use std::io::Write as _;

use crate::router::document;

/// The description as it is committed: pretty-printed, with a final newline.
#[must_use]
pub fn text() -> String {
    let mut text = document().to_pretty_json().expect("the document serialises; this is a bug");
    text.push('\n');
    text
}

/// Prints the description.
///
/// # Errors
/// Standard output is closed.
pub fn print() -> anyhow::Result<()> {
    std::io::stdout().write_all(text().as_bytes())?;
    Ok(())
}
