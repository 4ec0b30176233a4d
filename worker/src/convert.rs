//! `worker convert`: a transformer or video decoder in another layout becomes a component of a model folder.
//!
//! The names and places are decided by `formats` from the header alone, so a file that cannot be used is refused at once. Then the bytes
//! are copied row range by row range, and FP8 is expanded to bf16. A PyTorch file is read as data; nothing in it is executed.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use formats::convert::{Copying, Output, Scale, plan};
use formats::{fp8, torch};
use hunyuan::runtime::weights::map;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Map, Value, json};

/// The name under which diffusers saves a component's weights.
const FILE: &str = "diffusion_pytorch_model.safetensors";
/// Bytes that are expanded at once.
const CHUNK_BYTES: usize = 1 << 20;

/// Convert a single-file checkpoint or a PyTorch file to a component of a model folder.
#[derive(Debug, Args)]
pub struct ConvertArgs {
    /// The file: .safetensors or .pt, in the names of Tencent's program, ComfyUI or diffusers
    #[arg(value_name = "IN")]
    input: PathBuf,
    /// The component's folder, for example my-model/transformer or my-model/vae
    #[arg(value_name = "OUT")]
    output: PathBuf,
    /// The scales of an FP8 checkpoint, where they are in a second file [default: NAME_map.pt beside a file NAME.pt, if it exists]
    #[arg(long, value_name = "FILE")]
    scales: Option<PathBuf>,
}

/// Converts, and prints the new file with its hash.
///
/// # Errors
/// A file that cannot be used, with the reason; a folder that holds weights already; the disk.
pub fn run(args: &ConvertArgs) -> anyhow::Result<()> {
    let input = &args.input;
    if std::fs::metadata(input).with_context(|| format!("read {}", input.display()))?.len() == 0 {
        bail!("{} is empty; download it again", input.display());
    }
    let scales = args.scales.clone().or_else(|| scales_beside(input));
    let scales = scales.as_deref().map(|path| map(path).map(|(_, map)| (path, map))).transpose()?;
    let (_, map) = map(input)?;
    let beside = scales.as_ref().map(|(path, map)| {
        torch::header(map, false).map_err(|refused| anyhow::anyhow!("{} {refused}", path.display()))
    });
    let beside = beside.transpose()?;
    let planned = torch::header(&map, beside.is_some()).and_then(|header| plan(&header, beside.as_ref()));
    let outputs = planned.map_err(|refused| anyhow::anyhow!("{} {refused}", input.display()))?;
    std::fs::create_dir_all(&args.output).with_context(|| format!("make {}", args.output.display()))?;
    let target = args.output.join(FILE);
    if target.exists() {
        bail!("{} exists already; move it away first", target.display());
    }
    let partial = tempfile::NamedTempFile::new_in(&args.output).context("make the new file")?;
    let source = Source { file: &map, scales: scales.as_ref().map_or(&[], |(_, map)| map) };
    let hash = write(source, &outputs, partial.as_file()).with_context(|| format!("write {}", target.display()))?;
    partial.persist(&target).with_context(|| format!("write {}", target.display()))?;
    let note = if args.output.join("config.json").exists() {
        ""
    } else {
        "\nthe folder still needs the component's config.json, from the model's diffusers release"
    };
    let text = format!("wrote {} with {} tensors, blake3 {hash}{note}\n", target.display(), outputs.len());
    std::io::stdout().write_all(text.as_bytes()).context("print the result")
}

/// The bytes of the mapped files.
#[derive(Clone, Copy)]
struct Source<'a> {
    file: &'a [u8],
    scales: &'a [u8],
}

/// The file of scales that Tencent publishes with an FP8 checkpoint.
fn scales_beside(input: &Path) -> Option<PathBuf> {
    let path = input.with_file_name(format!("{}_map.pt", input.file_stem()?.to_str()?));
    (input.extension()? == "pt" && path.is_file()).then_some(path)
}

