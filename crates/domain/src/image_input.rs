//! Whether a model begins its videos from a picture.

use serde::{Deserialize, Serialize};

/// What a model does with a picture, named by `image` in `fleet.toml`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ImageInput {
    /// Text-to-video: a request with a picture is refused.
    #[default]
    None,
    /// Image-to-video: the picture is the first frame, and a request without one is refused.
    Required,
}

impl ImageInput {
    /// The word in `fleet.toml`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Required => "required",
        }
    }

    /// Whether this is [`ImageInput::None`], which a manifest leaves out.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::None
    }
}

impl std::fmt::Display for ImageInput {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_words_are_read_and_others_are_refused_with_them() {
        for image in [ImageInput::None, ImageInput::Required] {
            let read: ImageInput = serde_json::from_value(image.as_str().into()).expect("a known word");
            assert_eq!((read, read.is_none()), (image, image == ImageInput::None));
        }
        let error = serde_json::from_value::<ImageInput>("optional".into()).expect_err("unknown").to_string();
        assert!(error.contains("optional") && error.contains("required"), "{error}");
    }
}
