//! The limits as the code that applies them takes them.

use domain::RequestLimits;

use crate::sections::Settings;
use crate::sections::limits::LimitsSettings;

impl Settings {
    /// The limits on requests as `domain` checks them.
    #[must_use]
    pub fn request_limits(&self) -> RequestLimits {
        RequestLimits { interpolated_frames_max: self.interpolated_frames_max(), ..self.limits.request() }
    }

    /// Most frames of an interpolated video; 0 where interpolation is off.
    #[must_use]
    pub fn interpolated_frames_max(&self) -> u32 {
        if self.interpolation.enabled { self.interpolation.frames_max } else { 0 }
    }
}

impl LimitsSettings {
    fn request(&self) -> RequestLimits {
        RequestLimits {
            prompt_chars_max: self.prompt_chars_max,
            cfg_scale_max: self.cfg_scale_max,
            true_cfg_scale_max: self.true_cfg_scale_max,
            deadline_s_max: self.deadline_s_max,
            interpolated_frames_max: 0,
        }
    }

    /// Most waiting jobs of one tenant; 0 for no limit. Without keys there is one tenant, which may fill the whole backlog.
    #[must_use]
    pub fn tenant_max(&self, keys_required: bool) -> u64 {
        if self.backlog_per_tenant_max > 0 || !keys_required || self.backlog_tenant_share >= 1.0 {
            return self.backlog_per_tenant_max;
        }
        #[expect(clippy::cast_precision_loss, reason = "a backlog is far below 2^52 jobs")]
        let share = (self.backlog_max as f64 * self.backlog_tenant_share).ceil();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a part of backlog_max, above 0")]
        let share = share as u64;
        share.max(1)
    }
}
