//! Adapters: LoRA files that change a model's weights for some jobs, and leave no trace.
//!
//! The rule: weights are never un-merged by subtraction, which in 16 bits does not give the old ones back. Every change starts
//! from the checkpoint's own values, read again from the mapped file (or from a copy where there is no file), adds all
//! adapters in fp32 in the order of their fingerprints, and is rounded once. So a set of adapters gives the same bits whatever
//! was active before, and no adapters give the bits of a fresh load.
//!
//! Which rows of which loaded tensor belong to a layer is what the loader noted in [`Placements`]; nothing here knows a family.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};

use formats::lora::{Change, ChangeKind, Lora, Modules, ScaleOf};
use formats::{Header, Refused, Stored, kind::SNIFF_BYTES};
use memmap2::Mmap;
use tch::{Device, Kind, Tensor};

use super::weights::{Factors, Placements, Weights, map};
use crate::runtime::{
    control::Control,
    error::{Error, InOp, Result},
};

/// Most adapters at once.
pub(crate) const ADAPTERS_MAX: usize = 4;

/// PEFT's configuration beside its weights, in a folder of their own.
const PEFT_WEIGHTS: &str = "adapter_model.safetensors";
const PEFT_CONFIG: &str = "adapter_config.json";

/// A file of adapter weights, checked against the model and mapped.
#[derive(Debug)]
pub struct Adapter {
    path: PathBuf,
    fingerprint: String,
    lora: Lora,
    header: Header,
    map: Mmap,
}

impl Adapter {
    /// The file or folder that it was opened from.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens a safetensors file, or a folder as PEFT saves it. A file `adapter_config.json` counts only in such a folder.
    ///
    /// # Errors
    /// [`Error::Config`] with the reason, when the file is none of the supported kinds or does not fit the model.
    pub(crate) fn open(path: &Path, modules: &Modules) -> Result<Self> {
        let (file, config) = if path.is_dir() {
            (path.join(PEFT_WEIGHTS), Some(path.join(PEFT_CONFIG)))
        } else {
            (path.to_owned(), None)
        };
        let refused = |refused: Refused| Error::Config { path: path.to_owned(), reason: refused.0 };
        let read = |path: &Path| {
            let path = path.to_owned();
            move |source| Error::Read { path, source }
        };
        let config = match config {
            None => None,
            Some(config) => Some(std::fs::read(&config).map_err(read(&config))?),
        };
        let parsed = config
            .as_deref()
            .map(serde_json::from_slice)
            .transpose()
            .map_err(|error| Error::Config { path: path.join(PEFT_CONFIG), reason: format!("is not JSON: {error}") })?;
        // An empty file cannot be mapped.
        if std::fs::metadata(&file).map_err(read(&file))?.len() < SNIFF_BYTES as u64 {
            let start = std::fs::read(&file).map_err(read(&file))?;
            Header::parse(&start, start.len() as u64).map_err(refused)?;
        }
        let (_, map) = map(&file)?;
        let header = Header::parse(&map, map.len() as u64).map_err(refused)?;
        let lora = Lora::read(&header, parsed.as_ref(), modules).map_err(refused)?;
        let mut hasher = blake3::Hasher::new();
        hasher.update_rayon(&map);
        // The scale of PEFT's files is in the configuration, so that it is part of what the adapter is.
        hasher.update(config.as_deref().unwrap_or_default());
        Ok(Self { path: path.to_owned(), fingerprint: hasher.finalize().to_hex().to_string(), lora, header, map })
    }

    /// blake3 of the content, hex. For a single file that of the file.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Largest rank of its factors.
    #[must_use]
    pub fn rank(&self) -> u64 {
        self.lora.rank
    }

    /// Layers that it changes.
    #[must_use]
    pub fn layers(&self) -> usize {
        self.lora.changes.iter().map(|change| change.layer.as_str()).collect::<BTreeSet<_>>().len()
    }

