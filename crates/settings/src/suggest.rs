//! "Did you mean": the known key nearest to an unknown one.

/// The nearest of `known`, if it is near enough to be a plausible suggestion.
pub(crate) fn nearest<'a>(unknown: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let last = |key: &str| key.rsplit('.').next().unwrap_or_default().to_owned();
    let unknown_last = last(unknown);
    known
        // A correct name in the wrong section is a near miss too, however long the section's name is.
        .map(|key| {
            let moved = usize::from(last(key) == unknown_last);
            (if moved == 1 { 1 } else { distance(unknown, key) }, key)
        })
        .min()
        .filter(|(edits, key)| *edits <= 1 + key.len() / 4)
        .map(|(_, key)| key)
}

/// Levenshtein distance, in characters.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, left) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, right) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(left != *right);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 4] = ["server.port", "server.bind", "redis.port", "cache.ttl_s"];

    #[test]
    fn a_typo_finds_its_key() {
        assert_eq!(nearest("server.prot", KNOWN.into_iter()), Some("server.port"));
        assert_eq!(nearest("cache.ttl", KNOWN.into_iter()), Some("cache.ttl_s"));
    }

    #[test]
    fn a_key_in_the_wrong_section_is_found() {
        assert_eq!(nearest("scheduler.ttl_s", KNOWN.into_iter()), Some("cache.ttl_s"));
    }

    #[test]
    fn nothing_is_suggested_for_something_else_entirely() {
        assert_eq!(nearest("telemetry.exporter", KNOWN.into_iter()), None);
    }

    #[test]
    fn distance_counts_edits() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("same", "same"), 0);
    }
}
