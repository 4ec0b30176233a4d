//! The devices of a worker, as settings and flags write them.

use hunyuan::DeviceChoice;

/// One device, or several of one kind that compute each video together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Devices(pub(crate) Vec<DeviceChoice>);

impl std::str::FromStr for Devices {
    type Err = String;

    /// Reads `cuda:0,cuda:1`.
    fn from_str(text: &str) -> Result<Self, String> {
        let devices =
            text.split(',').map(|one| one.trim().parse::<DeviceChoice>()).collect::<Result<Vec<_>, String>>()?;
        if devices.len() == 1 {
            return Ok(Self(devices));
        }
        if devices.contains(&DeviceChoice::Auto) {
            return Err(format!("`{text}` holds `auto`; name each device, such as cuda:0,cuda:1"));
        }
        let cpus = devices.iter().filter(|device| **device == DeviceChoice::Cpu).count();
        if cpus > 0 && cpus < devices.len() {
            return Err(format!("`{text}` mixes GPUs with the CPU; give devices of one kind"));
        }
        let twice = |(at, device): (usize, &DeviceChoice)| cpus == 0 && devices[..at].contains(device);
        if devices.iter().enumerate().any(twice) {
            return Err(format!("`{text}` names a GPU twice"));
        }
        Ok(Self(devices))
    }
}

impl Devices {
    /// Threads of each on a CPU where none are set: several processes share the cores.
    pub(crate) fn threads(&self, set: Option<usize>) -> Option<usize> {
        let shared = self.0.len() > 1 && self.0.contains(&DeviceChoice::Cpu);
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        set.or_else(|| shared.then(|| (cores() / self.0.len()).max(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_of_one_kind_are_read() {
        let read = |text: &str| text.parse::<Devices>().map(|devices| devices.0);
        assert_eq!(read("auto"), Ok(vec![DeviceChoice::Auto]));
        assert_eq!(read("cuda:0, cuda:3"), Ok(vec![DeviceChoice::Cuda(0), DeviceChoice::Cuda(3)]));
        assert_eq!(read("cpu,cpu,cpu"), Ok(vec![DeviceChoice::Cpu; 3]));
        for (text, part) in
            [("cuda:1,cuda:1", "twice"), ("cpu,cuda:0", "mixes"), ("auto,cuda:0", "name each"), ("cuda:0,", "valid")]
        {
            assert!(read(text).unwrap_err().contains(part), "{text}");
        }
    }

    #[test]
    fn processes_on_one_cpu_share_its_cores() {
        let cpus = Devices(vec![DeviceChoice::Cpu; 1000]);
        assert_eq!((cpus.threads(None), cpus.threads(Some(3))), (Some(1), Some(3)));
        assert_eq!(Devices(vec![DeviceChoice::Cpu]).threads(None), None);
    }
}
