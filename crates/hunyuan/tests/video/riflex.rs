//! RIFLEx against diffusers' transformer with the frequency replaced by the formula.

use hunyuan::v1::text::{POOLED, PROMPT};
use hunyuan::v1::transformer::{Transformer, VideoShape};
use hunyuan::{Control, DenoiseRequest, Error};
use tch::{Kind, Tensor};

use crate::fixture::{Fixture, distance, go_on, small};

/// The change by RIFLEx is a thousandth of the values and more, so the agreement must be far below it.
const AGREEMENT: f64 = 1e-5;

#[test]
fn only_the_repeating_frequency_changes_and_by_the_formula() {
    let fixture = Fixture::open("base");
    let mut config = fixture.config().transformer;
    config.rope_axes_dim = vec![8, 4, 4];
    let network = fixture.network("transformer", Kind::Float, |loader| Transformer::load(loader, &config));
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/riflex/reference.safetensors");
    let recorded: std::collections::BTreeMap<String, Tensor> =
        Tensor::read_safetensors(path).unwrap().into_iter().collect();
    let embeddings = fixture.embeddings();
    for length in [50, 51, 66] {
        let latents = &recorded[&format!("latents_{length}")];
        let predict = |stretch| {
            let shape = VideoShape { latents: [4, length, 4, 4], full: [4, 4], stretch };
            let prompt = embeddings.get(PROMPT).unwrap();
            let condition = network.condition(prompt, embeddings.get(POOLED).unwrap(), &[6.0], &shape).unwrap();
            network.forward(latents, &[500.0], &condition, &Control::new(), None).unwrap()
        };
        let (plain, stretched) = (predict(false), predict(true));
        assert!(distance(&plain, &recorded[&format!("plain_{length}")]) <= AGREEMENT, "{length}");
        assert!(distance(&stretched, &recorded[&format!("riflex_{length}")]) <= AGREEMENT, "{length}");
        assert!(distance(&plain, &stretched) > 20.0 * AGREEMENT, "{length}");
    }
}

#[test]
fn it_is_part_of_the_identity_and_refused_where_the_model_lacks_the_frequency() {
    let fixture = Fixture::open("base");
    let engine = fixture.engine();
    let request = DenoiseRequest { riflex: true, ..small(&fixture, 1, 1) };
    let plain = engine.identity(&small(&fixture, 1, 1)).unwrap();
    assert!(engine.identity(&request).unwrap().difference(&plain).is_some_and(|text| text.contains("riflex")));
    let error = engine.denoise(&request, None, &Control::new(), &mut go_on).unwrap_err();
    assert!(matches!(error, Error::Input { field: "riflex", .. }), "{error}");
}
