//! What a webhook may be: its URL and its filter of events.

use crate::event::JobEventKind;

/// Longest URL, bytes.
const URL_BYTES_MAX: usize = 2_048;

/// The events that a webhook receives unless it says otherwise: those that end a job.
pub const DEFAULT_EVENTS: &[JobEventKind] = &[JobEventKind::Completed, JobEventKind::Failed, JobEventKind::Cancelled];

/// Checks the form of a URL. Whether its host may be called is decided when it is called.
///
/// # Errors
/// What is wrong with it.
pub fn check_webhook_url(url: &str) -> Result<(), String> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let Some(rest) = rest else { return Err("must begin with https:// or http://".to_owned()) };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if url.len() > URL_BYTES_MAX {
        return Err(format!("has {} bytes; at most {URL_BYTES_MAX} are allowed", url.len()));
    }
    if !url.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("must not contain spaces, control characters or characters beyond ASCII; encode them".to_owned());
    }
    if authority.contains('@') {
        return Err("must not contain a user name or a password; deliveries are signed instead".to_owned());
    }
    if authority.is_empty() || authority.starts_with(':') || authority.contains('\\') || url.contains('#') {
        return Err("must be a URL with a host and without a fragment".to_owned());
    }
    Ok(())
}

/// Reads a list of kinds of events, separated by commas.
///
/// # Errors
/// It is empty, or a word is not a kind of event.
pub fn read_webhook_events(text: &str) -> Result<Vec<JobEventKind>, String> {
    let words = text.split(',').map(str::trim);
    words.map(|word| word.parse().map_err(|error: crate::tier::UnknownWord| error.to_string())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_urls_are_accepted() {
        for good in ["https://example.com/hook?x=1", "http://10.0.0.7:9000", "https://[2001:db8::1]/x"] {
            assert_eq!(check_webhook_url(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "example.com",
            "ftp://example.com",
            "https://",
            "https://:80/",
            "https://user:pw@example.com/",
            "https://example.com/a b",
            "https://exämple.com/",
            "https://example.com\\@evil/",
            "https://a/#b",
        ] {
            assert!(check_webhook_url(bad).is_err(), "{bad}");
        }
        assert!(check_webhook_url(&format!("https://example.com/{}", "a".repeat(3_000))).is_err());
    }

    #[test]
    fn events_are_separated_by_commas() {
        assert_eq!(read_webhook_events("completed, failed"), Ok(vec![JobEventKind::Completed, JobEventKind::Failed]));
        assert!(read_webhook_events("").is_err());
        assert!(read_webhook_events("done").unwrap_err().contains("completed"));
    }
}
