//! Goal: a checkpoint loads whatever way it was saved, without waste, and one that does not fit says all that is wrong at once.
//! Method: copies of a committed fixture with changed files; for memory, a larger random network in a process of its own.

#![expect(clippy::unwrap_used, reason = "a test that cannot make its checkpoint has nothing to say")]

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
};

use hunyuan::{
    Control, DenoiseRequest, DeviceChoice, Dtype, Embeddings, Engine, EngineOptions, Error, Frames,
    runtime::error::CheckpointMismatch,
    runtime::weights::{self, Weights, key_table},
    v1::config::TransformerConfig,
    v1::transformer::Transformer,
};
use tch::{Device, Kind, Tensor};

type Tensors = BTreeMap<String, Tensor>;

const TRANSFORMER: &str = "transformer/diffusion_pytorch_model.safetensors";
const VAE: &str = "vae/diffusion_pytorch_model.safetensors";
const LLAMA: &str = "text_encoder/model.safetensors";
const CLIP: &str = "text_encoder_2/model.safetensors";
const ALL: [&str; 4] = [TRANSFORMER, VAE, LLAMA, CLIP];

/// A copy of the fixture `base`'s model that may be changed.
struct Copy {
    folder: tempfile::TempDir,
}

impl Copy {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/base/model");
        assert!(Command::new("cp").arg("-r").arg(from).arg(folder.path()).status().unwrap().success());
        Self { folder }
    }

    fn dir(&self) -> PathBuf {
        self.folder.path().join("model")
    }

    fn tensors(&self, file: &str) -> Tensors {
        Tensor::read_safetensors(self.dir().join(file)).unwrap().into_iter().collect()
    }

    /// Rewrites one file.
    fn change(&self, file: &str, edit: impl FnOnce(&mut Tensors)) {
        let mut tensors = self.tensors(file);
        edit(&mut tensors);
        write(&tensors, &self.dir().join(file));
    }

    /// Calls the bytes of a file FP8 values: tch can make those, but not write them.
    fn call_bytes_fp8(&self, file: &str) {
        let path = self.dir().join(file);
        let whole = std::fs::read(&path).unwrap();
        let (length, rest) = whole.split_at(8);
        let (header, data) = rest.split_at(u64::from_le_bytes(length.try_into().unwrap()) as usize);
        let header = std::str::from_utf8(header).unwrap().replace("\"U8\"", "\"F8_E4M3\"");
        let length = (header.len() as u64).to_le_bytes();
        std::fs::write(&path, [&length, header.as_bytes(), data].concat()).unwrap();
    }

    fn load(&self, dtype: Dtype) -> hunyuan::Result<Engine> {
        let options = EngineOptions {
            device: DeviceChoice::Cpu,
            dtype: Some(dtype),
            threads: Some(1),
            ..EngineOptions::new(self.dir())
        };
        Engine::load(&options)
    }
}

fn write(tensors: &Tensors, path: &Path) {
    let all: Vec<(&str, &Tensor)> = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    Tensor::write_safetensors(&all, path).unwrap();
}

/// One prompt through all stages.
fn render(engine: &Engine) -> (Embeddings, Frames) {
    let embeddings = engine.encode(&["a cat"], &Control::new()).unwrap().remove(0);
    let mut request = DenoiseRequest::new(engine.defaults(), embeddings.share(), 7);
    (request.width, request.height, request.frames, request.steps) = (32, 32, 5, 2);
    let done = engine.denoise(&request, None, &Control::new(), &mut |_| std::ops::ControlFlow::Continue(())).unwrap();
    (embeddings, engine.decode(&done.latents, &Control::new(), &mut |_, _| {}).unwrap())
}

fn assert_same(left: &Engine, right: &Engine) {
    let ((one, frames), (other, others)) = (render(left), render(right));
    assert_eq!(one.fingerprint(), other.fingerprint());
    assert!(frames.tensor().equal(others.tensor()));
}