    /// Bytes of the file.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.map.len() as u64
    }

    /// A tensor of the file in fp32 on a device, `[rows, everything else]`; a single number has one row.
    fn tensor(&self, key: &str, device: Device) -> Result<Tensor> {
        let stored: &Stored = &self.header.tensors[key];
        let kind = kind(&stored.dtype).ok_or_else(|| self.broken(format!("`{key}` is stored as {}", stored.dtype)))?;
        let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
        let bytes = &self.map[place(stored.bytes.start)..place(stored.bytes.end)];
        let rows = stored.shape.first().copied().unwrap_or(1);
        let rows = i64::try_from(rows).map_err(|error| self.broken(format!("`{key}`: {error}")))?;
        // Copied, since the format does not promise alignment.
        let raw = Tensor::f_from_data_size(
            bytes,
            &[rows, (bytes.len() / kind.elt_size_in_bytes()) as i64 / rows.max(1)],
            kind,
        )
        .in_op(key)?;
        raw.f_to_kind(Kind::Float).and_then(|tensor| tensor.f_to_device(device)).map_err(Error::from).in_op(key)
    }

    fn scale(&self, scale: &ScaleOf) -> Result<f64> {
        let value = match scale {
            ScaleOf::Fixed(value) => *value,
            #[expect(clippy::cast_precision_loss, reason = "ranks are small")]
            ScaleOf::Alpha { key, rank } => self.tensor(key, Device::Cpu)?.f_double_value(&[0, 0])? / *rank as f64,
        };
        if value.is_finite() {
            return Ok(value);
        }
        Err(self.broken(format!("a scale is {value}")))
    }

    fn broken(&self, reason: String) -> Error {
        Error::Config { path: self.path.clone(), reason }
    }

    /// Adds a change to `sum`, the layer's weight (`[outputs, inputs]`) or bias (`[outputs, 1]`) in fp32.
    fn add(&self, change: &Change, strength: f64, sum: &Tensor) -> Result<()> {
        let device = sum.device();
        let part = |tensor: Tensor| narrowed(&tensor, &change.from);
        let (mut difference, scale) = match &change.kind {
            ChangeKind::Factors { down, up, scale } => {
                (part(self.tensor(up, device)?)?.f_matmul(&self.tensor(down, device)?)?, self.scale(scale)?)
            }
            ChangeKind::Weight { difference } => (part(self.tensor(difference, device)?)?, 1.0),
            ChangeKind::Bias { difference, scale } => (part(self.tensor(difference, device)?)?, self.scale(scale)?),
        };
        let rows = i64::try_from(change.rows.end - change.rows.start).unwrap_or(i64::MAX);
        let mut target = sum.f_narrow(0, i64::try_from(change.rows.start).unwrap_or(i64::MAX), rows)?;
        let _ = target.f_add_(&difference.f_mul_scalar_(scale * strength)?)?;
        Ok(())
    }
}

/// Some rows of a tensor.
fn narrowed(tensor: &Tensor, rows: &Range<u64>) -> Result<Tensor> {
    let [start, length] = [rows.start, rows.end - rows.start].map(|row| i64::try_from(row).unwrap_or(i64::MAX));
    Ok(tensor.f_narrow(0, start, length)?)
}

/// The element type in libtorch.
fn kind(dtype: &str) -> Option<Kind> {
    Some(match dtype {
        "F64" => Kind::Double,
        "F32" => Kind::Float,
        "F16" => Kind::Half,
        "BF16" => Kind::BFloat16,
        "F8_E4M3" => Kind::Float8e4m3fn,
        "F8_E5M2" => Kind::Float8e5m2,
        _ => return None,
    })
}

/// An adapter and how strongly it acts.
#[derive(Debug, Clone, Copy)]
pub struct AdapterUse<'a> {
    /// The adapter.
    pub adapter: &'a Adapter,
    /// Multiplies everything that it adds; 0 is as if it were not there.
    pub strength: f64,
}

/// How adapters act on a matrix that could hold their sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AdapterPath {
    /// Merged into the weights: costs seconds once, and nothing per step. `docs/performance.md` has the measurements.
    #[default]
    Merge,
    /// Beside the weights, on the layer's input: costs nothing once, and some time in each step. Matrices in FP8 always work so.
    Beside,
}

/// Fingerprints and the bits of the strengths of active adapters, in the order in which they are added.
pub type ActiveAdapters = Vec<(String, u64)>;

