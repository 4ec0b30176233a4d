//! The last words of the program when a command fails.

/// An error with its causes. A cause that the preceding text already ends with (many errors quote their cause) is not repeated.
#[must_use]
pub fn in_one_line(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        if !text.ends_with(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn causes_are_told_once() {
        let error =
            Err::<(), _>(std::io::Error::other("disk on fire")).context("cannot read x: disk on fire").context("load");
        assert_eq!(in_one_line(&error.unwrap_err()), "load: cannot read x: disk on fire");
        let error = anyhow::anyhow!("no such thing").context("load");
        assert_eq!(in_one_line(&error), "load: no such thing");
    }
}