/// Renames every key of a text encoder and nests its configuration, as a larger model that contains it does.
fn nest(copy: &Copy, component: &str, rename: impl Fn(&str) -> String, extra: &[&str]) {
    let file = format!("{component}/model.safetensors");
    let tensors = copy.tensors(&file);
    let mut nested: Tensors = tensors.iter().map(|(key, tensor)| (rename(key), tensor.shallow_clone())).collect();
    for key in extra {
        nested.insert((*key).to_owned(), Tensor::zeros([2, 2], (Kind::Float, Device::Cpu)));
    }
    write(&nested, &copy.dir().join(&file));
    let path = copy.dir().join(component).join("config.json");
    let text: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    // The outer numbers are wrong on purpose: they belong to other parts.
    let outer = serde_json::json!({"text_config": text, "hidden_size": 3, "rope_theta": 10000.0});
    std::fs::write(&path, outer.to_string()).unwrap();
}

#[test]
fn text_encoders_inside_larger_models_give_the_same_video() {
    let plain = Copy::new();
    let flat = plain.load(Dtype::F32).unwrap();
    let llava = [
        (
            "language_model.model.",
            ["language_model.lm_head.weight", "vision_tower.x.weight", "multi_modal_projector.x.bias"],
        ),
        (
            "model.language_model.",
            ["lm_head.weight", "model.vision_tower.x.weight", "model.multi_modal_projector.x.bias"],
        ),
    ];
    for (prefix, extra) in llava {
        let copy = Copy::new();
        nest(&copy, "text_encoder", |key| format!("{prefix}{}", key.trim_start_matches("model.")), &extra);
        let clip = ["vision_model.x.weight", "logit_scale", "text_projection.weight", "visual_projection.weight"];
        nest(&copy, "text_encoder_2", str::to_owned, &clip);
        assert_same(&flat, &copy.load(Dtype::F32).unwrap());
    }
}

