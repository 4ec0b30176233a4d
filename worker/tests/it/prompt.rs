//! The default model as newcomers meet it: `worker render` on the committed folder draws what the prompt says.
//!
//! What the videos show is read from their pixels by [`testkit::shapes`], which knows nothing of the prompt. Seeds are fixed, and
//! the prompts are among those that the model draws with other seeds as well.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::{path::Path, process::Command};

use tch::{Kind, Tensor};
use testkit::shapes::{Clip, Reading, read};

/// Renders a prompt with the real executable and reads the frames.
fn rendered(prompt: &str, seed: u64) -> Reading {
    let folder = tempfile::tempdir().unwrap();
    let dump = folder.path().join("dump.safetensors");
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/default");
    let output = Command::new(env!("CARGO_BIN_EXE_worker"))
        .arg("render")
        .arg("--model")
        .arg(model)
        .args(["--prompt", prompt, "--seed", &seed.to_string(), "--steps", "25"])
        .arg("--dump")
        .arg(&dump)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let tensors = Tensor::read_safetensors(&dump).unwrap();
    let (_, frames) = tensors.iter().find(|(name, _)| name == "frames").unwrap();
    let size: Vec<usize> = frames.size().iter().map(|&extent| usize::try_from(extent).unwrap()).collect();
    let bytes = (frames * 255.0).round().to_kind(Kind::Uint8).contiguous();
    let mut rgb = vec![0; bytes.numel()];
    bytes.copy_data_u8(&mut rgb, bytes.numel());
    read(Clip { rgb: &rgb, width: size[2], height: size[1] })
}

/// Background, colour and motion of a rendered prompt.
fn shown(prompt: &str, seed: u64) -> (&'static str, &'static str, &'static str) {
    let reading = rendered(prompt, seed);
    (reading.background, reading.color.unwrap(), reading.motion.unwrap())
}

#[test]
fn a_plain_prompt_shows_its_background_colour_and_direction() {
    assert_eq!(shown("a large red ball moves to the right on the snow", 1), ("snow", "red", "right"));
}

#[test]
fn another_prompt_shows_another_video() {
    assert_eq!(shown("a large yellow star moves to the left at night", 2), ("night", "yellow", "left"));
}

#[test]
fn free_phrasing_is_followed() {
    let prompt = "A clip of a big pink circle that rises slowly in the ocean, cinematic";
    assert_eq!(shown(prompt, 3), ("sea", "pink", "up"));
}
