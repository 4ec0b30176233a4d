//! Memory and load of the device that the model runs on.

use std::sync::Arc;

use domain::ModelManifest;
use hunyuan::DeviceChoice;
use nvml_wrapper::Nvml;
use settings::WorkerSettings;
use telemetry::WorkerMetrics;
use tracing::warn;

/// Bytes of memory, by setting, by the driver, or by the operating system. A device that cannot be asked counts as just
/// large enough for the model, so that it is used at all, and the log says so.
pub(super) fn memory_bytes(settings: &WorkerSettings, choice: DeviceChoice, manifest: &ModelManifest) -> u64 {
    if settings.memory_max_bytes > 0 {
        return settings.memory_max_bytes;
    }
    let gpu = match choice {
        DeviceChoice::Cpu => None,
        DeviceChoice::Auto => gpu_memory(0),
        DeviceChoice::Cuda(index) => gpu_memory(u32::try_from(index).unwrap_or(u32::MAX)),
    };
    gpu.map(|(_, total)| total).or_else(hunyuan::device::available_host_bytes).unwrap_or_else(|| {
        let needed = manifest.memory.base_bytes;
        warn!(bytes = needed, "the device's memory is unknown; set worker.memory_max_bytes");
        needed
    })
}

/// Notes memory and load of a GPU; on a CPU there is nothing to note.
pub(super) fn observe(metrics: &Arc<WorkerMetrics>, device: &str) {
    let Some(index) = device.strip_prefix("cuda:").and_then(|index| index.parse().ok()) else { return };
    if let Some((used, total)) = gpu_memory(index) {
        let bytes = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        metrics.device_memory_bytes.with_label_values(&["used"]).set(bytes(used));
        metrics.device_memory_bytes.with_label_values(&["total"]).set(bytes(total));
    }
    let card = |nvml: &Nvml| Some(nvml.device_by_index(index).ok()?.utilization_rates().ok()?.gpu);
    if let Some(per_cent) = Nvml::init().ok().as_ref().and_then(card) {
        metrics.gpu_utilisation.set(f64::from(per_cent) / 100.0);
    }
}

/// Used and total bytes.
fn gpu_memory(index: u32) -> Option<(u64, u64)> {
    let nvml = Nvml::init().ok()?;
    let memory = nvml.device_by_index(index).ok()?.memory_info().ok()?;
    Some((memory.used, memory.total))
}