/// Where the checkpoint's own values come from.
#[derive(Debug)]
enum Base {
    /// The mapped files. They need no memory, and stay what they were even if somebody replaces the files.
    Files(Weights),
    /// Copies on the host of what was changed so far, for weights that come from no file.
    Copies(BTreeMap<String, Tensor>),
}

/// The adapters of a loaded model.
#[derive(Debug)]
pub(crate) struct Adapters {
    base: Base,
    active: ActiveAdapters,
    /// Tensors that may differ from the checkpoint's.
    changed: BTreeSet<String>,
    /// Those of them beside which factors act.
    beside: BTreeSet<String>,
    path: AdapterPath,
}

impl Adapters {
    /// For weights of these files; none for weights from no file.
    pub(crate) fn new(files: Option<Weights>) -> Self {
        let base = files.map_or_else(|| Base::Copies(BTreeMap::new()), Base::Files);
        Self {
            base,
            active: Vec::new(),
            changed: BTreeSet::new(),
            beside: BTreeSet::new(),
            path: AdapterPath::default(),
        }
    }

    /// The same with another path.
    pub(crate) fn on(self, path: AdapterPath) -> Self {
        Self { path, ..self }
    }

    /// What is active; an error where an earlier change could not be undone.
    pub(crate) fn active(&self) -> Result<&ActiveAdapters> {
        if self.active.is_empty() && !self.changed.is_empty() {
            let reason = "an adapter could not be removed from the weights; load the model again".to_owned();
            return Err(Error::Libtorch { op: "adapters".to_owned(), reason });
        }
        Ok(&self.active)
    }

    /// Makes exactly these adapters active, and returns whether that changed anything. After an error none is active.
    pub(crate) fn set(&mut self, uses: &[AdapterUse], placements: &Placements, control: &Control) -> Result<bool> {
        let uses = ordered(uses)?;
        let wanted = uses.iter().map(|one| (one.adapter.fingerprint.clone(), one.strength.to_bits())).collect();
        if wanted == self.active && self.active().is_ok() {
            return Ok(false);
        }
        self.active.clear();
        let changed = self.change(&uses, placements, control);
        if changed.is_err() {
            // Also where the change was cancelled: a half-merged model belongs to nobody.
            self.change(&[], placements, &Control::new())?;
        }
        changed?;
        self.active = wanted;
        Ok(true)
    }

    fn change(&mut self, uses: &[AdapterUse], placements: &Placements, control: &Control) -> Result<()> {
        let mut by_tensor: BTreeMap<String, Vec<(&AdapterUse, &Change)>> = BTreeMap::new();
        for one in uses {
            for change in &one.adapter.lora.changes {
                let leaf = if matches!(change.kind, ChangeKind::Bias { .. }) { "bias" } else { "weight" };
                by_tensor.entry(format!("{}.{leaf}", change.layer)).or_default().push((one, change));
            }
        }
        let stale: Vec<String> = self.changed.iter().filter(|key| !by_tensor.contains_key(*key)).cloned().collect();
        for key in stale {
            let view = placements.view(&key)?;
            self.undo(&key, &view, placements)?;
            control.check_at(view.device())?;
        }
        for (key, changes) in by_tensor {
            let view = placements.view(&key)?;
            let acts_beside = self.acts_beside(&key, &changes, placements);
            if self.changed.contains(&key) && self.beside.contains(&key) != acts_beside {
                self.undo(&key, &view, placements)?;
            }
            if acts_beside {
                self.changed.insert(key.clone());
                self.beside.insert(key.clone());
                self.act_beside(&key, &changes, placements)?;
                continue;
            }
            if view.kind() == Kind::Float8e4m3fn {
                let reason = format!(
                    "changes `{key}` by a whole matrix, which weights in FP8 cannot take; store them as they are \
                     (worker.transformer_storage = \"model\", or --storage model)"
                );
                return Err(changes[0].0.adapter.broken(reason));
            }
            self.keep(&key, &view)?;
            self.changed.insert(key.clone());
            self.restore(&key, &view)?;
            let rows = view.size().first().copied().unwrap_or(1);
            let sum = view.f_to_dtype(Kind::Float, false, true)?.f_view([rows, -1])?;
            for (one, change) in changes {
                one.adapter.add(change, one.strength, &sum).in_op(&key)?;
            }
            view.shallow_clone().f_copy_(&sum.f_view(view.size().as_slice())?).in_op(&key)?;
            control.check_at(view.device())?;
        }
        Ok(())
    }

