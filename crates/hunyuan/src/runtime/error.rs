//! What can go wrong in the model, as one typed enum.
//!
//! The rule: nothing in this crate panics on data, sizes or devices. Every libtorch exception becomes a variant
//! here at the operation that threw it, and the engine stays usable afterwards. Messages name what to change.

use std::path::PathBuf;

use tch::TchError;

/// A result whose error is this crate's [`enum@Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Every way in which loading, encoding, denoising or decoding can fail.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A value of the request is outside the model's range. The request must change; retrying does not help.
    #[error("{field}: {reason}")]
    Input {
        /// Name of the field in the request.
        field: &'static str,
        /// What is wrong and what would be accepted.
        reason: String,
    },

    /// The weights in the model folder do not match its configurations. Lists all differences of all components.
    #[error("{}", one_below_another(.0))]
    Checkpoint(Vec<CheckpointMismatch>),

    /// A configuration or tokenizer file of the model folder cannot be used.
    #[error("{path}: {reason}")]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong in it.
        reason: String,
    },

    /// A file of the model folder cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },

    /// A saved denoising state is damaged, or belongs to another request, model or build. Start that job from step 0.
    #[error("saved state cannot be resumed: {reason}")]
    Resume {
        /// What is wrong with it.
        reason: String,
    },

    /// The requested device does not exist or does not respond.
    #[error("device {device}: {reason}")]
    Device {
        /// As requested, for example `cuda:1`.
        device: String,
        /// What to do about it.
        reason: String,
    },

    /// Memory of the host or of the device is not enough for this request; a smaller one, or tiling, may fit.
    #[error("out of memory in {op}: {reason}")]
    OutOfMemory {
        /// The stage or operation that asked for the memory.
        op: String,
        /// The allocator's message, or the estimate that was refused.
        reason: String,
    },

    /// The GPU failed while it worked: an illegal access, an uncorrectable memory error, a library that cannot execute. Such an
    /// error mostly stays until the process ends, and it says nothing about the request.
    #[error("the GPU failed in {op}: {reason}")]
    DeviceFault {
        /// The stage or operation that noticed the failure.
        op: String,
        /// First line of libtorch's message.
        reason: String,
    },

    /// A result holds NaN or infinity and would become a black or broken video.
    #[error("the {stage} gave values that are not finite{}", at_step(.step))]
    NotFinite {
        /// What computed them: `text encoders`, `denoising`, `decoder`.
        stage: &'static str,
        /// The denoising step, counted from 1.
        step: Option<usize>,
    },

    /// Another of the processes that compute a video together has failed, hangs, or cannot be reached. It says nothing about the
    /// request; the processes must be started again.
    #[error("the devices of this worker do not work together: {reason}")]
    Team {
        /// What happened.
        reason: String,
    },

    /// libtorch refused an operation.
    #[error("libtorch failed in {op}: {reason}")]
    Libtorch {
        /// The stage or operation.
        op: String,
        /// First line of libtorch's message.
        reason: String,
    },

    /// The caller requested a stop; see [`crate::Control::cancel`].
    #[error("cancelled")]
    Cancelled,
}

impl From<prompts::Error> for Error {
    fn from(error: prompts::Error) -> Self {
        match error {
            prompts::Error::Config { path, reason } => Self::Config { path, reason },
            prompts::Error::Read { path, source } => Self::Read { path, source },
            prompts::Error::Text(reason) => Self::input("prompt", reason),
        }
    }
}

/// Differences between the tensors that a network needs and those that a checkpoint holds.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct CheckpointMismatch {
    /// The component's folder, for example `transformer`.
    pub component: String,
    /// Keys that the network needs and no file holds.
    pub missing: Vec<String>,
    /// Keys that a file holds and the network does not know.
    pub unexpected: Vec<String>,
    /// Keys whose shape differs: name, shape wanted, shape found.
    pub misshaped: Vec<(String, Vec<i64>, Vec<i64>)>,
    /// Keys whose values are stored in a format that cannot be read: name, format.
    pub mistyped: Vec<(String, String)>,
}

impl CheckpointMismatch {
    /// Whether there is no difference at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.missing.is_empty() && self.unexpected.is_empty() && self.misshaped.is_empty() && self.mistyped.is_empty()
    }

    /// What to do about it, where the differences tell.
    fn remedy(&self) -> Option<&'static str> {
        if !self.mistyped.is_empty() {
            return Some(
                "only F32, F16, BF16 and F64 weights can be used; `worker convert IN OUT` expands FP8 to bf16",
            );
        }
        let other_layout = |key: &String| OTHER_LAYOUTS.iter().any(|part| key.contains(part));
        let remedy =
            "these names are those of Tencent's program or of ComfyUI; `worker convert IN OUT` changes the layout";
        self.unexpected.iter().any(other_layout).then_some(remedy)
    }
}

