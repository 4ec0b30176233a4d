//! A file system that is really full: a small one in memory, mounted where a test needs it.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A mounted file system of four MiB; unmounted when dropped.
pub struct SmallDisk {
    folder: PathBuf,
}

impl SmallDisk {
    /// Mounts one at `folder`, which is created. `None` if this user may not mount.
    ///
    /// # Panics
    /// When the folder cannot be made.
    #[must_use]
    pub fn mount(folder: &Path) -> Option<Self> {
        std::fs::create_dir_all(folder).expect("a folder to mount at");
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=4m", "fleet-test"]).arg(folder).output();
        mount.is_ok_and(|mount| mount.status.success()).then(|| Self { folder: folder.to_owned() })
    }

    /// Fills it to the last byte.
    ///
    /// # Panics
    /// When it cannot be written at all.
    pub fn fill(&self) {
        let mut ballast = File::create(self.ballast()).expect("a file on the small disk");
        // Smaller and smaller pieces, until not even one byte fits.
        for piece in [65_536, 4_096, 512, 1] {
            while ballast.write_all(&vec![0; piece]).is_ok() {}
        }
    }

    /// Makes room again.
    ///
    /// # Panics
    /// When it was not filled.
    pub fn make_room(&self) {
        std::fs::remove_file(self.ballast()).expect("it was filled");
    }

    fn ballast(&self) -> PathBuf {
        self.folder.join("ballast")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a process of the test may still have a file open.
        drop(Command::new("umount").arg("-l").arg(&self.folder).output());
    }
}
