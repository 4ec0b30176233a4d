//! Quality tiers, prompt complexity and step-cache modes: small closed sets with one spelling each.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Declares a closed set of words with its spelling in JSON, the database and logs.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        #[serde(rename_all = "snake_case")]
        pub enum $name { $($(#[$vdoc])* $variant),+ }

        impl $name {
            /// Every value, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The spelling used in JSON, the database, metrics and logs.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = UnknownWord;
            fn from_str(text: &str) -> Result<Self, UnknownWord> {
                match text {
                    $($text => Ok(Self::$variant),)+
                    _ => Err(UnknownWord { found: text.to_owned(), expected: &[$($text),+] }),
                }
            }
        }
    };
}
pub(crate) use words;

/// A word that is not in its closed set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{found}' is not one of {}", expected.join(", "))]
pub struct UnknownWord {
    /// The given word.
    pub found: String,
    /// The allowed words.
    pub expected: &'static [&'static str],
}

words!(
    /// What a user asks for: a tier, or `auto` to have one chosen by the prompt.
    QualityTier {
        /// Chosen by the prompt's complexity.
        Auto = "auto",
        /// A quick preview: few steps.
        Preview = "preview",
        /// The everyday quality.
        Standard = "standard",
        /// As many steps as the model profits from.
        Premium = "premium",
    }
);

words!(
    /// The tier in which a job actually runs: a [`QualityTier`] after `auto` has been decided.
    Tier {
        /// See [`QualityTier::Preview`].
        Preview = "preview",
        /// See [`QualityTier::Standard`].
        Standard = "standard",
        /// See [`QualityTier::Premium`].
        Premium = "premium",
    }
);

words!(
    /// How demanding a prompt is for the model.
    Complexity {
        /// One subject, little motion.
        Simple = "simple",
        /// Some motion or detail.
        Moderate = "moderate",
        /// Several demanding factors.
        Complex = "complex",
        /// Nearly all factors at once.
        VeryComplex = "very_complex",
    }
);

words!(
    /// How eagerly denoising steps may be replaced by a cached change.
    StepCacheMode {
        /// Every step is computed: exactly the reference's video.
        Off = "off",
        /// Skips where the change is small; hard to see.
        Balanced = "balanced",
        /// Skips more; visible in fine motion.
        Fast = "fast",
    }
);

impl From<Tier> for QualityTier {
    fn from(tier: Tier) -> Self {
        match tier {
            Tier::Preview => Self::Preview,
            Tier::Standard => Self::Standard,
            Tier::Premium => Self::Premium,
        }
    }
}