/// Writes the header and every tensor; returns the file's hash.
fn write(source: Source, outputs: &[Output], file: &File) -> anyhow::Result<String> {
    let mut sorted: Vec<&Output> = outputs.iter().collect();
    sorted.sort_by(|left, right| left.name.cmp(&right.name));
    let header = header(&sorted)?;
    let total: u64 = sorted.iter().flat_map(|output| &output.from).map(|range| range.end - range.start).sum();
    let style = ProgressStyle::with_template("{bar:30} {bytes}/{total_bytes} {eta}").context("the progress bar")?;
    let progress = ProgressBar::new(total).with_style(style);
    let mut out = Hashing { file: BufWriter::new(file), hasher: blake3::Hasher::new() };
    out.write_all(&(header.len() as u64).to_le_bytes())?;
    out.write_all(&header)?;
    for output in sorted {
        let expanded = expansion(source, output)?;
        for range in &output.from {
            let bytes = &source.file[usize::try_from(range.start)?..usize::try_from(range.end)?];
            for chunk in bytes.chunks(CHUNK_BYTES) {
                match &expanded {
                    None => out.write_all(chunk)?,
                    Some(table) => {
                        let wide: Vec<u8> = chunk.iter().flat_map(|byte| table[usize::from(*byte)]).collect();
                        out.write_all(&wide)?;
                    }
                }
                progress.inc(chunk.len() as u64);
            }
        }
    }
    progress.finish_and_clear();
    out.file.flush()?;
    file.sync_all()?;
    Ok(out.hasher.finalize().to_hex().to_string())
}

/// The bf16 of every FP8 byte of a tensor; none for a tensor that is copied as it is.
fn expansion(source: Source, output: &Output) -> anyhow::Result<Option<[[u8; 2]; 256]>> {
    let Copying::Expand { format, scale } = &output.copying else { return Ok(None) };
    let scale = match scale {
        None => 1.0,
        Some(Scale { dtype, bytes, beside }) => {
            let file = if *beside { source.scales } else { source.file };
            let bytes = &file[usize::try_from(bytes.start)?..usize::try_from(bytes.end)?];
            let scale = match (dtype.as_str(), bytes) {
                ("F32", [a, b, c, d]) => f32::from_le_bytes([*a, *b, *c, *d]),
                ("BF16", [a, b]) => f32::from_le_bytes([0, 0, *a, *b]),
                _ => bail!("the scale of `{}` is stored as {dtype}; it must be F32 or BF16", output.name),
            };
            // As Tencent's program does it.
            if *beside { fp8::rounded(scale) } else { scale }
        }
    };
    if !scale.is_finite() {
        bail!("the scale of `{}` is {scale}; download the file again", output.name);
    }
    Ok(Some(fp8::table(format, scale)))
}

/// The header, padded so that tensors start at a multiple of eight bytes.
fn header(outputs: &[&Output]) -> anyhow::Result<Vec<u8>> {
    let (mut entries, mut end) = (Map::new(), 0_u64);
    entries.insert("__metadata__".to_owned(), json!({"format": "pt"}));
    for output in outputs {
        let stored: u64 = output.from.iter().map(|range| range.end - range.start).sum();
        let bytes = if output.copying == Copying::Plain { stored } else { 2 * stored };
        let entry = json!({"dtype": output.dtype, "shape": output.shape, "data_offsets": [end, end + bytes]});
        if entries.insert(output.name.clone(), entry).is_some() {
            bail!("`{}` would be written twice", output.name);
        }
        end += bytes;
    }
    let mut bytes = serde_json::to_vec(&Value::Object(entries))?;
    bytes.resize(bytes.len().next_multiple_of(8), b' ');
    Ok(bytes)
}

/// Hashes what goes through.
struct Hashing<'f> {
    file: BufWriter<&'f File>,
    hasher: blake3::Hasher,
}

impl Write for Hashing<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}