/// What people find instead of weights: the text that git keeps, a page, half a download.
#[test]
fn files_that_are_no_weights_are_refused_with_the_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.safetensors");
    let refused = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        Weights::open(dir.path()).unwrap_err().to_string()
    };
    assert!(refused(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1").contains("git lfs pull"));
    assert!(refused(b"<!DOCTYPE html><html><head><title>Log in</title></head></html>").contains("web page"));
    assert!(refused(b"GGUF\x03\0\0\0").contains("ComfyUI-GGUF"));
    let whole = std::fs::read(Copy::new().dir().join(VAE)).unwrap();
    assert!(refused(&whole[..whole.len() / 2]).contains("cut off"));
}

#[test]
fn one_error_lists_every_wrong_key_of_every_component() {
    let copy = Copy::new();
    let moved = "single_transformer_blocks.1.proj_mlp.weight";
    copy.change(TRANSFORMER, |tensors| {
        drop(tensors.remove("transformer_blocks.0.attn.to_k.weight").unwrap());
        drop(tensors.remove("proj_out.bias").unwrap());
        let tensor = tensors.remove(moved).unwrap();
        tensors.insert("single_blocks.1.linear1.weight".to_owned(), tensor.shallow_clone());
        let bias = tensors.get_mut("x_embedder.proj.bias").unwrap();
        *bias = bias.narrow(0, 0, 5).contiguous();
    });
    copy.change(CLIP, |tensors| {
        tensors.insert("text_model.surplus.weight".to_owned(), Tensor::zeros([1], (Kind::Float, Device::Cpu)));
    });
    copy.change(LLAMA, |tensors| {
        drop(tensors.remove("layers.2.mlp.up_proj.weight").unwrap());
    });
    let error = copy.load(Dtype::F32).unwrap_err();
    let Error::Checkpoint(found) = &error else { panic!("{error}") };
    let owned = |keys: &[&str]| keys.iter().map(|&key| key.to_owned()).collect::<Vec<_>>();
    let wanted = [
        CheckpointMismatch {
            component: "transformer".to_owned(),
            missing: owned(&["proj_out.bias", moved, "transformer_blocks.0.attn.to_k.weight"]),
            unexpected: owned(&["single_blocks.1.linear1.weight"]),
            misshaped: vec![("x_embedder.proj.bias".to_owned(), vec![32], vec![5])],
            mistyped: Vec::new(),
        },
        CheckpointMismatch {
            component: "text_encoder".to_owned(),
            missing: owned(&["layers.2.mlp.up_proj.weight"]),
            ..CheckpointMismatch::default()
        },
        CheckpointMismatch {
            component: "text_encoder_2".to_owned(),
            unexpected: owned(&["text_model.surplus.weight"]),
            ..CheckpointMismatch::default()
        },
    ];
    assert_eq!(found.as_slice(), wanted);
    for mismatch in &wanted {
        assert!(error.to_string().contains(&mismatch.to_string()), "{error}");
    }
    assert!(error.to_string().contains("worker convert"), "one name is that of another layout: {error}");
}

#[test]
fn weights_in_formats_that_cannot_be_read_are_found_before_any_is_read() {
    let copy = Copy::new();
    copy.change(TRANSFORMER, |tensors| {
        for (key, tensor) in tensors.iter_mut() {
            if key.contains("_blocks") && tensor.dim() == 2 {
                *tensor = tensor.to_kind(Kind::Float8e4m3fn).view_dtype(Kind::Uint8);
            }
        }
    });
    copy.call_bytes_fp8(TRANSFORMER);
    let error = copy.load(Dtype::F32).unwrap_err();
    let text = error.to_string();
    let Error::Checkpoint(found) = &error else { panic!("{error}") };
    assert!(found[0].mistyped.len() > 10 && found[0].missing.is_empty(), "{found:?}");
    assert!(text.contains("F8_E4M3") && text.contains("worker convert") && text.len() < 2_000, "{text}");
}

/// The last two layers of the language model, its final norm and the encoder of the VAE take no part in text-to-video.
#[test]
fn what_no_stage_reads_need_not_be_there() {
    let (whole, less) = (Copy::new(), Copy::new());
    let mut dropped = 0;
    for (file, unused) in
        [(LLAMA, ["layers.3.", "layers.4.", "norm."].as_slice()), (VAE, ["encoder.", "quant_conv."].as_slice())]
    {
        less.change(file, |tensors| {
            let before = tensors.len();
            tensors.retain(|name, _| !unused.iter().any(|prefix| name.starts_with(prefix)));
            dropped += before - tensors.len();
        });
    }
    assert!(dropped > 20, "the fixture holds tensors that are never loaded: {dropped}");
    let (whole, less) = (whole.load(Dtype::F32).unwrap(), less.load(Dtype::F32).unwrap());
    assert_eq!(whole.info().resident_bytes, less.info().resident_bytes);
    assert_same(&whole, &less);
}

#[test]
fn shards_load_like_one_file_with_or_without_an_index() {
    let (one, indexed, plain) = (Copy::new(), Copy::new(), Copy::new());
    for (copy, index) in [(&indexed, true), (&plain, false)] {
        for file in [TRANSFORMER, LLAMA] {
            let path = copy.dir().join(file);
            let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
            let mut parts = [Tensors::new(), Tensors::new(), Tensors::new()];
            let mut map = serde_json::Map::new();
            for (position, (name, tensor)) in copy.tensors(file).into_iter().enumerate() {
                map.insert(name.clone(), format!("{stem}-0000{}-of-00003.safetensors", position % 3 + 1).into());
                parts[position % 3].insert(name, tensor);
            }
            std::fs::remove_file(&path).unwrap();
            for (number, part) in parts.iter().enumerate() {
                write(part, &path.with_file_name(format!("{stem}-0000{}-of-00003.safetensors", number + 1)));
            }
            if index {
                let text = serde_json::json!({ "metadata": {}, "weight_map": map }).to_string();
                std::fs::write(path.with_file_name(format!("{stem}.safetensors.index.json")), text).unwrap();
            }
        }
    }
    let one = one.load(Dtype::F32).unwrap();
    assert_same(&one, &indexed.load(Dtype::F32).unwrap());
    assert_same(&one, &plain.load(Dtype::F32).unwrap());
}

#[test]
fn an_index_that_names_an_absent_shard_says_which() {
    let copy = Copy::new();
    let index = copy.dir().join("transformer/diffusion_pytorch_model.safetensors.index.json");
    std::fs::write(index, r#"{"weight_map": {"proj_out.bias": "part-00002-of-00002.safetensors"}}"#).unwrap();
    let error = copy.load(Dtype::F32).unwrap_err().to_string();
    assert!(error.contains("part-00002-of-00002.safetensors") && error.contains("download"), "{error}");
}

#[test]
fn weights_are_converted_from_whatever_they_are_stored_as() {
    for kind in [Kind::Half, Kind::BFloat16, Kind::Double] {
        let (stored, rounded) = (Copy::new(), Copy::new());
        for file in ALL {
            stored.change(file, |tensors| tensors.values_mut().for_each(|tensor| *tensor = tensor.to_kind(kind)));
            rounded.change(file, |tensors| {
                tensors.values_mut().for_each(|tensor| *tensor = tensor.to_kind(kind).to_kind(Kind::Float));
            });
        }
        assert_same(&stored.load(Dtype::F32).unwrap(), &rounded.load(Dtype::F32).unwrap());
    }
}

#[test]
fn each_number_format_computes() {
    let copy = Copy::new();
    let (_, exact) = render(&copy.load(Dtype::F32).unwrap());
    for dtype in [Dtype::Bf16, Dtype::F16] {
        let engine = copy.load(dtype).unwrap();
        assert_eq!(engine.info().dtype, dtype);
        let (_, frames) = render(&engine);
        let error = (frames.tensor() - exact.tensor()).square().mean(Kind::Double).double_value(&[]);
        let decibels = -10.0 * error.log10();
        assert!(decibels > 25.0, "{dtype}: {decibels:.1} dB");
    }
}

#[test]
fn every_row_of_a_fused_tensor_remembers_its_key() {
    let copy = Copy::new();
    let engine = copy.load(Dtype::F32).unwrap();
    let placements = engine.placements();
    let attention = "transformer_blocks.0.attn";
    let fused = format!("{attention}.to_q+to_k+to_v.weight");
    let found: Vec<_> =
        placements.provenance(&fused).iter().map(|range| (range.key.as_str(), range.rows.clone())).collect();
    let keys = ["to_q", "to_k", "to_v"].map(|part| format!("{attention}.{part}.weight"));
    let wanted: Vec<_> = keys.iter().zip([0, 32, 64]).map(|(key, row)| (key.as_str(), row..row + 32)).collect();
    assert_eq!(found, wanted);
    assert_eq!(placements.place_of(&keys[1]), Some((fused.as_str(), 32..64)));
    assert_eq!(placements.provenance("no.such.tensor"), []);
    assert!(placements.view("no.such.key").unwrap_err().to_string().contains("no.such.key"));
    // Every key of the file is in exactly one place, with the file's own values.
    let stored = copy.tensors(TRANSFORMER);
    let placed: Vec<_> = placements.names().flat_map(|name| placements.provenance(name)).collect();
    assert_eq!(placed.len(), stored.len());
    for (key, tensor) in &stored {
        let view = placements.view(key).unwrap();
        assert!(view.reshape(-1).equal(&tensor.to_kind(Kind::Float).reshape(-1)), "{key}");
    }
}

/// What an adapter does: it changes the rows of one key, and the network is another one until they are changed back.
#[test]
fn writing_to_a_view_changes_the_network_and_writing_back_restores_it() {
    let engine = Copy::new().load(Dtype::F32).unwrap();
    let (_, before) = render(&engine);
    let mut view = engine.placements().view("single_transformer_blocks.0.attn.to_k.weight").unwrap();
    let original = view.copy();
    let _ = view.f_mul_scalar_(1.5).unwrap();
    let (_, changed) = render(&engine);
    assert!(!changed.tensor().equal(before.tensor()));
    view.copy_(&original);
    let (_, restored) = render(&engine);
    assert!(restored.tensor().equal(before.tensor()));
}

/// Where the child process finds the network that it loads, and the format to load it in.
const CHILD: &str = "HUNYUAN_TEST_LOAD";

#[test]
fn a_load_needs_at_most_a_fifth_more_memory_than_what_stays() {
    let config = child_config();
    let table = key_table(|loader| Transformer::load(loader, &config)).unwrap();
    assert!(table.parameters() > 20_000_000, "large beside what libtorch itself takes: {}", table.parameters());
    for (stored, loaded) in [(Kind::BFloat16, "f32"), (Kind::Float, "bf16"), (Kind::Float, "f32")] {
        let folder = tempfile::tempdir().unwrap();
        let tensors: Tensors =
            table.tensors().map(|(key, shape)| (key.to_owned(), Tensor::ones(shape, (stored, Device::Cpu)))).collect();
        write(&tensors, &folder.path().join("diffusion_pytorch_model.safetensors"));
        drop(tensors);
        let ended = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "loading::child_loads_within_its_memory", "--ignored", "--nocapture"])
            .env(CHILD, format!("{loaded} {}", folder.path().display()))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&ended.stdout) + String::from_utf8_lossy(&ended.stderr);
        assert!(ended.status.success() && said.contains("1 passed"), "{stored:?} as {loaded}: {said}");
    }
}

