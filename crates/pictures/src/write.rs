//! From pixels to the files that are stored.

use std::io::Cursor;

use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{DynamicImage, ImageEncoder, RgbImage};

use crate::limits::{Refused, THUMBNAIL_SIDE};

/// Quality of thumbnails, 1 to 100.
const THUMBNAIL_QUALITY: u8 = 80;

/// The picture as a PNG. Compressed fast: uploads wait for it.
pub(crate) fn png(picture: &RgbImage) -> Result<Vec<u8>, Refused> {
    let mut file = Cursor::new(Vec::new());
    let encoder = PngEncoder::new_with_quality(&mut file, CompressionType::Fast, FilterType::Adaptive);
    let (width, height) = picture.dimensions();
    encoder
        .write_image(picture.as_raw(), width, height, image::ExtendedColorType::Rgb8)
        .map_err(|error| failed(&error))?;
    Ok(file.into_inner())
}

/// A small JPEG for lists.
pub(crate) fn thumbnail(picture: RgbImage) -> Result<Vec<u8>, Refused> {
    let (width, height) = picture.dimensions();
    let picture = DynamicImage::from(picture);
    let picture =
        if width.max(height) > THUMBNAIL_SIDE { picture.thumbnail(THUMBNAIL_SIDE, THUMBNAIL_SIDE) } else { picture };
    let mut file = Vec::new();
    picture
        .write_with_encoder(JpegEncoder::new_with_quality(&mut file, THUMBNAIL_QUALITY))
        .map_err(|error| failed(&error))?;
    Ok(file)
}

fn failed(error: &image::ImageError) -> Refused {
    Refused::unusable(format!("cannot be stored as a PNG ({error})"))
}
