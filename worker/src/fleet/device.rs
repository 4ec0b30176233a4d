//! Memory and load of the device that the model runs on.

use std::sync::OnceLock;

use domain::ModelManifest;
use nvml_wrapper::Nvml;
use settings::WorkerSettings;
use telemetry::WorkerMetrics;
use tracing::warn;

use crate::engine::{DeviceChoice, available_host_bytes};

/// Bytes of memory, by setting, by the driver, or by the operating system. A device whose memory is unknown counts as just
/// large enough for the model, so that it is used at all, and the log warns.
pub(super) fn memory_bytes(settings: &WorkerSettings, choice: DeviceChoice, manifest: &ModelManifest) -> u64 {
    if settings.memory_max_bytes > 0 {
        return settings.memory_max_bytes;
    }
    let gpu = match choice {
        DeviceChoice::Cpu => None,
        DeviceChoice::Auto => gpu_memory(0),
        DeviceChoice::Cuda(index) => gpu_memory(u32::try_from(index).unwrap_or(u32::MAX)),
    };
    gpu.map(|(_, total)| total).or_else(available_host_bytes).unwrap_or_else(|| {
        let needed = manifest.memory.base_bytes;
        warn!(bytes = needed, "the device's memory is unknown; set worker.memory_max_bytes");
        needed
    })
}

/// Notes memory and load of the device. On a CPU the load is the process's own CPU time, which it exports anyway.
pub(super) fn observe(metrics: &WorkerMetrics, device: &str, memory_bytes: u64) {
    // Of several GPUs, which have the same work, the first one stands for all.
    let first = device.split(',').next().unwrap_or_default();
    let Some(index) = first.strip_prefix("cuda:").and_then(|index| index.parse().ok()) else {
        if let Some(used) = process_memory() {
            metrics.device_memory(used, memory_bytes);
        }
        return;
    };
    if let Some((used, total)) = gpu_memory(index) {
        metrics.device_memory(used, total);
    }
    if let Some(per_cent) = gpu(index).and_then(|gpu| gpu.utilization_rates().ok()).map(|rates| rates.gpu) {
        metrics.gpu_utilisation.set(f64::from(per_cent) / 100.0);
    }
}

/// Used and total bytes.
fn gpu_memory(index: u32) -> Option<(u64, u64)> {
    let memory = gpu(index)?.memory_info().ok()?;
    Some((memory.used, memory.total))
}

/// The card that CUDA calls `index`. The driver numbers all cards of the machine, CUDA those that this process may see.
fn gpu(index: u32) -> Option<nvml_wrapper::Device<'static>> {
    static NVML: OnceLock<Option<Nvml>> = OnceLock::new();
    let nvml = NVML.get_or_init(|| Nvml::init().ok()).as_ref()?;
    let visible = std::env::var("CUDA_VISIBLE_DEVICES").unwrap_or_default();
    match visible.split(',').map(str::trim).filter(|name| !name.is_empty()).nth(usize::try_from(index).ok()?) {
        Some(name) if name.starts_with("GPU-") => nvml.device_by_uuid(name).ok(),
        Some(name) => nvml.device_by_index(name.parse().ok()?).ok(),
        None => nvml.device_by_index(index).ok(),
    }
}

/// Bytes that this process has in memory.
fn process_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let kib: u64 =
        status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib * 1024)
}
