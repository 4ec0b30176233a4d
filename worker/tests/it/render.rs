//! `worker render` as a person runs it: the real executable on a committed checkpoint, compared with what diffusers made of the
//! same checkpoint, prompt and seed.
//!
//! The executable runs in another folder and with an empty environment: it must find libtorch by itself.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;
use tch::{Kind, Tensor};

/// Largest difference of embeddings and predictions, whose values are of order one.
const EXACT: f64 = 1e-4;
/// Largest difference of the final latents.
const LATENTS: f64 = 1e-3;
/// Frames: the least peak signal-to-noise ratio, dB.
const FRAMES_DB: f64 = 60.0;

struct Fixture {
    folder: PathBuf,
    case: Value,
}

impl Fixture {
    fn open(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/hunyuan/tests/fixtures").join(name);
        let text = std::fs::read_to_string(folder.join("case.json")).unwrap();
        Self { folder, case: serde_json::from_str(&text).unwrap() }
    }

    fn model(&self) -> PathBuf {
        self.folder.join(self.case["model"].as_str().unwrap())
    }

    fn reference(&self) -> Vec<(String, Tensor)> {
        Tensor::read_safetensors(self.folder.join("reference.safetensors")).unwrap()
    }

    /// The flags of the recorded case.
    fn flags(&self) -> Vec<String> {
        let case = &self.case;
        let size = format!("{}x{}", case["width"], case["height"]);
        let mut flags = vec!["--model".to_owned(), self.model().display().to_string(), "--size".to_owned(), size];
        for (flag, key) in
            [("--frames", "frames"), ("--steps", "steps"), ("--guidance", "guidance"), ("--seed", "seed")]
        {
            flags.extend([flag.to_owned(), case[key].to_string()]);
        }
        flags.extend(["--flow-reverse".to_owned(), case["flow_reverse"].to_string()]);
        flags.extend(["--prompt".to_owned(), case["prompt"].as_str().unwrap().to_owned()]);
        flags.extend(["--dtype".to_owned(), case["dtype"].as_str().unwrap().to_owned()]);
        if let Some(shift) = case["flow_shift"].as_f64() {
            flags.extend(["--flow-shift".to_owned(), shift.to_string()]);
        }
        if let Some(negative) = case["negative_prompt"].as_str() {
            let scale = case["true_cfg_scale"].to_string();
            flags.extend(["--negative-prompt".to_owned(), negative.to_owned(), "--true-cfg".to_owned(), scale]);
        }
        flags
    }
}

/// Runs the executable in `folder`, with nothing in its environment but where programs are.
fn worker<S: AsRef<std::ffi::OsStr>>(folder: &Path, arguments: impl IntoIterator<Item = S>) -> Output {
    Command::new(env!("CARGO_BIN_EXE_worker"))
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .env("PATH", std::env::var("PATH").unwrap())
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn assert_ok(output: &Output) {
    assert!(output.status.success(), "{}\n{}", text(&output.stdout), text(&output.stderr));
}

fn named<'t>(tensors: &'t [(String, Tensor)], name: &str) -> &'t Tensor {
    &tensors.iter().find(|(found, _)| found == name).unwrap_or_else(|| panic!("no {name}")).1
}

fn largest_difference(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.size(), b.size());
    (a.to_kind(Kind::Double) - b.to_kind(Kind::Double)).abs().max().double_value(&[])
}

fn psnr_db(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.size(), b.size());
    let error = (a.to_kind(Kind::Double) - b.to_kind(Kind::Double)).square().mean(Kind::Double).double_value(&[]);
    -10.0 * error.max(1e-20).log10()
}

/// Compares a dump with the recorded results.
fn assert_equal_to_reference(dump: &Path, reference: &[(String, Tensor)]) {
    let dump = Tensor::read_safetensors(dump).unwrap();
    for (name, tensor) in &dump {
        assert_eq!(tensor.kind(), Kind::Float, "{name}");
    }
    assert_eq!(largest_difference(named(&dump, "initial_latents"), named(reference, "initial_latents")), 0.0);
    // Which embeddings there are is up to the family and the prompt.
    let recorded = |name: &&str| !name.ends_with("_embeds") || reference.iter().any(|(found, _)| found == name);
    for name in ["prompt_embeds", "pooled_prompt_embeds", "glyph_embeds", "sigmas", "noise_pred_0"]
        .iter()
        .filter(|name| recorded(name))
    {
        let difference = largest_difference(named(&dump, name), named(reference, name));
        assert!(difference <= EXACT, "{name} differs by {difference}");
    }
    let difference = largest_difference(named(&dump, "latents"), named(reference, "latents"));
    assert!(difference <= LATENTS, "latents differ by {difference}");
    let frames = named(&dump, "frames");
    assert_eq!(frames.size()[3], 3);
    let db = psnr_db(frames, named(reference, "frames"));
    assert!(db >= FRAMES_DB, "frames are at {db} dB");
}