    /// Takes back every change of a tensor.
    fn undo(&mut self, key: &str, view: &Tensor, placements: &Placements) -> Result<()> {
        match placements.beside(key) {
            Some((beside, ..)) if self.beside.contains(key) => beside.set(key, Vec::new()),
            _ => self.restore(key, view)?,
        }
        self.beside.remove(key);
        self.changed.remove(key);
        Ok(())
    }

    /// Whether these changes act beside the matrix instead of being merged.
    fn acts_beside(&self, key: &str, changes: &[(&AdapterUse, &Change)], placements: &Placements) -> bool {
        let factors = changes.iter().all(|(_, change)| matches!(change.kind, ChangeKind::Factors { .. }));
        let small = |tensor: &Tensor| tensor.kind() == Kind::Float8e4m3fn;
        placements
            .beside(key)
            .is_some_and(|(_, _, matrix)| factors && (self.path == AdapterPath::Beside || small(matrix)))
    }

    fn act_beside(&self, key: &str, changes: &[(&AdapterUse, &Change)], placements: &Placements) -> Result<()> {
        let Some((beside, rows, matrix)) = placements.beside(key) else { return Ok(()) };
        let mut all = Vec::new();
        for (one, change) in changes {
            let ChangeKind::Factors { down, up, scale } = &change.kind else { continue };
            let (adapter, device) = (one.adapter, matrix.device());
            let scale = adapter.scale(scale)? * one.strength;
            let first = i64::try_from(change.rows.start).unwrap_or(i64::MAX) + rows.start;
            let up = narrowed(&adapter.tensor(up, device)?, &change.from)?.f_mul_scalar(scale)?;
            let rows = first..first + up.size()[0];
            let [down, up] = [adapter.tensor(down, device)?, up].map(|factor| factor.f_to_kind(beside.kind));
            all.push(Factors { rows, down: down.in_op(key)?, up: up.in_op(key)? });
        }
        beside.set(key, all);
        Ok(())
    }

    /// Copies a tensor before its first change, where there is no file to read it from.
    fn keep(&mut self, key: &str, view: &Tensor) -> Result<()> {
        if let Base::Copies(copies) = &mut self.base
            && !copies.contains_key(key)
        {
            let mut copy = Tensor::f_empty(view.size(), (view.kind(), Device::Cpu)).in_op(key)?;
            copy.f_copy_(view).in_op(key)?;
            copies.insert(key.to_owned(), copy);
        }
        Ok(())
    }

    /// The checkpoint's own values, bit for bit as they were loaded.
    fn restore(&self, key: &str, view: &Tensor) -> Result<()> {
        match &self.base {
            Base::Files(weights) => weights.copy_into(key, view),
            Base::Copies(copies) => {
                let copy = copies.get(key).ok_or_else(|| Error::input("adapters", format!("no copy of `{key}`")))?;
                view.shallow_clone().f_copy_(copy).in_op(key)
            }
        }
    }
}

/// Those that do something, in the order in which they are added.
fn ordered<'u>(uses: &[AdapterUse<'u>]) -> Result<Vec<AdapterUse<'u>>> {
    if let Some(one) = uses.iter().find(|one| !one.strength.is_finite()) {
        return Err(Error::input("adapters", format!("a strength is {}; give a finite number", one.strength)));
    }
    let mut uses: Vec<AdapterUse> = uses.iter().filter(|one| one.strength != 0.0).copied().collect();
    uses.sort_by(|left, right| left.adapter.fingerprint.cmp(&right.adapter.fingerprint));
    if let Some(pair) = uses.windows(2).find(|pair| pair[0].adapter.fingerprint == pair[1].adapter.fingerprint) {
        let path = pair[0].adapter.path.display();
        return Err(Error::input("adapters", format!("{path} is used twice; give it once with one strength")));
    }
    if uses.len() > ADAPTERS_MAX {
        return Err(Error::input("adapters", format!("{} at once; at most {ADAPTERS_MAX} are possible", uses.len())));
    }
    Ok(uses)
}
