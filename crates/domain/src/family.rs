//! The model families that this release can run.

use serde::{Deserialize, Serialize};

/// A family of models: one set of networks and one pipeline, named by `family` in `fleet.toml`.
///
/// Adding a variant makes every place that must know about it fail to compile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelFamily {
    /// HunyuanVideo 1.0 and its distilled relatives.
    #[default]
    V1,
    /// HunyuanVideo 1.5, text-to-video or image-to-video, and its distilled relatives.
    #[serde(rename = "v1_5")]
    V1_5,
}

impl ModelFamily {
    /// All families.
    pub const ALL: &[Self] = &[Self::V1, Self::V1_5];

    /// The name in `fleet.toml`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V1_5 => "v1_5",
        }
    }
}

impl std::fmt::Display for ModelFamily {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_family_is_read_by_its_name() {
        for family in ModelFamily::ALL {
            let read: ModelFamily = serde_json::from_value(family.as_str().into()).expect("a known name");
            assert_eq!(read, *family);
        }
    }

    #[test]
    fn an_unknown_family_is_refused_with_the_known_ones() {
        let error = serde_json::from_value::<ModelFamily>("v9".into()).expect_err("unknown").to_string();
        assert!(error.contains("v9") && error.contains("v1"), "{error}");
    }
}
