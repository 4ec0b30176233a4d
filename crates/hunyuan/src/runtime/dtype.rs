//! The number formats that a model may be loaded in.

use serde::{Deserialize, Serialize};
use tch::Kind;

/// Number format of weights and activations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    /// 32-bit floats: the format in which results are compared with the reference.
    F32,
    /// 16-bit floats with 8 bits of exponent: the released transformer's format.
    Bf16,
    /// 16-bit floats with 5 bits of exponent.
    F16,
}

impl Dtype {
    /// The element type in libtorch.
    #[must_use]
    pub fn kind(self) -> Kind {
        match self {
            Self::F32 => Kind::Float,
            Self::Bf16 => Kind::BFloat16,
            Self::F16 => Kind::Half,
        }
    }
}

impl std::fmt::Display for Dtype {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
        })
    }
}

impl std::str::FromStr for Dtype {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text {
            "f32" => Ok(Self::F32),
            "bf16" => Ok(Self::Bf16),
            "f16" => Ok(Self::F16),
            other => Err(format!("`{other}` is not a valid dtype; use f32, bf16 or f16")),
        }
    }
}