fn at_step(step: &Option<usize>) -> String {
    step.map_or_else(String::new, |step| format!(" at step {step}"))
}

fn one_below_another(mismatches: &[CheckpointMismatch]) -> String {
    mismatches.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

impl std::fmt::Display for CheckpointMismatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "the weights of `{}` do not fit its config.json: {} missing, {} unexpected, {} misshaped",
            self.component,
            self.missing.len(),
            self.unexpected.len(),
            self.misshaped.len()
        )?;
        for (word, keys) in [("missing   ", &self.missing), ("unexpected", &self.unexpected)] {
            for key in keys.iter().take(KEYS_SHOWN) {
                write!(f, "\n  {word} {key}")?;
            }
            more(f, word, keys.len())?;
        }
        for (key, wanted, found) in self.misshaped.iter().take(KEYS_SHOWN) {
            write!(f, "\n  misshaped  {key}: wanted {wanted:?}, found {found:?}")?;
        }
        more(f, "misshaped ", self.misshaped.len())?;
        for (key, format) in self.mistyped.iter().take(KEYS_SHOWN) {
            write!(f, "\n  mistyped   {key}: stored as {format}")?;
        }
        more(f, "mistyped  ", self.mistyped.len())?;
        self.remedy().map_or(Ok(()), |remedy| write!(f, "\n  {remedy}"))
    }
}

/// Parts of names in layouts that `worker convert` reads.
const OTHER_LAYOUTS: [&str; 4] = ["double_blocks.", "single_blocks.", "mid.block_", "individual_token_refiner.blocks."];

/// Keys of one kind that an error lists: enough to recognise another model, few enough to read.
const KEYS_SHOWN: usize = 10;

/// Says how many keys of a kind were not listed.
fn more(f: &mut std::fmt::Formatter<'_>, word: &str, count: usize) -> std::fmt::Result {
    match count.saturating_sub(KEYS_SHOWN) {
        0 => Ok(()),
        more => write!(f, "\n  {word} and {more} more"),
    }
}

impl Error {
    /// A request's field that cannot be used.
    pub fn input(field: &'static str, reason: impl Into<String>) -> Self {
        Self::Input { field, reason: reason.into() }
    }

    /// A failure of a team of processes.
    pub(crate) fn team(reason: impl Into<String>) -> Self {
        Self::Team { reason: reason.into() }
    }

    /// A saved state that cannot be used.
    pub fn resume(reason: impl Into<String>) -> Self {
        Self::Resume { reason: reason.into() }
    }

    /// Names the stage in an error that came from libtorch; other errors pass through.
    #[must_use]
    pub(crate) fn in_op(self, name: &str) -> Self {
        match self {
            Self::Libtorch { op, reason } => Self::Libtorch { op: join(name, &op), reason },
            Self::OutOfMemory { op, reason } => Self::OutOfMemory { op: join(name, &op), reason },
            Self::DeviceFault { op, reason } => Self::DeviceFault { op: join(name, &op), reason },
            other => other,
        }
    }
}

/// `outer/inner`, leaving out the placeholder that a bare conversion sets.
fn join(outer: &str, inner: &str) -> String {
    if inner == UNNAMED { outer.to_owned() } else { format!("{outer}/{inner}") }
}

const UNNAMED: &str = "an operation";

/// Phrases in libtorch's out-of-memory errors: host, CUDA, and sizes that overflow.
const OUT_OF_MEMORY: [&str; 8] = [
    "out of memory",
    "can't allocate memory",
    "not enough memory",
    "status_alloc_failed",
    "cannot allocate memory",
    "storage size calculation overflowed",
    "invalid buffer size",
    "numel: integer multiplication overflow",
];

/// Phrases in errors from a GPU's own libraries.
const DEVICE_FAULT: [&str; 7] = [
    "cuda error",
    "cuda driver error",
    "cudnn error",
    "cudnn_status",
    "cublas_status",
    "cublas error",
    "device-side assert",
];