#[test]
#[ignore = "the other process of a_load_needs_at_most_a_fifth_more_memory_than_what_stays"]
fn child_loads_within_its_memory() {
    let asked = std::env::var(CHILD).unwrap();
    let (dtype, folder) = asked.split_once(' ').unwrap();
    let kind = dtype.parse::<Dtype>().unwrap().kind();
    let config = child_config();
    // What libtorch takes for itself on its first use is not the load's.
    let warm = Tensor::ones([1024], (Kind::Float, Device::Cpu)).to_kind(kind).sum(Kind::Double);
    assert!((warm.double_value(&[]) - 1024.0).abs() < 1e-9);
    let before = status_bytes("VmRSS:");
    let weights = Weights::open(Path::new(folder)).unwrap();
    let network = weights::load(&weights, Device::Cpu, kind, |loader| Transformer::load(loader, &config)).unwrap();
    let needed = status_bytes("VmHWM:") - before;
    let parameters = key_table(|loader| Transformer::load(loader, &config)).unwrap().parameters();
    let resident = parameters * i64::try_from(kind.elt_size_in_bytes()).unwrap();
    assert!(network.checks_per_forward() > 0);
    assert!(needed * 10 >= resident * 9, "the measurement sees the weights: {needed} of {resident}");
    assert!(needed * 10 <= resident * 12, "{needed} bytes for {resident} that stay");
}

