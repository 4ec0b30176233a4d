//! How a model is guided, and what a request may change about it: `[sampling.guidance]` of `fleet.toml`.
//!
//! HunyuanVideo 1.0 takes a scale as an input of its network and may run a second pass for a negative prompt. 1.5 knows only the
//! second pass and needs it, unless it was distilled to do without. A few-step model is trained for one scale.

use serde::{Deserialize, Serialize};

use crate::field_error::FieldError;
use crate::manifest_error::ManifestError;

/// Who decides the scales.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GuidanceKind {
    /// The request; the model's scales are the defaults.
    #[default]
    Free,
    /// The model: it was distilled for these scales.
    Fixed,
    /// Nobody: the model was distilled to need no second pass, and its network takes no scale.
    None,
}

/// `[sampling.guidance]`. A manifest without it is guided as HunyuanVideo 1.0 is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Guidance {
    /// Who decides.
    pub kind: GuidanceKind,
    /// Embedded guidance; without effect on a network that takes none.
    pub cfg_scale: f64,
    /// Scale of classifier-free guidance, which doubles the work of a step; 1 is none.
    pub true_cfg_scale: f64,
}

impl Default for Guidance {
    fn default() -> Self {
        Self { kind: GuidanceKind::Free, cfg_scale: 6.0, true_cfg_scale: 1.0 }
    }
}

impl Guidance {
    /// Whether a manifest need not name it.
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    pub(crate) fn check(&self) -> Result<(), ManifestError> {
        let wrong = |key: &str, reason: String| Err(ManifestError::value(format!("sampling.guidance.{key}"), reason));
        if !(self.cfg_scale.is_finite() && self.cfg_scale >= 0.0) {
            return wrong("cfg_scale", format!("{} must be 0 or more", self.cfg_scale));
        }
        if !(self.true_cfg_scale.is_finite() && self.true_cfg_scale >= 1.0) {
            return wrong("true_cfg_scale", format!("{} must be 1 (none) or more", self.true_cfg_scale));
        }
        if self.kind == GuidanceKind::None && self.true_cfg_scale > 1.0 {
            return wrong("true_cfg_scale", format!("{} must be 1 with kind = \"none\"", self.true_cfg_scale));
        }
        Ok(())
    }

    /// The scale of classifier-free guidance where a request asks for this one; 1 leaves it to the model.
    pub(crate) fn true_cfg_scale_for(&self, asked: f64) -> f64 {
        let chosen = self.kind == GuidanceKind::Free && asked > 1.0;
        if chosen { asked } else { self.true_cfg_scale }
    }

    /// The embedded scale where a request asks for this one.
    pub(crate) fn cfg_scale_for(&self, asked: f64) -> f64 {
        if self.kind == GuidanceKind::Free { asked } else { self.cfg_scale }
    }

    /// Scales that this model cannot follow, each with the request's default. The default and the model's own are always allowed.
    pub(crate) fn errors(&self, cfg_scale: (f64, f64), true_cfg_scale: (f64, f64)) -> Vec<FieldError> {
        if self.kind == GuidanceKind::Free {
            return Vec::new();
        }
        let asked = [("cfg_scale", cfg_scale, self.cfg_scale), ("true_cfg_scale", true_cfg_scale, self.true_cfg_scale)];
        let other = |(_, (asked, default), own): &(&str, (f64, f64), f64)| asked != own && asked != default;
        let refused = |(field, (asked, _), own): (&str, (f64, f64), f64)| {
            let reason = match self.kind {
                GuidanceKind::None => {
                    format!("has no effect on this model, which needs no guidance; leave it out instead of {asked}")
                }
                _ => format!("must be {own}, for which this model was trained, not {asked}; leave it out"),
            };
            FieldError::new(field, reason)
        };
        asked.into_iter().filter(other).map(refused).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE_1_5: Guidance = Guidance { kind: GuidanceKind::Free, cfg_scale: 6.0, true_cfg_scale: 6.0 };
    const FIXED: Guidance = Guidance { kind: GuidanceKind::Fixed, cfg_scale: 7.0, true_cfg_scale: 1.0 };
    const NONE: Guidance = Guidance { kind: GuidanceKind::None, cfg_scale: 6.0, true_cfg_scale: 1.0 };

    #[test]
    fn a_request_that_says_nothing_is_guided_as_the_model_needs() {
        let scales = |guidance: Guidance| (guidance.cfg_scale_for(6.0), guidance.true_cfg_scale_for(1.0));
        assert_eq!(scales(Guidance::default()), (6.0, 1.0));
        assert_eq!(scales(BASE_1_5), (6.0, 6.0));
        assert_eq!(scales(FIXED), (7.0, 1.0));
        assert_eq!(scales(NONE), (6.0, 1.0));
        assert_eq!((BASE_1_5.cfg_scale_for(2.0), BASE_1_5.true_cfg_scale_for(3.0)), (2.0, 3.0));
    }

    #[test]
    fn scales_that_a_model_cannot_follow_are_refused_by_field() {
        let fields = |guidance: Guidance, cfg_scale: f64, true_cfg_scale: f64| -> Vec<String> {
            guidance.errors((cfg_scale, 6.0), (true_cfg_scale, 1.0)).into_iter().map(|error| error.field).collect()
        };
        assert!(fields(BASE_1_5, 2.0, 9.0).is_empty());
        assert!(fields(FIXED, 7.0, 1.0).is_empty() && fields(FIXED, 6.0, 1.0).is_empty());
        assert_eq!(fields(FIXED, 5.0, 2.0), ["cfg_scale", "true_cfg_scale"]);
        assert_eq!(fields(NONE, 6.0, 2.0), ["true_cfg_scale"]);
    }

    #[test]
    fn scales_that_mean_nothing_are_refused_by_key() {
        let key = |guidance: Guidance| guidance.check().expect_err("refused").to_string();
        assert!(key(Guidance { true_cfg_scale: 0.5, ..FIXED }).contains("sampling.guidance.true_cfg_scale"));
        assert!(key(Guidance { cfg_scale: f64::NAN, ..FIXED }).contains("sampling.guidance.cfg_scale"));
        assert!(key(Guidance { true_cfg_scale: 6.0, ..NONE }).contains("none"));
        BASE_1_5.check().expect("the released base model's");
    }
}
