//! How long a step takes on several devices that share each video.

use domain::model::CostPrior;

use super::model::CostModel;

/// Rate at which a device sends to the others, bytes per second: GPUs of a server with `NVLink` and `NVSwitch`, at two thirds of
/// their 450 GB/s.
const SENT_PER_S: f64 = 300e9;

/// The prior of a worker whose videos are computed by `devices` devices together. Each has its share of a step's work and sends its
/// share of the tokens' values, without its own part, to the others; neither overlaps with the other. What is around the steps
/// takes as long as on one device, although several decode faster: encoding, delivery and the start of each stage do not.
#[must_use]
pub fn on_devices(prior: &CostPrior, devices: u32) -> CostPrior {
    if devices <= 1 {
        return prior.clone();
    }
    let count = f64::from(devices);
    let exchange_s = exchange_s(prior, count);
    let square_s = prior.step_s * prior.attention_share / count;
    let step_s = prior.step_s / count + exchange_s;
    let attention_share = if step_s > 0.0 { square_s / step_s } else { prior.attention_share };
    CostPrior { step_s, attention_share, ..prior.clone() }
}

impl CostModel {
    /// The model of a worker like this one whose videos are computed by `devices` devices together, by the same rule as
    /// [`on_devices`]. `prior` is the manifest's.
    #[must_use]
    pub fn on_devices(&self, prior: &CostPrior, devices: u32) -> Self {
        if devices <= 1 {
            return self.clone();
        }
        let count = f64::from(devices);
        let exchange_s = exchange_s(prior, count);
        Self { linear_s: self.linear_s / count + exchange_s, square_s: self.square_s / count, ..self.clone() }
    }
}

/// Seconds of a step in which a device sends its share of the tokens' values, without its own part.
fn exchange_s(prior: &CostPrior, devices: f64) -> f64 {
    prior.exchanged_gb * 1e9 / devices * (1.0 - 1.0 / devices) / SENT_PER_S
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prior() -> CostPrior {
        CostPrior {
            tokens: 118_800,
            step_s: 21.4,
            around_s: 60.0,
            around_cached_s: 20.0,
            attention_share: 0.86,
            baseline_steps: 50,
            interpolate_mpx_s: 0.02,
            exchanged_gb: 175.2,
        }
    }

    #[test]
    fn one_device_is_as_before() {
        assert_eq!(on_devices(&prior(), 1), prior());
        assert_eq!(on_devices(&prior(), 0), prior());
    }

    /// What the fleet measured on one device scales as the prior does.
    #[test]
    fn a_measured_model_scales_like_its_prior() {
        let measured = CostModel::from_prior(&prior());
        for devices in [1, 2, 4, 8] {
            let (scaled, direct) =
                (measured.on_devices(&prior(), devices), CostModel::from_prior(&on_devices(&prior(), devices)));
            for tokens in [10_000, 118_800] {
                assert!((scaled.step_s(tokens) - direct.step_s(tokens)).abs() < 1e-9, "{devices} {tokens}");
            }
            assert_eq!(scaled.around_s(118_800, true), direct.around_s(118_800, true));
        }
    }

    /// 43.8, 32.9 and 19.2 GB from each device take 0.15, 0.11 and 0.06 s.
    #[test]
    fn a_step_is_its_share_of_the_work_and_of_the_exchange() {
        for (devices, gb) in [(2, 43.8), (4, 32.85), (8, 19.16)] {
            let shared = on_devices(&prior(), devices);
            let wanted = 21.4 / f64::from(devices) + gb / 300.0;
            assert!((shared.step_s - wanted).abs() < 1e-3, "{devices}: {}", shared.step_s);
            let square_s = shared.step_s * shared.attention_share;
            assert!((square_s - 21.4 * 0.86 / f64::from(devices)).abs() < 1e-9);
            assert_eq!(shared.around_s, 60.0);
        }
    }
}