fn child_config() -> TransformerConfig {
    TransformerConfig {
        num_attention_heads: 8,
        attention_head_dim: 64,
        num_layers: 1,
        num_single_layers: 3,
        num_refiner_layers: 1,
        text_embed_dim: 512,
        rope_axes_dim: vec![16, 24, 24],
        ..TransformerConfig::default()
    }
}

/// A line of this process's memory figures.
fn status_bytes(name: &str) -> i64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim().strip_suffix("kB").unwrap().trim().parse::<i64>().unwrap() * 1024
}

/// Why a copy whose language-model tokenizer was changed does not load.
fn refusal(file: &str, edit: impl FnOnce(&mut serde_json::Value)) -> String {
    let copy = Copy::new();
    let path = copy.dir().join("tokenizer").join(file);
    let mut value: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    edit(&mut value);
    std::fs::write(&path, value.to_string()).unwrap();
    match copy.load(Dtype::F32) {
        Err(Error::Config { path: named, reason }) if named.ends_with("tokenizer/tokenizer.json") => reason,
        other => panic!("a changed tokenizer gave {:?}", other.map(drop)),
    }
}

#[test]
fn tokens_that_the_model_was_not_trained_with_are_refused() {
    // Some checkpoints leave begin-of-text to the library's code; the prompt would then mean something else here.
    let reason = refusal("tokenizer.json", |tokenizer| tokenizer["post_processor"] = serde_json::Value::Null);
    assert!(reason.contains("must start with <|begin_of_text|>"), "{reason}");
    let reason = refusal("tokenizer_config.json", |settings| settings["add_eos_token"] = true.into());
    assert!(reason.contains("end token"), "{reason}");
}
