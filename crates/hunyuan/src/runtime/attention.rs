//! Which attention kernel runs: each of libtorch's, and FlashAttention 3 where the user has a build of it, is tried on this GPU,
//! and the fastest correct one is used.
//!
//! The rule: a kernel is used only after it was tried here, in the layout and at the size of the model.
//! A kernel that fails or computes wrongly is skipped with a warning; it never keeps a worker from starting. On Hopper
//! the choice decides over half of a video's time, and one kernel silently reads wrong rows where a buffer has more than
//! 2^31 elements.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use tch::{Device, Kind, Tensor};
use torch_ext::attention::{self, ALL, Backend};
use torch_ext::flash3;

use crate::runtime::device;
use crate::runtime::error::{Error, InOp, Result};

/// Tokens of a trial where no size is given: enough to reach a kernel's full speed, few enough for a fraction of a second.
pub(crate) const SMALL_TRIAL_TOKENS: i64 = 8192;
/// The math kernel stores a number for each pair of tokens of each head, so it is tried up to this many tokens only.
const MATH_TOKENS_MAX: i64 = 16_384;
/// Largest relative error of the sampled rows against fp32. 16-bit kernels differ by 2e-3 to 6e-3, wrong rows by about 1.
const ERROR_MAX: f64 = 2e-2;
const TIMED_RUNS: u32 = 2;
/// Below this speed, a Hopper GPU is running a kernel made for the previous generation.
const SLOW_ON_HOPPER_TFLOPS: f64 = 500.0;
const HOPPER: [&str; 4] = ["H100", "H200", "H800", "GH200"];

/// Set once the kernel in use has computed correctly in a buffer whose extent passes 2^31 elements.
static LONG_EXTENT_PROVEN: AtomicBool = AtomicBool::new(false);
/// Set while FlashAttention 3 is the kernel in use. Like libtorch's own choice it is the process's.
static FLASH3_IN_USE: AtomicBool = AtomicBool::new(false);

/// The kernel in use, and the results of the others.
#[derive(Debug, Clone, PartialEq)]
pub struct Attention {
    /// The one in use.
    pub backend: Backend,
    /// Its speed in the slower of the model's layouts, TFLOP/s.
    pub tflops: f64,
    /// All that were tried, also those that failed.
    pub tried: Vec<Tried>,
}

/// The result of one kernel.
#[derive(Debug, Clone, PartialEq)]
pub struct Tried {
    /// Which one.
    pub backend: Backend,
    /// Speed in the slower layout, TFLOP/s, and the largest relative error; or why it cannot be used.
    pub outcome: std::result::Result<(f64, f64), String>,
}

/// What to try: a model's heads, in the buffers that its blocks use.
#[derive(Debug, Clone, Copy)]
pub struct Trial<'a> {
    /// Where.
    pub device: Device,
    /// Number format.
    pub kind: Kind,
    /// Heads and their width.
    pub heads: [i64; 2],
    /// Tokens of one video.
    pub tokens: i64,
    /// Elements from one token to the next, in each of the layouts: queries, keys and values first, then what else a block
    /// keeps beside them.
    pub row_widths: &'a [i64],
}

/// Loads the user's build of FlashAttention 3, so that it is tried with the others.
///
/// # Errors
/// [`Error::Input`] when `extension` is not such a build or does not fit this libtorch.
pub fn load_flash3(extension: &Path) -> Result<()> {
    flash3::load(extension).map_err(|error| {
        let reason =
            format!("{error}; give FlashAttention-3's _C.abi3.so, built for this version of PyTorch, or nothing");
        Error::input("attention_library", reason)
    })
}

/// The kernels that this process has.
fn available() -> Result<Vec<Backend>> {
    let mut all = ALL.to_vec();
    if flash3::is_loaded()? {
        all.insert(0, Backend::Flash3);
    }
    Ok(all)
}

/// Full attention of `[batch, heads, tokens, width]` by the kernel in use.
///
/// # Errors
/// The kernel's.
pub(crate) fn attend(query: &Tensor, key: &Tensor, value: &Tensor) -> Result<Tensor> {
    // It takes 16 bits only; a model that is loaded again in fp32 goes on with libtorch's kernels.
    if FLASH3_IN_USE.load(Ordering::Acquire) && query.kind() != Kind::Float {
        return by_flash3(query, key, value);
    }
    by_libtorch(query, key, value)
}

fn by_libtorch(query: &Tensor, key: &Tensor, value: &Tensor) -> Result<Tensor> {
    Ok(Tensor::f_scaled_dot_product_attention::<&Tensor>(query, key, value, None, 0.0, false, None, false)?)
}