fn probe(file: &Path) -> Value {
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-count_frames", "-show_streams", "-of", "json"])
        .arg(file)
        .output()
        .unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn renders_what_the_reference_renders_and_an_mp4_that_plays() {
    let fixture = Fixture::open("base");
    let folder = tempfile::tempdir().unwrap();
    let mut flags = vec!["render".to_owned()];
    flags.extend(fixture.flags());
    flags.extend(["--out", "video.mp4", "--poster", "poster.jpg", "--dump", "dump.safetensors"].map(str::to_owned));
    let output = worker(folder.path(), &flags);
    assert_ok(&output);
    assert_equal_to_reference(&folder.path().join("dump.safetensors"), &fixture.reference());

    let video = folder.path().join("video.mp4");
    let stream = &probe(&video)["streams"][0];
    assert_eq!(stream["codec_name"], "h264");
    assert_eq!(stream["pix_fmt"], "yuv420p");
    assert_eq!(stream["r_frame_rate"], "24/1");
    assert_eq!(stream["nb_read_frames"], fixture.case["frames"].to_string());
    assert_eq!(stream["width"], fixture.case["width"]);
    assert_eq!(stream["height"], fixture.case["height"]);
    let bytes = std::fs::read(&video).unwrap();
    let place = |name: &[u8]| bytes.windows(4).position(|window| window == name).unwrap();
    assert!(place(b"moov") < place(b"mdat"), "the index comes first");
    assert_eq!(probe(&folder.path().join("poster.jpg"))["streams"][0]["codec_name"], "mjpeg");

    let report = text(&output.stdout);
    for word in ["load", "encode", "denoise", "decode", "write", "peak memory", "wrote video.mp4"] {
        assert!(report.lines().any(|line| line.starts_with(word)), "no line for {word}:\n{report}");
    }
    let progress = text(&output.stderr);
    let steps = fixture.case["steps"].as_u64().unwrap();
    for step in 1..=steps {
        assert!(progress.contains(&format!("step {step}/{steps}")), "{progress}");
    }
}

/// With an adapter the first prediction is the one that the reference recorded with it.
#[test]
fn an_adapter_acts_as_the_reference_says() {
    let fixture = Fixture::open("base");
    let adapters = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/hunyuan/tests/fixtures/adapters");
    let folder = tempfile::tempdir().unwrap();
    let mut flags = vec!["render".to_owned()];
    flags.extend(fixture.flags());
    flags.extend(["--tiling", "off", "--threads", "1", "--dump", "dump.safetensors", "--lora"].map(str::to_owned));
    flags.push(format!("{}=0.5", adapters.join("comfy.safetensors").display()));
    assert_ok(&worker(folder.path(), &flags));
    let dumped = Tensor::read_safetensors(folder.path().join("dump.safetensors")).unwrap();
    let wanted = Tensor::read_safetensors(adapters.join("reference.safetensors")).unwrap();
    let difference = (named(&dumped, "noise_pred_0") - named(&wanted, "comfy")).abs().max().double_value(&[]);
    assert!(difference <= EXACT, "{difference}");
}

/// True guidance with a negative prompt, inverted sigmas, a model without double blocks, the longest video of the fixtures.
#[test]
fn every_kind_of_run_is_the_references() {
    for name in ["cfg", "rev", "deep", "longest"] {
        let fixture = Fixture::open(name);
        let folder = tempfile::tempdir().unwrap();
        let mut flags = vec!["render".to_owned()];
        flags.extend(fixture.flags());
        flags.extend(["--tiling", "off", "--threads", "1", "--dump", "dump.safetensors"].map(str::to_owned));
        assert_ok(&worker(folder.path(), &flags));
        let dump = folder.path().join("dump.safetensors");
        assert_equal_to_reference(&dump, &fixture.reference());
        let mut names: Vec<String> =
            Tensor::read_safetensors(&dump).unwrap().into_iter().map(|(name, _)| name).collect();
        names.sort();
        let documented =
            ["frames", "initial_latents", "latents", "noise_pred_0", "pooled_prompt_embeds", "prompt_embeds", "sigmas"];
        assert_eq!(names, documented);
    }
}

/// HunyuanVideo 1.5 by its prompt alone: guidance, shift and the empty negative prompt are the checkpoint's and the family's.
#[test]
fn the_second_family_needs_no_other_flags() {
    for name in ["v1_5/base", "v1_5/frame", "v1_5/deep"] {
        let fixture = Fixture::open(name);
        let folder = tempfile::tempdir().unwrap();
        let case = &fixture.case;
        let size = format!("{}x{}", case["width"], case["height"]);
        let (frames, steps, seed) = (case["frames"].to_string(), case["steps"].to_string(), case["seed"].to_string());
        let (model, prompt) = (fixture.model().display().to_string(), case["prompt"].as_str().unwrap());
        let flags =
            ["render", "--model", &model, "--size", &size, "--frames", &frames, "--steps", &steps, "--seed", &seed];
        let more = ["--prompt", prompt, "--threads", "1", "--dump", "dump.safetensors"];
        assert_ok(&worker(folder.path(), flags.iter().chain(&more)));
        assert_equal_to_reference(&folder.path().join("dump.safetensors"), &fixture.reference());
    }
}

/// A threshold of 0 skips nothing, and one that no error reaches skips all that may be skipped.
#[test]
fn thresholds_of_the_step_cache_are_compared_with_the_whole_video() {
    let fixture = Fixture::open("v1_5/base");
    let folder = tempfile::tempdir().unwrap();
    let model = fixture.model().display().to_string();
    let flags = ["render", "--model", &model, "--size", "48x32", "--frames", "5", "--steps", "9", "--prompt", "a fox"];
    let more = ["--threads", "1", "--dump", "dump.safetensors", "--step-cache-thresholds", "0,1000"];
    let output = worker(folder.path(), flags.iter().chain(&more));
    assert_ok(&output);
    let said = text(&output.stdout);
    let lines: Vec<&str> = said.lines().filter(|line| line.starts_with("threshold")).collect();
    assert_eq!(lines.len(), 2, "{said}");
    assert!(lines[0].starts_with("threshold 0: 9 of 9 steps computed,") && lines[0].ends_with("same bytes"), "{said}");
    // The first five and the last.
    assert!(lines[1].starts_with("threshold 1000: 6 of 9 steps computed,") && lines[1].ends_with(" dB"), "{said}");

    let output = worker(folder.path(), flags.iter().chain(&["--dump", "d", "--step-cache-thresholds", "0.1,-1"]));
    assert!(!output.status.success() && text(&output.stderr).contains("numbers from 0 up"), "{}", text(&output.stderr));
}

#[test]
fn a_checkpoint_that_does_not_fit_is_refused_with_every_key() {
    let fixture = Fixture::open("base");
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model");
    copy_folder(&fixture.model(), &model);
    let file = model.join("vae/diffusion_pytorch_model.safetensors");
    let mut tensors = Tensor::read_safetensors(&file).unwrap();
    let wrong = tensors.iter_mut().find(|(name, _)| name == "decoder.conv_in.conv.bias").unwrap();
    "decoder.conv_first.bias".clone_into(&mut wrong.0);
    Tensor::write_safetensors(&tensors, &file).unwrap();
    let output = worker(folder.path(), ["render", "--model", "model", "--prompt", "x", "--out", "v.mp4"]);
    let said = text(&output.stderr);
    assert!(!output.status.success());
    for wanted in [
        "1 missing, 1 unexpected, 0 misshaped",
        "missing    decoder.conv_in.conv.bias",
        "unexpected decoder.conv_first.bias",
    ] {
        assert!(said.contains(wanted), "{wanted}: {said}");
    }
}

#[test]
fn interpolation_puts_frames_between_those_of_the_model() {
    let folder = tempfile::tempdir().unwrap();
    let weights = testkit::repository().join("crates/hunyuan/tests/fixtures/interpolation/small").display().to_string();
    let model = testkit::repository().join("models/default").display().to_string();
    let flags =
        ["render", "--model", &model, "--prompt", "a red ball", "--steps", "2", "--threads", "1", "--out", "v.mp4"];
    let smooth = worker(folder.path(), flags.iter().copied().chain(["--interpolate", "2", "--interpolator", &weights]));
    assert_ok(&smooth);
    let count = "-v error -count_frames -show_entries stream=nb_read_frames -of csv=p=0 v.mp4".split(' ');
    let counted = Command::new("ffprobe").args(count).current_dir(folder.path()).output().unwrap();
    assert_eq!(text(&counted.stdout).trim(), "33");
    let missing = worker(folder.path(), flags.iter().copied().chain(["--interpolate", "2"]));
    assert!(!missing.status.success() && text(&missing.stderr).contains("scripts/fetch-interpolator"));
    let odd = worker(folder.path(), flags.iter().copied().chain(["--interpolate", "3"]));
    assert!(!odd.status.success() && text(&odd.stderr).contains("use 2, 4 or 8"), "{}", text(&odd.stderr));
}

#[test]
fn given_noise_is_used_instead_of_the_seed() {
    let fixture = Fixture::open("base");
    let folder = tempfile::tempdir().unwrap();
    let latents = folder.path().join("noise.safetensors");
    let reference = fixture.reference();
    Tensor::write_safetensors(&[("initial_latents", named(&reference, "initial_latents"))], &latents).unwrap();
    let mut flags = vec!["render".to_owned()];
    flags.extend(fixture.flags());
    let seed = flags.iter().position(|flag| flag == "--seed").unwrap();
    flags[seed + 1] = "12345".to_owned();
    flags.extend(["--latents", "noise.safetensors", "--dump", "dump.safetensors"].map(str::to_owned));
    assert_ok(&worker(folder.path(), &flags));
    assert_equal_to_reference(&folder.path().join("dump.safetensors"), &reference);
}

#[test]
fn the_same_command_gives_the_same_bytes() {
    let fixture = Fixture::open("base");
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.mp4", "b.mp4"] {
        let mut flags = vec!["render".to_owned()];
        flags.extend(fixture.flags());
        flags.extend(["--out".to_owned(), name.to_owned()]);
        assert_ok(&worker(folder.path(), &flags));
    }
    let [a, b] = ["a.mp4", "b.mp4"].map(|name| std::fs::read(folder.path().join(name)).unwrap());
    assert_eq!(a, b);
}

