//! Whether a JPEG is complete.
//!
//! Decoders show what they have of a file that was cut off, with grey below. Here that is an error, because the video would begin
//! with it. The markers are those of ITU-T T.81, annex B.

/// Start of the image.
const SOI: u8 = 0xD8;
/// End of the image.
const EOI: u8 = 0xD9;
/// Restart markers, which occur within that data.
const RESTARTS: std::ops::RangeInclusive<u8> = 0xD0..=0xD7;

/// Whether the end of the image is in the file. A preview inside a segment does not count, since segments are skipped by their
/// length; what follows the end does not matter.
pub(crate) fn is_whole(bytes: &[u8]) -> bool {
    let mut at = 0;
    loop {
        // 1. The next marker: 0xFF, perhaps repeated, and its code.
        let Some(found) = bytes.get(at..).and_then(|rest| rest.iter().position(|byte| *byte == 0xFF)) else {
            return false;
        };
        at += found;
        while bytes.get(at) == Some(&0xFF) {
            at += 1;
        }
        let Some(code) = bytes.get(at) else { return false };
        at += 1;
        match *code {
            EOI => return true,
            // 2. Without a segment: the start, a restart, and 0xFF as a value of the data.
            0 | 1 | SOI => {}
            code if RESTARTS.contains(&code) => {}
            // 3. A segment, skipped by its length. That of a scan is its header only; its data is searched for the next marker.
            _ => {
                let Some(&[high, low]) = bytes.get(at..at + 2).and_then(|two| two.first_chunk::<2>()) else {
                    return false;
                };
                at += usize::from(u16::from_be_bytes([high, low]));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Start of a scan, whose data has no length.
    const SOS: u8 = 0xDA;

    #[test]
    fn only_the_end_of_the_image_itself_counts() {
        let preview = [0xFF, 0xE1, 0, 6, 0xFF, EOI, 0, 0];
        let scan = [0xFF, SOS, 0, 2, 1, 2, 0xFF, 0, 3, 0xFF, 0xD0, 4];
        let file = |end: &[u8]| [&[0xFF, SOI], &preview[..], &scan, end].concat();
        assert!(!is_whole(&file(&[])) && !is_whole(&file(&[0xFF])));
        assert!(is_whole(&file(&[0xFF, EOI])) && is_whole(&file(&[0xFF, 0xFF, EOI, 7, 7])));
        assert!(!is_whole(&[]) && !is_whole(&[0xFF, SOI, 0xFF, 0xE1, 0xFF, 0xFF]));
    }
}
