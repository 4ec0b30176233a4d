//! `worker fingerprint`: the content hashes that a model folder's `fleet.toml` must name.
//!
//! The model is loaded for it, so that a folder that gets its fingerprints works. Family and geometry must agree first.

use std::{io::Write, path::PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use domain::ModelManifest;

use crate::engine::{DeviceChoice, HunyuanRenderer, LoadOptions, Renderer, check_manifest};

/// Print the fingerprints of a model folder.
#[derive(Debug, Args)]
pub struct FingerprintArgs {
    /// Model folder: a HunyuanVideo checkpoint in the diffusers layout
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// Write them into the folder's fleet.toml
    #[arg(long)]
    write: bool,
}

/// Prints the two lines of `[fingerprint]`, and writes them if asked to.
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
        let text = replaced(&text, weights, encoders)?;
        check_manifest(&info, &ModelManifest::parse(&text)?, true)?;
        std::fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
    }
    let lines = format!("[fingerprint]\nweights = \"{weights}\"\nencoders = \"{encoders}\"\n");
    std::io::stdout().write_all(lines.as_bytes()).context("print the fingerprints")
}

/// The manifest with other fingerprints; everything else, comments included, stays.
fn replaced(manifest: &str, weights: &str, encoders: &str) -> anyhow::Result<String> {
    let (mut section, mut done) = (String::new(), 0);
    let mut lines = Vec::new();
    for line in manifest.lines() {
        if line.trim_start().starts_with('[') {
            section = line.split('#').next().unwrap_or_default().trim().to_owned();
        }
        let key = line.split('=').next().unwrap_or_default().trim();
        let value = match key {
            "weights" => weights,
            "encoders" => encoders,
            _ => "",
        };
        if section == "[fingerprint]" && !value.is_empty() {
            done += 1;
            lines.push(format!("{key} = \"{value}\""));
        } else {
            lines.push(line.to_owned());
        }
    }
    if done != 2 {
        bail!("fleet.toml needs a section [fingerprint] with a line `weights = \"\"` and a line `encoders = \"\"`");
    }
    Ok(lines.join("\n") + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_fingerprints_change() {
        let before = "weights = 1 # of the boat\n[fingerprint] # printed\nweights = \"\"\n# why\nencoders = \"old\"\n[other]\nencoders = 3\n";
        let after = replaced(before, "aa", "bb").unwrap();
        let wanted = "weights = 1 # of the boat\n[fingerprint] # printed\nweights = \"aa\"\n# why\nencoders = \"bb\"\n[other]\nencoders = 3\n";
        assert_eq!(after, wanted);
        assert_eq!(replaced(&after, "aa", "bb").unwrap(), after);
    }

    #[test]
    fn a_manifest_without_the_lines_is_refused() {
        let error = replaced("[fingerprint]\nweights = \"\"\n", "aa", "bb").unwrap_err().to_string();
        assert!(error.contains("encoders"), "{error}");
    }
}
