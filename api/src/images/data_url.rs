//! Pictures as text: `data:image/png;base64,iVBORw0...` (RFC 2397).

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Accepts base64 with and without padding, since clients send both.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The bytes of a data URL; `None` for a text that is none. The media type is ignored: the bytes say what they are.
///
/// # Errors
/// What is wrong with it.
pub(super) fn read(text: &str) -> Option<Result<Vec<u8>, &'static str>> {
    let (scheme, rest) = text.split_once(':')?;
    if !scheme.eq_ignore_ascii_case("data") {
        return None;
    }
    let Some((about, data)) = rest.split_once(',') else {
        return Some(Err("is a data URL without a comma; send data:image/png;base64,..."));
    };
    if !about.to_ascii_lowercase().ends_with(";base64") {
        return Some(Err("is a data URL without ;base64; send data:image/png;base64,..."));
    }
    // Some encoders break lines.
    let data: Vec<u8> = data.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    Some(BASE64.decode(data).map_err(|_| "is a data URL whose data are not base64"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_read_with_or_without_padding_and_line_breaks() {
        for text in ["data:image/png;base64,aGk=", "data:;base64,aGk", "DATA:image/jpeg;charset=x;BASE64,aG\r\nk="] {
            assert_eq!(read(text).unwrap().unwrap(), b"hi", "{text}");
        }
        for text in ["data:image/png;base64", "data:image/png,hi", "data:image/png;base64,***"] {
            assert!(read(text).unwrap().is_err(), "{text}");
        }
        for text in ["", "hi", "https://example.com/a.png", "018f3c5e-0000-7000-8000-000000000001"] {
            assert!(read(text).is_none(), "{text}");
        }
    }
}