/// It takes tokens before heads, which is how our buffers lie, so the transposes cost nothing.
fn by_flash3(query: &Tensor, key: &Tensor, value: &Tensor) -> Result<Tensor> {
    let swapped = |tensor: &Tensor| tensor.f_transpose(1, 2);
    Ok(flash3::attend(&swapped(query)?, &swapped(key)?, &swapped(value)?)?.f_transpose(1, 2)?)
}

/// Tries every kernel, or only the forced one, enables the correct ones with the fastest first, and logs what was found.
///
/// # Errors
/// [`Error::Input`] when `forced` cannot be used here; [`Error::DeviceFault`] when a kernel has broken the GPU.
pub fn choose(trial: &Trial, forced: Option<Backend>) -> Result<Attention> {
    let tried = match forced {
        Some(forced) => try_each(trial, &[forced])?,
        None => try_each(trial, &available()?)?,
    };
    if let (Some(forced), Some(Tried { outcome: Err(reason), .. })) = (forced, tried.first()) {
        let remedy = match forced {
            Backend::Flash3 => "name its extension with worker.attention_library, or use auto",
            _ => "use auto",
        };
        return Err(Error::input("attention", format!("`{forced}` cannot be used on this GPU: {reason}; {remedy}")));
    }
    let order = order(&tried);
    let backend = order[0];
    let of_libtorch: Vec<Backend> = order.into_iter().filter(|backend| *backend != Backend::Flash3).collect();
    attention::set(&of_libtorch)?;
    FLASH3_IN_USE.store(backend == Backend::Flash3, Ordering::Release);
    let tflops = tried
        .iter()
        .find(|tried| tried.backend == backend)
        .and_then(|tried| tried.outcome.as_ref().ok())
        .map_or(0.0, |(tflops, _)| *tflops);
    LONG_EXTENT_PROVEN.store(trial.extent() > i64::from(i32::MAX), Ordering::Release);
    report(trial, backend, tflops);
    Ok(Attention { backend, tflops, tried })
}

fn report(trial: &Trial, backend: Backend, tflops: f64) {
    let class = device::class(trial.device);
    tracing::info!(%backend, tflops, device = class, tokens = trial.tokens, "attention kernel chosen");
    if trial.kind != Kind::Float && HOPPER.iter().any(|name| class.contains(name)) && tflops < SLOW_ON_HOPPER_TFLOPS {
        tracing::warn!(
            tflops,
            expected = SLOW_ON_HOPPER_TFLOPS,
            "attention is slow for this GPU; see above why cuDNN's kernel is not used, install the CUDA set with \
             scripts/setup-libtorch, keep other cuDNN versions off LD_LIBRARY_PATH, and check the clocks with nvidia-smi -q -d CLOCK"
        );
    }
}

/// The kernels to enable: the preferred one, then the other correct ones by speed, then the plain one, which takes what no
/// other kernel takes.
fn order(tried: &[Tried]) -> Vec<Backend> {
    let mut usable: Vec<(Backend, f64)> =
        tried.iter().filter_map(|tried| Some((tried.backend, tried.outcome.as_ref().ok()?.0))).collect();
    usable.sort_by(|left, right| right.1.total_cmp(&left.1));
    let mut order: Vec<Backend> = usable.into_iter().map(|(backend, _)| backend).collect();
    order.retain(|backend| *backend != Backend::Math);
    order.push(Backend::Math);
    order
}

/// Tries each kernel alone, on one set of random data a layout.
///
/// # Errors
/// No memory for the data; [`Error::DeviceFault`] when a kernel has broken the GPU.
pub fn try_each(trial: &Trial, backends: &[Backend]) -> Result<Vec<Tried>> {
    let before = attention::enabled()?;
    let mut found: Vec<Tried> =
        backends.iter().map(|&backend| Tried { backend, outcome: Ok((f64::INFINITY, 0.0)) }).collect();
    for &row_width in trial.row_widths {
        let data = Data::draw(trial, row_width).in_op("attention trial")?;
        for tried in &mut found {
            let Ok((slowest, largest)) = tried.outcome else { continue };
            tried.outcome =
                data.run(trial, tried.backend).map(|(tflops, error)| (tflops.min(slowest), error.max(largest)));
            let Tried { backend, outcome } = &*tried;
            match outcome {
                Ok((tflops, error)) => tracing::info!(%backend, row_width, tflops, error, "attention kernel tried"),
                Err(reason) => tracing::warn!(%backend, row_width, reason, "attention kernel cannot be used here"),
            }
        }
    }
    attention::set(&before)?;
    // A kernel may have left the GPU unusable; then the process must end, and the log says which kernel ran last.
    device::synchronize(trial.device).inspect_err(|_| {
        tracing::error!(
            "an attention kernel has broken the GPU for this process; choose another one with worker.attention"
        );
    })?;
    Ok(found)
}

/// Random queries, keys and values in one layout, with exact results of a few rows.
struct Data {
    query: Tensor,
    key: Tensor,
    value: Tensor,
    rows: Tensor,
    /// `[heads, rows, width]` fp32.
    wanted: Tensor,
}

