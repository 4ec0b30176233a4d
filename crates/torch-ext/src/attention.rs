//! Which of libtorch's attention kernels may run, and in which order they are tried.
//!
//! libtorch keeps the choice for the whole process. On its first attention on a GPU it replaces the order by one of its own
//! where it prefers cuDNN, so an order that is set before that call is lost: run each kernel once, then set the order.

use std::fmt;
use std::str::FromStr;

use crate::{Error, Result, shim};

/// A kernel for scaled dot product attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Backend {
    /// cuDNN's, compiled by NVRTC at run time. Fastest on Hopper.
    Cudnn,
    /// FlashAttention 2; on a CPU libtorch's own tiled kernel.
    Flash,
    /// The memory-efficient kernel, which takes any head size.
    Efficient,
    /// Plain matrix products: needs memory for all pairs of tokens.
    Math,
    /// FlashAttention 3 from an extension that the user has built; see [`crate::flash3`].
    Flash3,
}

/// libtorch's own, in the order in which libtorch would try them on a Hopper GPU.
pub const ALL: [Backend; 4] = [Backend::Cudnn, Backend::Flash, Backend::Efficient, Backend::Math];

impl Backend {
    /// As settings, logs and the API spell it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cudnn => "cudnn",
            Self::Flash => "flash",
            Self::Efficient => "efficient",
            Self::Math => "math",
            Self::Flash3 => "flash3",
        }
    }

    /// libtorch's number (`at::SDPBackend`); none for what is not libtorch's.
    const fn number(self) -> Option<i64> {
        match self {
            Self::Math => Some(0),
            Self::Flash => Some(1),
            Self::Efficient => Some(2),
            Self::Cudnn => Some(3),
            Self::Flash3 => None,
        }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Backend {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let found = ALL.into_iter().chain([Self::Flash3]).find(|backend| backend.as_str() == text);
        found
            .ok_or_else(|| format!("`{text}` is not an attention backend; use cudnn, flash, flash3, efficient or math"))
    }
}

/// Enables exactly these backends of libtorch's, the preferred one first.
///
/// # Errors
/// [`Error::Failed`] for an empty list, a repeated backend or one that is not libtorch's, and what libtorch refuses.
pub fn set(backends: &[Backend]) -> Result<()> {
    let mut order = backends.to_vec();
    order.extend(ALL.into_iter().filter(|backend| !backends.contains(backend)));
    let numbers: Option<Vec<i64>> = order.iter().map(|backend| backend.number()).collect();
    let numbers = numbers.ok_or_else(|| Error::Failed("flash3 is not one of libtorch's backends".to_owned()))?;
    let numbers: [i64; 4] = numbers.try_into().map_err(|_| Error::Failed("name each backend once".to_owned()))?;
    if backends.is_empty() {
        return Err(Error::Failed("enable at least one attention backend".to_owned()));
    }
    shim::set_attention(&numbers, backends.len())
}

/// The enabled backends in the order in which libtorch tries them.
///
/// # Errors
/// libtorch's.
pub fn enabled() -> Result<Vec<Backend>> {
    let numbers = shim::attention()?;
    Ok(numbers.iter().filter_map(|&number| ALL.into_iter().find(|backend| backend.number() == Some(number))).collect())
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind, Tensor};

    use super::*;

    fn attend() -> std::result::Result<Tensor, tch::TchError> {
        let qkv = Tensor::f_ones([1, 2, 8, 16], (Kind::Float, Device::Cpu))?;
        Tensor::f_scaled_dot_product_attention::<&Tensor>(&qkv, &qkv, &qkv, None, 0.0, false, None, false)
    }

    /// One test, since the choice is the process's.
    #[test]
    fn the_enabled_backends_are_those_that_run() {
        let before = enabled().unwrap();
        assert_eq!(before.len(), ALL.len(), "all are enabled by default: {before:?}");
        set(&[Backend::Math, Backend::Flash]).unwrap();
        assert_eq!(enabled().unwrap(), [Backend::Math, Backend::Flash]);
        assert!(attend().is_ok());
        // Neither exists on a CPU, so nothing is left that could run.
        set(&[Backend::Cudnn]).unwrap();
        let error = attend().unwrap_err().to_string();
        assert!(error.contains("No available kernel") || error.contains("No viable backend"), "{error}");
        set(&before).unwrap();
        assert_eq!(enabled().unwrap(), before);
        assert!(set(&[]).is_err() && set(&[Backend::Math, Backend::Math]).is_err());
        assert!(set(&[Backend::Flash3]).is_err(), "libtorch does not have it");
    }

    #[test]
    fn names_read_as_they_are_written() {
        for backend in ALL.into_iter().chain([Backend::Flash3]) {
            assert_eq!(backend.as_str().parse(), Ok(backend));
        }
        assert!("fa3".parse::<Backend>().unwrap_err().contains("use cudnn"));
    }
}
