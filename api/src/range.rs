//! The `Range` header of a video request: which bytes a player requests.
//!
//! A single range is served. A request for several ranges gets the whole file, which HTTP allows and every player understands;
//! a multipart response is not worth its code, because players do not ask for it.

use std::ops::Range;

/// What to send for a `Range` header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// The whole file: the header is absent, names several ranges or is malformed.
    Whole,
    /// These bytes.
    Part(Range<u64>),
    /// The range begins after the end of the file: status 416.
    Outside,
}

/// Parses a `Range` header for a file of `size` bytes.
#[must_use]
pub fn wanted(header: Option<&str>, size: u64) -> Wanted {
    let Some(spec) = header.and_then(|text| text.trim().strip_prefix("bytes=")) else { return Wanted::Whole };
    let Some((first, last)) = spec.split_once('-') else { return Wanted::Whole };
    let (first, last) = (first.trim(), last.trim());
    if spec.contains(',') {
        return Wanted::Whole;
    }
    match (digits(first), digits(last)) {
        // `bytes=-n`: the last n bytes.
        (None, Some(count)) if first.is_empty() => match count.min(size) {
            0 => Wanted::Outside,
            count => Wanted::Part(size - count..size),
        },
        (Some(start), end) if last.is_empty() || end.is_some() => {
            if start >= size {
                return Wanted::Outside;
            }
            let end = end.map_or(size, |last| last.saturating_add(1).min(size));
            if end <= start { Wanted::Whole } else { Wanted::Part(start..end) }
        }
        _ => Wanted::Whole,
    }
}

/// Parses a number that consists of digits only. A number that is too large becomes the maximum, so it is past the end.
fn digits(text: &str) -> Option<u64> {
    (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ranges_as_players_send_them() {
        let cases = [
            (None, Wanted::Whole),
            (Some("bytes=0-"), Wanted::Part(0..100)),
            (Some("bytes=0-1"), Wanted::Part(0..2)),
            (Some("bytes=90-500"), Wanted::Part(90..100)),
            (Some("bytes=-10"), Wanted::Part(90..100)),
            (Some("bytes=-500"), Wanted::Part(0..100)),
            (Some("bytes=100-"), Wanted::Outside),
            (Some("bytes=-0"), Wanted::Outside),
            (Some("bytes=5-2"), Wanted::Whole),
            (Some("bytes=0-1,5-6"), Wanted::Whole),
            (Some("lines=0-1"), Wanted::Whole),
            (Some("bytes=+1-2"), Wanted::Whole),
            (Some("bytes=0-99999999999999999999"), Wanted::Part(0..100)),
        ];
        for (header, expected) in cases {
            assert_eq!(wanted(header, 100), expected, "{header:?}");
        }
    }

    proptest! {
        /// For any header, a part is never empty and never exceeds the file.
        #[test]
        fn a_part_is_inside_the_file(header in "bytes=[0-9]{0,4}-[0-9]{0,22}|.{0,20}", size in 0_u64..5000) {
            if let Wanted::Part(range) = wanted(Some(&header), size) {
                prop_assert!(range.start < range.end && range.end <= size);
            }
        }
    }
}
