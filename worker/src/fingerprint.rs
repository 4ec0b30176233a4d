//! `worker fingerprint`: the content hashes that a model folder's `fleet.toml` must name.
//!
//! The model is loaded for it, so that a folder that gets its fingerprints works. Family and geometry must agree first.

use std::{io::Write, path::PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use domain::ModelManifest;
use domain::model::Override;

use crate::engine::{DeviceChoice, HunyuanRenderer, LoadOptions, Renderer, RendererInfo, check_manifest};

/// Print the fingerprints of a model folder.
#[derive(Debug, Args)]
pub struct FingerprintArgs {
    /// Model folder: a HunyuanVideo checkpoint in the diffusers layout
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// Write them into the folder's fleet.toml, and the shift and guidance that the checkpoint's files name
    #[arg(long)]
    write: bool,
}

/// Prints the two lines of `[fingerprint]`, and writes them and the checkpoint's own sampling numbers if asked to.
///
/// # Errors
/// A folder that does not load; a `fleet.toml` without the lines to be replaced, or with another family or geometry.
pub fn run(args: &FingerprintArgs) -> anyhow::Result<()> {
    let options = LoadOptions::new(&args.model, DeviceChoice::Cpu, 0);
    let info = HunyuanRenderer::load(&options)?.info();
    let (weights, encoders) = (&info.model_fingerprint, &info.encoder_fingerprint);
    if args.write {
        let path = args.model.join("fleet.toml");
        let text = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        let (text, lines) = replaced(&text, &fingerprints(weights, encoders));
        if lines != 2 {
            bail!("fleet.toml needs a section [fingerprint] with a line `weights = \"\"` and a line `encoders = \"\"`");
        }
        let (text, _) = replaced(&text, &sampling(&info, &ModelManifest::parse(&text)?));
        check_manifest(&info, &ModelManifest::parse(&text)?, true)?;
        std::fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
    }
    let lines = format!("[fingerprint]\nweights = \"{weights}\"\nencoders = \"{encoders}\"\n");
    std::io::stdout().write_all(lines.as_bytes()).context("print the fingerprints")
}

/// What `--write` puts into a manifest: section, key and value as TOML. Lines that a manifest does not have are not added.
type Entry = (&'static str, &'static str, String);

/// The two fingerprints, which a manifest must have lines for.
fn fingerprints(weights: &str, encoders: &str) -> [Entry; 2] {
    [("[fingerprint]", "weights", format!("\"{weights}\"")), ("[fingerprint]", "encoders", format!("\"{encoders}\""))]
}

/// What the checkpoint's files say of sampling, but for what the manifest overrides.
fn sampling(info: &RendererInfo, manifest: &ModelManifest) -> Vec<Entry> {
    let numbers = [
        (Override::FlowShift, "[sampling]", "flow_shift", info.flow_shift),
        (Override::TrueCfgScale, "[sampling.guidance]", "true_cfg_scale", info.true_cfg_scale),
    ];
    let own = numbers.into_iter().filter(|(value, ..)| !manifest.sampling.overrides(*value));
    own.map(|(_, section, key, value)| (section, key, format!("{value:?}"))).collect()
}

/// The manifest with other values in these lines; everything else, comments included, stays. Returns how many lines there were.
fn replaced(manifest: &str, entries: &[Entry]) -> (String, usize) {
    let (mut section, mut done) = (String::new(), 0);
    let mut lines = Vec::new();
    for line in manifest.lines() {
        if line.trim_start().starts_with('[') {
            section = line.split('#').next().unwrap_or_default().trim().to_owned();
        }
        let (key, rest) = line.split_once('=').unwrap_or((line, ""));
        match entries.iter().find(|(of, name, _)| section == *of && key.trim() == *name) {
            Some((_, name, value)) => {
                done += 1;
                let comment = rest.split_once('#').map_or(String::new(), |(_, comment)| format!(" #{comment}"));
                lines.push(format!("{name} = {value}{comment}"));
            }
            None => lines.push(line.to_owned()),
        }
    }
    (lines.join("\n") + "\n", done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_values_of_these_lines_change() {
        let before = "weights = 1 # of the boat\n[fingerprint] # printed\nweights = \"\"\n# why\nencoders = \"old\" # e\n[other]\nencoders = 3\n";
        let wanted = "weights = 1 # of the boat\n[fingerprint] # printed\nweights = \"aa\"\n# why\nencoders = \"bb\" # e\n[other]\nencoders = 3\n";
        let (after, lines) = replaced(before, &fingerprints("aa", "bb"));
        assert_eq!((after.as_str(), lines), (wanted, 2));
        assert_eq!(replaced(&after, &fingerprints("aa", "bb")).0, after);
        assert_eq!(replaced("[fingerprint]\nweights = \"\"\n", &fingerprints("aa", "bb")).1, 1, "a line is missing");
    }

    #[test]
    fn the_checkpoints_shift_and_guidance_are_written_unless_the_manifest_overrides_them() {
        let text = include_str!("../../models/default/fleet.toml");
        let manifest = ModelManifest::parse(text).unwrap();
        let info = RendererInfo {
            family: manifest.family,
            image: manifest.image,
            geometry: manifest.geometry,
            flow_shift: 17.0,
            true_cfg_scale: 1.0,
            model_fingerprint: String::new(),
            encoder_fingerprint: String::new(),
            device: String::new(),
            devices: 1,
            device_class: String::new(),
            build: String::new(),
            threads: 1,
            memory_bytes: 0,
            attention_flops: 0.0,
            attention: None,
            formats: "f32/f32/f32".to_owned(),
        };
        let (written, lines) = replaced(text, &sampling(&info, &manifest));
        assert_eq!(lines, 1, "this manifest has no guidance of its own");
        assert_eq!(ModelManifest::parse(&written).unwrap().sampling.flow_shift, 17.0);
        let mut meant = manifest;
        meant.sampling.overrides = vec![Override::FlowShift];
        assert_eq!(replaced(text, &sampling(&info, &meant)).0, text);
    }
}
