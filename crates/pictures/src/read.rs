//! From a file to upright, opaque pixels.

use std::io::{Cursor, ErrorKind};

use image::codecs::jpeg::JpegDecoder;
use image::codecs::png::PngDecoder;
use image::codecs::webp::WebPDecoder;
use image::{DynamicImage, ImageDecoder, ImageError, RgbImage};

use crate::jpeg;
use crate::kind::{Kind, kind};
use crate::limits::{BACKGROUND, Limits, Refused};

/// Decoded pixels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pixels {
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// `[height, width, 3]`, 8 bits a channel.
    pub rgb: Vec<u8>,
}

/// Decodes a stored picture.
///
/// # Errors
/// [`Refused`], as for any other picture.
pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Pixels, Refused> {
    let upright = read(bytes, limits)?;
    let (width, height) = upright.dimensions();
    Ok(Pixels { width, height, rgb: upright.into_raw() })
}

/// Decodes a picture of any kind that is taken.
pub(crate) fn read(bytes: &[u8], limits: &Limits) -> Result<RgbImage, Refused> {
    let (kind, file) = (kind(bytes)?, Cursor::new(bytes));
    let animated = || Refused::unusable("is animated; send a still picture");
    match kind {
        Kind::Png => {
            let decoder = PngDecoder::with_limits(file, library(limits)).map_err(|error| refused(&error))?;
            if decoder.is_apng().map_err(|error| refused(&error))? {
                return Err(animated());
            }
            upright(decoder, limits)
        }
        Kind::Jpeg => {
            if !jpeg::is_whole(bytes) {
                return Err(cut_off());
            }
            upright(JpegDecoder::new(file).map_err(|error| refused(&error))?, limits)
        }
        Kind::WebP => {
            let decoder = WebPDecoder::new(file).map_err(|error| refused(&error))?;
            if decoder.has_animation() {
                return Err(animated());
            }
            upright(decoder, limits)
        }
    }
}

fn library(limits: &Limits) -> image::Limits {
    let mut library = image::Limits::no_limits();
    library.max_alloc = Some(limits.memory_max_bytes);
    library
}

/// Checks the header, decodes, and drops all but the colours.
fn upright<D: ImageDecoder>(mut decoder: D, limits: &Limits) -> Result<RgbImage, Refused> {
    let (width, height) = decoder.dimensions();
    let pixels = u64::from(width) * u64::from(height);
    if pixels > limits.pixels_max {
        let reason = format!("has {width}x{height} = {pixels} pixels; at most {} are allowed", limits.pixels_max);
        return Err(Refused::TooLarge(reason));
    }
    let mut library = library(limits);
    library.reserve(decoder.total_bytes()).map_err(|error| refused(&error))?;
    decoder.set_limits(library).map_err(|error| refused(&error))?;
    // A picture whose Exif block cannot be read is shown as it is, as viewers do.
    let orientation = decoder.orientation().unwrap_or(image::metadata::Orientation::NoTransforms);
    let mut picture = DynamicImage::from_decoder(decoder).map_err(|error| refused(&error))?;
    picture.apply_orientation(orientation);
    Ok(opaque(picture))
}

/// Lays transparent parts on the background.
fn opaque(picture: DynamicImage) -> RgbImage {
    if !picture.color().has_alpha() {
        return picture.into_rgb8();
    }
    let with_alpha = picture.into_rgba8();
    let (width, height) = with_alpha.dimensions();
    let mix = |value: u8, behind: u8, alpha: u8| {
        let sum = u32::from(value) * u32::from(alpha) + u32::from(behind) * u32::from(255 - alpha);
        // At most 255 * 255, rounded to the nearest.
        u8::try_from((sum + 127) / 255).unwrap_or(u8::MAX)
    };
    let mut rgb = Vec::with_capacity(with_alpha.as_raw().len() / 4 * 3);
    for pixel in with_alpha.pixels() {
        let [red, green, blue, alpha] = pixel.0;
        rgb.extend([(red, 0), (green, 1), (blue, 2)].map(|(value, at)| mix(value, BACKGROUND[at], alpha)));
    }
    RgbImage::from_raw(width, height, rgb).unwrap_or_default()
}

fn cut_off() -> Refused {
    Refused::unusable("ends before its picture does; send the whole file")
}

fn refused(error: &ImageError) -> Refused {
    match error {
        ImageError::Limits(_) => {
            Refused::TooLarge("needs more memory than the decoder may use; send a smaller picture".to_owned())
        }
        ImageError::IoError(cause) if cause.kind() == ErrorKind::UnexpectedEof => cut_off(),
        ImageError::Unsupported(_) => {
            Refused::unusable(format!("uses a feature that is not supported ({error}); save it as an ordinary PNG"))
        }
        other => Refused::unusable(format!("cannot be decoded ({other}); save it again as a PNG or JPEG")),
    }
}
