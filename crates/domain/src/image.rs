//! The picture that a video begins from: how a request names it, and which part of it is used.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::field_error::FieldError;
use crate::image_input::ImageInput;
use crate::model::{ModelManifest, RenderShape};

/// How a request gives a picture.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(untagged)]
pub enum ImageSource {
    /// The id of an uploaded picture, or a data URL (`data:image/png;base64,...`). URLs are never fetched.
    Named(String),
    /// A stored picture, as responses show it.
    Stored(ImageUse),
}

/// A stored picture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ImageUse {
    /// Its id.
    pub id: Uuid,
    /// SHA-256 of the stored file. Filled in by the fleet; a request that gives another one is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Pixels. Filled in by the fleet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub width: Option<u32>,
    /// Pixels. Filled in by the fleet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub height: Option<u32>,
}

/// The part of a picture that the video shows, in the picture's pixels: the largest one with the video's aspect, at its centre.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ImageCrop {
    /// Pixels left of it.
    pub x: u32,
    /// Pixels above it.
    pub y: u32,
    /// Its width.
    pub width: u32,
    /// Its height.
    pub height: u32,
}

impl ImageSource {
    /// The stored picture, once the fleet knows it.
    #[must_use]
    pub fn stored(&self) -> Option<&ImageUse> {
        match self {
            Self::Stored(image) => Some(image),
            Self::Named(_) => None,
        }
    }
}

impl ImageCrop {
    /// The part of a picture of `width` x `height` pixels.
    #[must_use]
    pub fn of((width, height): (u32, u32), shape: &RenderShape) -> Self {
        let (wide, tall) = (u64::from(width) * u64::from(shape.height), u64::from(height) * u64::from(shape.width));
        let part = |long: u64, short: u32| u32::try_from((long + u64::from(short) / 2) / u64::from(short.max(1)));
        // What is wider than the video loses at its sides, what is taller above and below.
        let (used_width, used_height) = if wide > tall {
            (part(tall, shape.height).map_or(width, |used| used.clamp(1, width)), height)
        } else {
            (width, part(wide, shape.width).map_or(height, |used| used.clamp(1, height)))
        };
        let (x, y) = ((width - used_width) / 2, (height - used_height) / 2);
        Self { x, y, width: used_width, height: used_height }
    }
}

/// What is wrong with having a picture, or none, for this model.
pub(crate) fn error(image: Option<&ImageSource>, model: &ModelManifest) -> Option<FieldError> {
    match (model.image, image) {
        (ImageInput::None, Some(_)) => {
            let reason = format!("the model '{}' makes videos from text alone; leave the picture out", model.id);
            Some(FieldError::new("image", reason))
        }
        (ImageInput::Required, None) => {
            let reason = format!(
                "is missing; the model '{}' begins its videos from a picture: send a file, a data URL, or the id of an upload",
                model.id
            );
            Some(FieldError::new("image", reason))
        }
        _ => None,
    }
}

impl<'de> Deserialize<'de> for ImageSource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SourceVisitor;

        impl<'de> Visitor<'de> for SourceVisitor {
            type Value = ImageSource;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the id of a picture or a data URL")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(ImageSource::Named(text.to_owned()))
            }

            fn visit_string<E: Error>(self, text: String) -> Result<Self::Value, E> {
                Ok(ImageSource::Named(text))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                ImageUse::deserialize(MapAccessDeserializer::new(map)).map(ImageSource::Stored)
            }
        }
        deserializer.deserialize_any(SourceVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::VideoRequest;

    fn shape(width: u32, height: u32) -> RenderShape {
        RenderShape { width, height, frames: 5, fps: 24.0 }
    }

    fn request(image: &str) -> VideoRequest {
        serde_json::from_str(&format!("{{\"prompt\": \"x\", \"image\": {image}}}")).unwrap()
    }

    const ID: &str = "018f3c5e-0000-7000-8000-000000000001";

    #[test]
    fn a_picture_is_read_from_text_and_from_what_responses_show() {
        let named = request(&format!("\"{ID}\""));
        assert_eq!(named.image, Some(ImageSource::Named(ID.to_owned())));
        let stored = request(&format!("{{\"id\": \"{ID}\", \"sha256\": \"00\", \"width\": 4, \"height\": 2}}"));
        let image = stored.image.as_ref().and_then(ImageSource::stored).unwrap();
        assert_eq!((image.width, image.height), (Some(4), Some(2)));
        let document = serde_json::to_value(&stored).unwrap();
        assert_eq!(VideoRequest::from_document(document).unwrap(), stored);
        assert_eq!(request("null").image, None);
        assert!(serde_json::from_str::<VideoRequest>("{\"prompt\": \"x\", \"image\": 1}").is_err());
        let unknown = format!("{{\"prompt\": \"x\", \"image\": {{\"id\": \"{ID}\", \"url\": \"y\"}}}}");
        assert!(serde_json::from_str::<VideoRequest>(&unknown).is_err());
    }

    #[test]
    fn the_hash_follows_the_content_of_the_picture_and_not_its_id() {
        let stored = |id: &str, sha: &str| {
            request(&format!("{{\"id\": \"{id}\", \"sha256\": \"{sha}\", \"width\": 4, \"height\": 2}}")).payload_hash()
        };
        let other_id = ID.replace("01", "02");
        assert_eq!(stored(ID, "aa"), stored(&other_id, "aa"));
        assert_ne!(stored(ID, "aa"), stored(ID, "bb"));
        assert_ne!(stored(ID, "aa"), VideoRequest::new("x").payload_hash());
        assert_eq!(request("null").payload_hash(), VideoRequest::new("x").payload_hash());
    }

    #[test]
    fn the_crop_is_the_largest_centred_part_with_the_videos_aspect() {
        let crop = |picture, (width, height)| {
            let ImageCrop { x, y, width, height } = ImageCrop::of(picture, &shape(width, height));
            (x, y, width, height)
        };
        assert_eq!(crop((1920, 1080), (1280, 720)), (0, 0, 1920, 1080));
        assert_eq!(crop((4000, 3000), (1280, 720)), (0, 375, 4000, 2250));
        assert_eq!(crop((3000, 4000), (720, 720)), (0, 500, 3000, 3000));
        assert_eq!(crop((4000, 3000), (720, 1280)), (1156, 0, 1688, 3000));
        assert_eq!(crop((1, 1), (1280, 720)), (0, 0, 1, 1));
        assert_eq!(crop((u32::MAX, 1), (16, 16)), (u32::MAX / 2, 0, 1, 1));
    }
}
