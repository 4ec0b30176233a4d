//! Goal: what the API says about a prompt is exactly what the encoders read of it.
//! Method: prompts around every limit, with the committed tokenizers; two prompts that differ only behind the part that is read have
//! the same tokens, and two that differ inside of it have not.

#![expect(clippy::unwrap_used, reason = "a test that cannot read its fixture has nothing to say")]

use std::path::{Path, PathBuf};

use prompts::clip::ClipTokenizer;
use prompts::v1::LlamaTokenizer;
use prompts::v1_5::QwenTokenizer;
use prompts::{Bundle, Encoder, Family, Files, PromptReader, Reading};

fn folder(of: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(of)
}

fn models() -> [(Family, PathBuf); 3] {
    [
        (Family::V1, folder("models/default")),
        (Family::V1, folder("crates/hunyuan/tests/fixtures/base/model")),
        (Family::V1_5, folder("crates/hunyuan/tests/fixtures/v1_5/base/model")),
    ]
}

/// Ids that the encoder gets.
fn ids(encoder: Encoder, model: &Path, prompt: &str) -> Vec<i64> {
    let files = Files::of_folder(model);
    match encoder {
        Encoder::Llama => LlamaTokenizer::load(&files.at("tokenizer")).unwrap().encode(prompt).unwrap(),
        Encoder::Qwen => QwenTokenizer::load(&files.at("tokenizer")).unwrap().encode(prompt).unwrap(),
        Encoder::Clip => ClipTokenizer::load(&files.at("tokenizer_2"), 77).unwrap().encode(prompt).unwrap(),
        Encoder::Byt5 => unreachable!("not of these prompts"),
    }
}

fn prompts() -> Vec<String> {
    let english = "a large red ball moves to the right on the snow, while it's filmed slowly; ";
    let chinese = "一个红色的大球在雪地上向右移动，镜头缓慢跟随。";
    let mixed = "café “a ball” — 一只猫 🐈‍⬛ naïve ÅNGSTRÖM\n\n  e\u{301} ";
    let mut all: Vec<String> = [english, chinese, mixed].iter().map(|text| text.repeat(70)).collect();
    // 1,890 characters, and every length around the smaller limits.
    all.push(english.repeat(30).chars().take(1_890).collect());
    for length in (0..400).step_by(7) {
        all.extend(
            [english, chinese, mixed].iter().map(|text| text.repeat(10).chars().take(length).collect::<String>()),
        );
    }
    all
}

/// The part of a prompt that is read, up to blanks.
fn read_part<'a>(prompt: &'a str, reading: &Reading) -> &'a str {
    let unread = reading.unread.as_deref().unwrap_or_default();
    assert!(prompt.ends_with(unread), "the unread text is the end of the prompt: {unread:?}");
    &prompt[..prompt.len() - unread.len()]
}

#[test]
fn what_is_cut_is_what_is_reported() {
    let mut cut = 0;
    for (family, model) in models() {
        let reader = PromptReader::load(family, &Files::of_folder(&model)).unwrap();
        for prompt in prompts() {
            for reading in reader.read(&prompt).unwrap().into_iter().filter(|found| found.encoder != Encoder::Byt5) {
                let of = |text: &str| ids(reading.encoder, &model, text);
                let beyond = reading.tokens > reading.tokens_max;
                let Some(unread) = &reading.unread else {
                    // Blanks alone are not worth mentioning.
                    assert!(!beyond || prompt.ends_with(char::is_whitespace), "{reading:?} of {prompt:?}");
                    continue;
                };
                assert!(beyond, "{reading:?} of {prompt:?}");
                cut += 1;
                assert!(!unread.is_empty());
                let part = read_part(&prompt, &reading);
                assert_eq!(of(&prompt), of(&format!("{prompt} and something else")), "{prompt:?}");
                assert_ne!(of(&prompt), of(&part[..part.floor_char_boundary(part.len() / 2)]), "{prompt:?}");
            }
        }
    }
    assert!(cut > 50, "the prompts reach the limits: {cut}");
}

#[test]
fn two_prompts_that_differ_behind_the_limit_are_the_same_to_the_encoders() {
    let model = folder("models/default");
    let reader = PromptReader::load(Family::V1, &Files::of_folder(&model)).unwrap();
    let start: String = "a large red ball moves to the right on the snow, ".repeat(40).chars().take(1_850).collect();
    let (one, other) = (format!("{start} and it stops at the end of the road"), format!("{start} until night falls"));
    let readings = [reader.read(&one).unwrap(), reader.read(&other).unwrap()];
    for (first, second) in readings[0].iter().zip(&readings[1]) {
        assert_eq!(ids(first.encoder, &model, &one), ids(second.encoder, &model, &other));
        assert!(first.unread.as_ref().unwrap().ends_with("at the end of the road"), "{first:?}");
        assert!(second.unread.as_ref().unwrap().ends_with("until night falls"), "{second:?}");
    }
    // The language model reads further than CLIP.
    let unread = |at: usize| readings[0][at].unread.as_ref().map_or(0, String::len);
    assert!(unread(0) < unread(1), "{} and {}", unread(0), unread(1));
}

#[test]
fn only_quoted_text_reaches_the_glyph_encoder() {
    let (family, model) = models()[2].clone();
    let reader = PromptReader::load(family, &Files::of_folder(&model)).unwrap();
    assert_eq!(reader.read("a sign").unwrap().len(), 1);
    let long = format!("a sign that says \"{}END\"", "open ".repeat(60));
    let readings = reader.read(&long).unwrap();
    assert_eq!(readings[1].encoder, Encoder::Byt5);
    assert!(readings[1].unread.as_ref().unwrap().contains("END"), "{readings:?}");
}

#[test]
fn a_bundle_reads_as_its_folder_does() {
    for (family, model) in models() {
        let bundle = Bundle::of_folder(&model).unwrap();
        let carried = Bundle::from_json(&bundle.to_json()).unwrap();
        assert_eq!(carried, bundle);
        let reader = PromptReader::load(family, &carried.into_files()).unwrap();
        let on_disk = PromptReader::load(family, &Files::of_folder(&model)).unwrap();
        for prompt in ["a cat", "一只猫", &"a ball ".repeat(300)] {
            assert_eq!(reader.read(prompt).unwrap(), on_disk.read(prompt).unwrap());
        }
    }
    let empty = tempfile::tempdir().unwrap();
    let none = Bundle::of_folder(empty.path()).unwrap().into_files();
    let error = PromptReader::load(Family::V1, &none).unwrap_err().to_string();
    assert!(error.contains("config.json") || error.contains("tokenizer.json"), "{error}");
    Bundle::from_json(b"{\"files\": 3}").unwrap_err();
}
