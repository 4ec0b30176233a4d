//! Where the model runs: choosing a device, naming its class, and reading its free memory.
//!
//! The rule: two devices have the same class only if the same request gives the same bits on both. A saved run resumes
//! bit for bit within a class; elsewhere it starts again.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use tch::{Cuda, Device};
use torch_ext::driver::Driver;

use crate::runtime::{
    cuda_half,
    error::{Error, Result},
};

/// The operator's choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum DeviceChoice {
    /// The first GPU if there is one, else the CPU.
    #[default]
    Auto,
    /// The CPU even if there is a GPU.
    Cpu,
    /// This GPU, or an error.
    Cuda(usize),
}

impl FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            _ => text
                .strip_prefix("cuda:")
                .and_then(|index| index.parse().ok())
                .map(Self::Cuda)
                .ok_or_else(|| format!("`{text}` is not a valid device; use auto, cpu or cuda:N")),
        }
    }
}

impl TryFrom<String> for DeviceChoice {
    type Error = String;

    fn try_from(text: String) -> std::result::Result<Self, String> {
        text.parse()
    }
}

impl From<DeviceChoice> for String {
    fn from(choice: DeviceChoice) -> Self {
        choice.to_string()
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(index) => write!(f, "cuda:{index}"),
        }
    }
}

impl DeviceChoice {
    /// The device to use.
    ///
    /// # Errors
    /// [`Error::Device`] when the requested GPU does not exist.
    pub fn resolve(self) -> Result<Device> {
        let count = if self == Self::Cpu { 0 } else { gpus() };
        match self {
            Self::Auto if count > 0 => Ok(Device::Cuda(0)),
            Self::Auto | Self::Cpu => Ok(Device::Cpu),
            Self::Cuda(index) if index < count => Ok(Device::Cuda(index)),
            Self::Cuda(index) => Err(Error::Device {
                device: format!("cuda:{index}"),
                reason: format!(
                    "libtorch sees {count} GPUs; check the driver with nvidia-smi, install the CUDA set of libtorch with scripts/setup-libtorch, or use --device cpu"
                ),
            }),
        }
    }
}

/// Number of GPUs, once libtorch's CUDA half is loaded where there is a driver.
fn gpus() -> usize {
    let half = cuda_half::load();
    tracing::debug!(?half, "CUDA half of libtorch");
    usize::try_from(Cuda::device_count()).unwrap_or(0)
}

/// `cpu` or `cuda:N`.
#[must_use]
pub fn name(device: Device) -> String {
    match device {
        Device::Cuda(index) => format!("cuda:{index}"),
        _ => "cpu".to_owned(),
    }
}

/// The class of a device: what decides which kernels run.
#[must_use]
pub fn class(device: Device) -> String {
    match device {
        Device::Cuda(index) => format!("cuda {}", gpu_name(index).unwrap_or_else(|| "unknown".to_owned())),
        _ => format!("cpu {} {}", cpu_vendor(), cpu_level()),
    }
}

/// Name of the GPU as the driver spells it; `index` counts the GPUs that this process may use, as CUDA does.
#[must_use]
pub(crate) fn gpu_name(index: usize) -> Option<String> {
    let gpu = Driver::open().and_then(|driver| driver.gpu(index));
    gpu.inspect_err(|error| tracing::warn!(index, %error, "the driver does not name this GPU")).ok().map(|gpu| gpu.name)
}

/// Threads that the results depend on: libtorch's on a CPU, one on a GPU, where the host computes nothing.
#[must_use]
pub fn threads(device: Device) -> usize {
    match device {
        Device::Cpu => usize::try_from(tch::get_num_threads()).unwrap_or(1),
        _ => 1,
    }
}

/// Waits until a GPU has finished all submitted work; returns at once on a CPU.
///
/// # Errors
/// [`Error::DeviceFault`] for what any of the work failed with.
pub fn synchronize(device: Device) -> Result<()> {
    match device {
        Device::Cuda(index) => Ok(torch_ext::device::synchronize(index)?),
        _ => Ok(()),
    }
}

/// Peak of the memory that libtorch took from the driver of a GPU, bytes; none on a CPU.
#[must_use]
pub fn peak_memory_bytes(device: Device) -> Option<u64> {
    match device {
        Device::Cuda(index) => torch_ext::device::memory(index).ok().map(|memory| memory.reserved_peak),
        _ => None,
    }
}