impl Data {
    fn draw(trial: &Trial, row_width: i64) -> Result<Self> {
        let [count, dim] = trial.heads;
        let joint = Tensor::f_randn([1, trial.tokens, row_width], (trial.kind, trial.device))?;
        let part = |index: i64| -> Result<Tensor> {
            let flat = joint.f_narrow(2, index * count * dim, count * dim)?;
            Ok(flat.f_view([1, trial.tokens, count, dim])?.f_transpose(1, 2)?)
        };
        let (query, key, value) = (part(0)?, part(1)?, part(2)?);
        let rows = Tensor::f_from_slice(&sample_rows(trial.tokens, row_width))?.f_to_device(trial.device)?;
        let wanted = exact(&query, &key, &value, &rows)?;
        Ok(Self { query, key, value, rows, wanted })
    }

    /// Speed in TFLOP/s and relative error of one kernel, or why it cannot be used.
    fn run(&self, trial: &Trial, backend: Backend) -> std::result::Result<(f64, f64), String> {
        if backend == Backend::Math && trial.tokens > MATH_TOKENS_MAX {
            return Err(format!("needs memory for {} x {} pairs of tokens", trial.tokens, trial.tokens));
        }
        self.measure(trial, backend).map_err(|error| error.to_string()).and_then(|(tflops, error)| {
            if error <= ERROR_MAX {
                Ok((tflops, error))
            } else {
                Err(format!("computes wrongly: relative error {error:.1e}"))
            }
        })
    }

    fn measure(&self, trial: &Trial, backend: Backend) -> Result<(f64, f64)> {
        let attend = || match backend {
            Backend::Flash3 => by_flash3(&self.query, &self.key, &self.value),
            _ => by_libtorch(&self.query, &self.key, &self.value),
        };
        if backend != Backend::Flash3 {
            attention::set(&[backend])?;
        }
        let got = attend()?.f_select(0, 0)?.f_index_select(1, &self.rows)?.f_to_kind(Kind::Float)?;
        let distance = got.f_sub(&self.wanted)?.f_norm()?.f_double_value(&[])?;
        let error = distance / self.wanted.f_norm()?.f_double_value(&[])?;
        device::synchronize(trial.device)?;
        let started = Instant::now();
        for _ in 0..TIMED_RUNS {
            drop(attend()?);
        }
        device::synchronize(trial.device)?;
        let seconds = started.elapsed().as_secs_f64() / f64::from(TIMED_RUNS);
        let [count, dim] = trial.heads;
        let work = 4.0 * trial.tokens as f64 * trial.tokens as f64 * (count * dim) as f64;
        Ok((work / seconds / 1e12, if error.is_finite() { error } else { f64::INFINITY }))
    }
}

impl Trial<'_> {
    /// Elements of the largest buffer.
    fn extent(&self) -> i64 {
        self.row_widths.iter().max().copied().unwrap_or(0).saturating_mul(self.tokens)
    }
}

/// Rows to compare: the ends, the middle, and those around the places where 2^31 elements or bytes are passed.
fn sample_rows(tokens: i64, row_width: i64) -> Vec<i64> {
    let mut rows = vec![0, 1, tokens / 2, tokens - 130, tokens - 1];
    for elements in [1_i64 << 30, 1 << 31] {
        let row = elements / row_width.max(1);
        rows.extend([row - 1, row, row + 1, row + 100]);
    }
    rows.retain(|row| (0..tokens).contains(row));
    rows.sort_unstable();
    rows.dedup();
    rows
}

/// fp32 attention of some rows, head by head to keep buffers small: `[heads, rows, width]`.
fn exact(query: &Tensor, key: &Tensor, value: &Tensor, rows: &Tensor) -> Result<Tensor> {
    let size = query.size();
    let scale = 1.0 / (size[3] as f64).sqrt();
    let head = |index: i64| -> Result<Tensor> {
        // A copy for each head: plain dense matrices, so no strides can be misread.
        let of = |tensor: &Tensor| -> Result<Tensor> {
            Ok(tensor.f_select(0, 0)?.f_select(0, index)?.f_contiguous()?.f_to_kind(Kind::Float)?)
        };
        let scores = of(query)?.f_index_select(0, rows)?.f_matmul(&of(key)?.f_tr()?)?;
        let shares = scores.f_mul_scalar(scale)?.f_softmax(-1, Kind::Float)?;
        Ok(shares.f_matmul(&of(value)?)?)
    };
    let heads = (0..size[1]).map(head).collect::<Result<Vec<_>>>()?;
    Ok(Tensor::f_stack(&heads, 0)?)
}

