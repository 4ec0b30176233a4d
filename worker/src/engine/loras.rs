//! The adapters that a renderer has opened, so that jobs with the same ones do not read the files again.

use std::path::{Path, PathBuf};
use std::time::Instant;

use hunyuan::{Adapter, AdapterUse, Control, Engine, Error};

use super::LoraFile;

/// Opened adapters that are kept; each costs a mapping and its list of changes.
const OPENED_MAX: usize = 8;

/// See the file's top.
#[derive(Debug, Default)]
pub(super) struct Opened {
    /// The most recently used last.
    adapters: Vec<(PathBuf, Adapter)>,
}

impl Opened {
    /// Makes exactly these adapters active on an engine; returns the seconds that this took, 0 where they were active.
    ///
    /// # Errors
    /// The engine's: a file that cannot be used, a stop, memory.
    pub(super) fn activate(
        &mut self,
        engine: &mut Engine,
        files: &[LoraFile],
        control: &Control,
    ) -> Result<f64, Error> {
        let begun = Instant::now();
        for file in files {
            self.open(engine, &file.path)?;
        }
        let wanted = |path: &Path| files.iter().find(|file| file.path == path);
        let uses: Vec<AdapterUse> = self
            .adapters
            .iter()
            .filter_map(|(path, adapter)| Some(AdapterUse { adapter, strength: wanted(path)?.scale }))
            .collect();
        let changed = engine.set_adapters(&uses, control)?;
        let surplus = self.adapters.len().saturating_sub(OPENED_MAX);
        self.adapters.drain(..surplus);
        Ok(if changed { begun.elapsed().as_secs_f64() } else { 0.0 })
    }

    /// Opens a file unless it is open, and moves it to the end.
    fn open(&mut self, engine: &Engine, path: &Path) -> Result<(), Error> {
        let opened = match self.adapters.iter().position(|(known, _)| known == path) {
            Some(at) => self.adapters.remove(at),
            None => (path.to_owned(), engine.open_adapter(path)?),
        };
        self.adapters.push(opened);
        Ok(())
    }
}