#[test]
fn a_plain_checkpoint_renders_at_any_multiple_of_16_and_in_16_bits() {
    let fixture = Fixture::open("base");
    assert!(!fixture.model().join("fleet.toml").exists());
    let folder = tempfile::tempdir().unwrap();
    let model = fixture.model().display().to_string();
    for (size, frames, dtype) in [("16x80", "1", "f32"), ("64x48", "9", "bf16")] {
        let flags = ["render", "--model", &model, "--prompt", "", "--size", size, "--frames", frames, "--steps", "2"];
        let more = ["--dtype", dtype, "--tiling", "on", "--encoders-on-demand", "--threads", "1", "--out", "v.mp4"];
        let output = worker(folder.path(), flags.iter().chain(&more));
        assert_ok(&output);
        let report = text(&output.stdout);
        assert!(report.starts_with(&format!("{size}, {frames} frames, on cpu with {dtype}, 1 threads")), "{report}");
        assert_eq!(probe(&folder.path().join("v.mp4"))["streams"][0]["nb_read_frames"], frames);
    }
}

#[test]
fn mistakes_are_named_and_leave_no_file() {
    let fixture = Fixture::open("base");
    let model = fixture.model().display().to_string();
    let folder = tempfile::tempdir().unwrap();
    let base = ["render", "--prompt", "x", "--steps", "1", "--out", "v.mp4"];
    let cases: [(&[&str], &str); 9] = [
        (&["--model", "/no/such/folder"], "model_index.json"),
        (&["--model", &model, "--size", "50x32", "--frames", "5"], "width"),
        (&["--model", &model, "--size", "48x32", "--frames", "6"], "frames"),
        (&["--model", &model, "--size", "48"], "WIDTHxHEIGHT"),
        (&["--model", &model, "--size", "48x32", "--frames", "5", "--true-cfg", "2"], "--negative-prompt"),
        (&["--model", &model, "--dtype", "f64"], "f32, bf16 or f16"),
        (&["--model", &model, "--size", "48x32", "--frames", "5", "--device", "cuda:77"], "cuda:77"),
        (&["--model", &model, "--latents", "none.safetensors"], "none.safetensors"),
        (&["--model", &model, "--size", "32x32", "--frames", "1", "--ffmpeg", "no-ffmpeg"], "install ffmpeg"),
    ];
    for (flags, wanted) in cases {
        let output = worker(folder.path(), base.iter().chain(flags));
        let said = text(&output.stderr);
        assert!(!output.status.success(), "{flags:?}");
        assert!(said.contains(wanted), "{flags:?} said: {said}");
        assert!(!said.contains("panicked"), "{flags:?} said: {said}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "{flags:?}");
    }
}

#[test]
fn fingerprints_are_printed_and_written() {
    let fixture = Fixture::open("base");
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model");
    copy_folder(&fixture.model(), &model);
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/hunyuanvideo.fleet.toml");
    std::fs::copy(manifest, model.join("fleet.toml")).unwrap();
    let output = worker(folder.path(), ["fingerprint", "--model", "model", "--write"]);
    assert_ok(&output);
    let printed = text(&output.stdout);
    let written = std::fs::read_to_string(model.join("fleet.toml")).unwrap();
    for line in printed.lines().skip(1) {
        assert!(written.contains(line), "{line}");
        assert_eq!(line.split('"').nth(1).unwrap().len(), 64, "{line}");
    }
    // Another weight, another fingerprint; the encoders stay.
    let weights = model.join("vae/diffusion_pytorch_model.safetensors");
    let mut bytes = std::fs::read(&weights).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&weights, bytes).unwrap();
    let again = text(&worker(folder.path(), ["fingerprint", "--model", "model"]).stdout);
    assert_ne!(printed.lines().nth(1), again.lines().nth(1));
    assert_eq!(printed.lines().nth(2), again.lines().nth(2));
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