/// The tensor as an attention kernel may read it: itself, or a dense copy where its extent passes 2^31 elements on a GPU whose
/// kernel has not been shown to compute correctly there.
///
/// # Errors
/// libtorch.
pub(crate) fn addressable(tensor: &Tensor) -> Result<Tensor> {
    if needs_copy(tensor.device(), &tensor.size(), &tensor.stride(), LONG_EXTENT_PROVEN.load(Ordering::Acquire)) {
        return Ok(tensor.f_contiguous()?);
    }
    Ok(tensor.shallow_clone())
}

fn needs_copy(device: Device, size: &[i64], stride: &[i64], proven: bool) -> bool {
    let extent: i64 = size.iter().zip(stride).map(|(size, stride)| (size - 1).saturating_mul(*stride)).sum();
    matches!(device, Device::Cuda(_)) && !proven && extent > i64::from(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tried(backend: Backend, outcome: std::result::Result<f64, &str>) -> Tried {
        Tried { backend, outcome: outcome.map(|tflops| (tflops, 1e-3)).map_err(str::to_owned) }
    }

    #[test]
    fn the_fastest_correct_kernel_comes_first_and_a_broken_one_is_left_out() {
        let found = [
            tried(Backend::Cudnn, Err("libnvrtc-builtins.so.13.0: cannot open")),
            tried(Backend::Flash, Ok(370.0)),
            tried(Backend::Efficient, Ok(200.0)),
            tried(Backend::Math, Err("needs memory")),
        ];
        assert_eq!(order(&found), [Backend::Flash, Backend::Efficient, Backend::Math]);
    }

    #[test]
    fn with_no_fused_kernel_the_plain_one_remains() {
        let found = ALL.map(|backend| tried(backend, Err("no GPU of that kind")));
        assert_eq!(order(&found), [Backend::Math]);
    }

    #[test]
    fn rows_beyond_two_to_the_thirty_first_are_among_those_compared() {
        // A single block of the released model at 1280x720 with 129 frames.
        let rows = sample_rows(118_900, 21_504);
        assert!(rows.iter().any(|row| row * 21_504 > 1 << 31), "{rows:?}");
        assert_eq!(rows.last(), Some(&118_899));
        assert_eq!(sample_rows(4, 8), [0, 1, 2, 3]);
    }

    #[test]
    fn a_long_extent_is_copied_only_on_a_gpu_whose_kernel_is_not_proven() {
        let (gpu, size, stride) = (Device::Cuda(0), [1, 118_900, 3072], [118_900 * 21_504, 21_504, 1]);
        assert!(needs_copy(gpu, &size, &stride, false));
        assert!(!needs_copy(gpu, &size, &stride, true) && !needs_copy(Device::Cpu, &size, &stride, false));
        assert!(!needs_copy(gpu, &[1, 67_420, 3072], &[67_420 * 21_504, 21_504, 1], false));
    }

    /// The CPU has two of the four kernels, so the trial itself runs here. One test, since the choice applies to the whole process.
    #[test]
    fn kernels_are_tried_alone_and_compared_with_fp32() {
        let before = attention::enabled().unwrap();
        let widths = [3 * 32, 3 * 32 + 40];
        let trial =
            Trial { device: Device::Cpu, kind: Kind::BFloat16, heads: [2, 16], tokens: 300, row_widths: &widths };
        let found = try_each(&trial, &ALL).unwrap();
        assert_eq!(attention::enabled().unwrap(), before, "a trial leaves the choice as it was");
        for Tried { backend, outcome } in &found {
            match backend {
                Backend::Flash | Backend::Math => {
                    let (tflops, error) = outcome.clone().unwrap();
                    assert!(tflops > 0.0 && error < ERROR_MAX, "{backend}: {error}");
                }
                Backend::Cudnn | Backend::Efficient => assert!(outcome.is_err(), "{backend} exists on GPUs only"),
                Backend::Flash3 => panic!("{backend} is not one of libtorch's"),
            }
        }
        let chosen = choose(&trial, Some(Backend::Math)).unwrap();
        assert_eq!((chosen.backend, attention::enabled().unwrap()), (Backend::Math, vec![Backend::Math]));
        let error = choose(&trial, Some(Backend::Cudnn)).unwrap_err().to_string();
        assert!(error.contains("attention: `cudnn` cannot be used") && error.contains("use auto"), "{error}");

        // Wrong results are detected: the same data with other values in one of the rows.
        let mut data = Data::draw(&trial, widths[1]).unwrap();
        let _ = data.value.narrow(2, 7, 200).fill_(3.0);
        let reason = data.run(&trial, Backend::Math).unwrap_err();
        assert!(reason.contains("computes wrongly"), "{reason}");
        data.wanted = exact(&data.query, &data.key, &data.value, &data.rows).unwrap();
        data.run(&trial, Backend::Math).unwrap();
        attention::set(&before).unwrap();
    }
}