impl Error {
    /// The variant for the text of a libtorch error.
    fn from_libtorch(text: &str) -> Self {
        // libtorch appends a C++ stack trace to the message; only the first line is useful to people.
        let first = text.lines().next().unwrap_or_default().trim();
        let reason = first.strip_prefix("Internal torch error: ").unwrap_or(first).to_owned();
        let lower = reason.to_lowercase();
        let says = |words: &[&str]| words.iter().any(|word| lower.contains(word));
        let op = UNNAMED.to_owned();
        if says(&OUT_OF_MEMORY) {
            Self::OutOfMemory { op, reason }
        } else if says(&DEVICE_FAULT) {
            Self::DeviceFault { op, reason }
        } else {
            Self::Libtorch { op, reason }
        }
    }
}

impl From<TchError> for Error {
    fn from(error: TchError) -> Self {
        Self::from_libtorch(&error.to_string())
    }
}

impl From<torch_ext::Error> for Error {
    fn from(error: torch_ext::Error) -> Self {
        match error {
            torch_ext::Error::Failed(text) => Self::from_libtorch(&text),
            torch_ext::Error::NotAvailable(what) => {
                Self::Device { device: what, reason: "check the driver with nvidia-smi".to_owned() }
            }
        }
    }
}

/// Adds the stage's name to libtorch errors on their way up.
pub(crate) trait InOp<T> {
    /// See [`Error::in_op`].
    ///
    /// # Errors
    /// The same error, with the name of the stage.
    fn in_op(self, name: &str) -> Result<T>;
}

impl<T, E: Into<Error>> InOp<T> for std::result::Result<T, E> {
    fn in_op(self, name: &str) -> Result<T> {
        self.map_err(|error| error.into().in_op(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allocator_messages_become_out_of_memory() {
        for text in [
            "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes.\nframe #0",
            "CUDA out of memory. Tried to allocate 2.00 GiB",
        ] {
            let error = Error::from(TchError::Torch(text.to_owned())).in_op("denoise");
            let Error::OutOfMemory { op, reason } = error else { panic!("{error}") };
            assert_eq!(op, "denoise");
            assert!(!reason.contains('\n'), "{reason}");
        }
    }

    #[test]
    fn a_fault_of_the_gpu_is_told_from_an_operation_that_was_refused() {
        let faults = [
            "CUDA error: an illegal memory access was encountered",
            "CUDA error: uncorrectable ECC error encountered",
            "cuDNN error: CUDNN_STATUS_EXECUTION_FAILED",
            "CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasGemmEx(`",
        ];
        for text in faults {
            let error = Error::from(torch_ext::Error::Failed(text.to_owned())).in_op("double block");
            assert!(matches!(&error, Error::DeviceFault { op, .. } if op == "double block"), "{error}");
        }
        for text in
            ["CUDA error: out of memory", "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"]
        {
            assert!(matches!(Error::from(TchError::Torch(text.to_owned())), Error::OutOfMemory { .. }), "{text}");
        }
        let refused = TchError::Torch("mat1 and mat2 shapes cannot be multiplied (2x3 and 4x5)".to_owned());
        assert!(matches!(Error::from(refused), Error::Libtorch { .. }));
    }

    #[test]
    fn a_mismatch_of_another_model_lists_ten_keys_of_a_kind() {
        let missing: Vec<String> = (0..181).map(|number| format!("key.{number:03}")).collect();
        let mismatch = CheckpointMismatch { component: "vae".into(), missing, ..Default::default() };
        let text = Error::Checkpoint(vec![mismatch]).to_string();
        assert!(text.contains("181 missing") && text.contains("key.009") && !text.contains("key.010"), "{text}");
        assert!(text.contains("missing    and 171 more"), "{text}");
    }

    #[test]
    fn a_mismatch_lists_every_key() {
        let mismatch = CheckpointMismatch {
            component: "vae".into(),
            missing: vec!["a".into(), "b".into()],
            unexpected: vec!["c".into()],
            misshaped: vec![("d".into(), vec![1, 2], vec![2, 1])],
            mistyped: vec![("f".into(), "F8_E4M3".into())],
        };
        let other =
            CheckpointMismatch { component: "transformer".into(), missing: vec!["e".into()], ..Default::default() };
        let text = Error::Checkpoint(vec![mismatch, other]).to_string();
        let parts = [
            "`vae`",
            "2 missing",
            "missing    a",
            "missing    b",
            "unexpected c",
            "d: wanted [1, 2], found [2, 1]",
            "f: stored as F8_E4M3",
            "worker convert",
        ];
        for part in parts.into_iter().chain(["`transformer`", "missing    e"]) {
            assert!(text.contains(part), "{part} in {text}");
        }
    }
}
