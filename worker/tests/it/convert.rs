//! Goal: a converted file is the checkpoint that diffusers' own converter makes of it, and what cannot be converted is refused with the
//! reason and leaves nothing behind.
//! Method: the built program on files that the reference wrote (`crates/hunyuan/reference/formats.py`).

#![expect(clippy::unwrap_used, reason = "a test that cannot read its fixture has nothing to say")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tch::{Kind, Tensor};

const FILE: &str = "diffusion_pytorch_model.safetensors";

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/hunyuan/tests/fixtures")
}

fn convert(input: &Path, output: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_worker")).arg("convert").arg(input).arg(output).output().unwrap()
}

fn tensors(path: &Path) -> BTreeMap<String, Tensor> {
    Tensor::read_safetensors(path).unwrap().into_iter().collect()
}

fn assert_equal(left: &BTreeMap<String, Tensor>, right: &BTreeMap<String, Tensor>) {
    assert!(left.keys().eq(right.keys()), "{:?} {:?}", left.keys(), right.keys());
    for (name, tensor) in left {
        assert_eq!(tensor.kind(), right[name].kind(), "{name}");
        assert!(tensor.equal(&right[name]), "{name}");
    }
}

/// Converts a fixture that must succeed.
fn converted(name: &str) -> BTreeMap<String, Tensor> {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("transformer");
    let done = convert(&fixtures().join("formats").join(name), &output);
    assert!(done.status.success(), "{name}: {}", String::from_utf8_lossy(&done.stderr));
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    let hash = blake3::hash(&std::fs::read(output.join(FILE)).unwrap()).to_hex().to_string();
    assert!(said.contains(&hash) && said.contains("config.json"), "{said}");
    tensors(&output.join(FILE))
}

#[test]
fn every_layout_becomes_the_checkpoint() {
    let base = tensors(&fixtures().join("base/model/transformer").join(FILE));
    assert_equal(&converted("original.pt"), &base);
    let half = base.iter().map(|(name, tensor)| (name.clone(), tensor.to_kind(Kind::BFloat16))).collect();
    assert_equal(&converted("comfy.safetensors"), &half);
    // The two names of a scale, a scale in a second file (found by its name), and no scale.
    for (file, expected) in [
        ("fp8_scaled.safetensors", "expected_fp8_scaled.safetensors"),
        ("fp8_comfy.safetensors", "expected_fp8_scaled.safetensors"),
        ("fp8.pt", "expected_fp8_map.safetensors"),
        ("fp8_plain.safetensors", "expected_fp8_plain.safetensors"),
    ] {
        assert_equal(&converted(file), &tensors(&fixtures().join("formats").join(expected)));
    }
    let decoder = tensors(&fixtures().join("base/model/vae").join(FILE));
    assert_equal(&converted("vae.pt"), &decoder);
    assert_equal(&converted("vae_comfy.safetensors"), &decoder);
}

#[test]
fn a_second_file_must_be_the_one_that_belongs_to_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let formats = fixtures().join("formats");
    let (weights, scales) = (folder.path().join("weights.pt"), folder.path().join("scales.pt"));
    std::fs::copy(formats.join("fp8.pt"), &weights).unwrap();
    std::fs::copy(formats.join("fp8_map.pt"), &scales).unwrap();
    let output = folder.path().join("out");
    let run = |input: &Path, scales: Option<&Path>| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_worker"));
        command.arg("convert").arg(input).arg(&output);
        let done = command.args(scales.map(|path| format!("--scales={}", path.display()))).output().unwrap();
        (done.status.success(), String::from_utf8_lossy(&done.stderr).into_owned())
    };
    let (done, said) = run(&weights, None);
    assert!(!done && said.contains("--scales") && said.contains("_map.pt"), "{said}");
    let (done, said) = run(&formats.join("original.pt"), Some(&scales));
    assert!(!done && said.contains("do not belong together"), "{said}");
    assert!(!output.join(FILE).exists());
    let (done, said) = run(&weights, Some(&scales));
    assert!(done, "{said}");
    assert_equal(&tensors(&output.join(FILE)), &tensors(&formats.join("expected_fp8_map.safetensors")));
}

#[test]
fn what_cannot_be_converted_is_refused_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("out");
    let refused = |input: &Path| {
        let done = convert(input, &output);
        assert!(!done.status.success());
        assert!(!output.join(FILE).exists());
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(!String::from_utf8_lossy(&done.stdout).contains("executed"), "nothing in a file is run");
        said
    };
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let formats = fixtures().join("formats");
    let calls = refused(&formats.join("calls.pt"));
    assert!(calls.contains("print") && calls.contains("was not executed"), "{calls}");
    for name in ["original.pt", "comfy.safetensors"] {
        let whole = std::fs::read(formats.join(name)).unwrap();
        let cut = refused(&file("cut", &whole[..whole.len() - whole.len() / 3]));
        assert!(cut.contains("download it again"), "{cut}");
    }
    let other = refused(&fixtures().join("adapters/musubi.safetensors"));
    assert!(other.contains("not a transformer of HunyuanVideo") && other.len() < 2000, "{other}");
    assert!(refused(&file("empty", b"")).contains("empty"));
    assert!(refused(&file("gguf", b"GGUF\x03\0\0\0")).contains("ComfyUI-GGUF"));
    assert!(refused(&file("pointer", b"version https://git-lfs.github.com/spec/v1\noid")).contains("git lfs pull"));
}

#[test]
fn weights_that_are_there_are_not_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(FILE), b"mine").unwrap();
    let done = convert(&fixtures().join("formats/original.pt"), folder.path());
    assert!(!done.status.success() && String::from_utf8_lossy(&done.stderr).contains("exists already"));
    assert_eq!(std::fs::read(folder.path().join(FILE)).unwrap(), b"mine");
}