fn cpu_vendor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    field(&text, "vendor_id").unwrap_or_else(|| std::env::consts::ARCH.to_owned())
}

/// The first `name : value` line of a text from `/proc`.
fn field(text: &str, name: &str) -> Option<String> {
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| key.trim() == name)
        .map(|(_, value)| value.trim().to_owned())
}

/// The instruction set that libtorch's kernels choose by.
#[cfg(target_arch = "x86_64")]
fn cpu_level() -> &'static str {
    let wide = std::is_x86_feature_detected!("avx512f")
        && std::is_x86_feature_detected!("avx512vl")
        && std::is_x86_feature_detected!("avx512bw")
        && std::is_x86_feature_detected!("avx512dq");
    if wide && std::is_x86_feature_detected!("avx512bf16") {
        "avx512+bf16"
    } else if wide {
        "avx512"
    } else if std::is_x86_feature_detected!("avx2") && std::is_x86_feature_detected!("fma") {
        "avx2"
    } else {
        "baseline"
    }
}

/// The instruction set that libtorch's kernels choose by.
#[cfg(not(target_arch = "x86_64"))]
fn cpu_level() -> &'static str {
    "baseline"
}

/// Bytes of host memory that this process can still allocate, or none where that is unknown.
///
/// The smaller of what the machine has and what the process's control group leaves.
#[must_use]
pub fn available_host_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let machine = field(&text, "MemAvailable")?.strip_suffix("kB")?.trim().parse::<u64>().ok()?.saturating_mul(1024);
    let number = |path: &str| std::fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    // The group's usage includes cached files, which the kernel reclaims on demand.
    let cached: u64 = std::fs::read_to_string("/sys/fs/cgroup/memory.stat")
        .unwrap_or_default()
        .lines()
        .filter_map(|line| line.split_once(' '))
        .filter(|(name, _)| ["active_file", "inactive_file"].contains(name))
        .filter_map(|(_, value)| value.trim().parse::<u64>().ok())
        .sum();
    let group = number("/sys/fs/cgroup/memory.max").map(|limit| {
        let used = number("/sys/fs/cgroup/memory.current").unwrap_or(0);
        limit.saturating_sub(used.saturating_sub(cached))
    });
    Some(group.map_or(machine, |group| group.min(machine)))
}

/// Refuses work that needs more memory than the host has left, before the kernel kills the process for it.
///
/// GPU memory is not checked: CUDA's allocator returns an error by itself.
///
/// # Errors
/// [`Error::OutOfMemory`].
pub(crate) fn reserve(device: Device, op: &str, needed_bytes: u64) -> Result<()> {
    if device != Device::Cpu {
        return Ok(());
    }
    match available_host_bytes() {
        Some(available) if needed_bytes > available => Err(Error::OutOfMemory {
            op: op.to_owned(),
            reason: format!(
                "about {} MiB are needed and {} MiB are free; ask for a smaller size or fewer frames",
                needed_bytes >> 20,
                available >> 20
            ),
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_read_as_they_are_written() {
        for text in ["auto", "cpu", "cuda:3"] {
            assert_eq!(text.parse::<DeviceChoice>().unwrap().to_string(), text);
        }
        for text in ["gpu", "cuda:", "cuda:x", "cuda:-1", ""] {
            assert!(text.parse::<DeviceChoice>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_gpu_that_is_not_there_is_an_error_that_says_what_to_do() {
        let error = DeviceChoice::Cuda(9999).resolve().unwrap_err();
        assert!(matches!(&error, Error::Device { .. }), "{error}");
        assert!(error.to_string().contains("setup-libtorch"));
    }

    #[test]
    fn absurd_needs_are_refused_and_small_ones_are_not() {
        assert!(matches!(reserve(Device::Cpu, "test", u64::MAX), Err(Error::OutOfMemory { .. })));
        assert!(reserve(Device::Cpu, "test", 1).is_ok());
    }

    #[test]
    fn threads_count_on_a_cpu_only() {
        assert_eq!(threads(Device::Cpu), usize::try_from(tch::get_num_threads()).unwrap());
        assert_eq!(threads(Device::Cuda(0)), 1);
    }

    #[test]
    fn the_class_of_a_cpu_names_vendor_and_instructions() {
        let class = class(Device::Cpu);
        assert_eq!(class.split(' ').count(), 3, "{class}");
    }
}
