//! Every family becomes the same changes; everything else is refused by name.

use std::collections::BTreeMap;

use super::*;
use crate::header::tests::file;
use crate::layout::{TransformerSizes, aliases};

/// A tensor: name, element type, shape.
type Named<'a> = (&'a str, &'a str, &'a [u64]);

const SIZES: TransformerSizes = TransformerSizes {
    hidden: 8,
    mlp: 16,
    double_blocks: 2,
    single_blocks: 1,
    refiner_blocks: 1,
    text: 12,
    pooled: 6,
    patch: 16,
    guidance: true,
};

fn modules() -> Modules {
    let layers = SIZES.layers();
    Modules::new(&layers, &aliases(|layer| layers.contains_key(layer)))
}

fn read(tensors: &[(&str, &str, &[u64])], metadata: &[(&str, &str)], config: Option<&str>) -> Result<Lora, Refused> {
    let bytes = file(tensors, metadata);
    let header = Header::parse(&bytes, bytes.len() as u64).unwrap();
    let config: Option<Map<String, Value>> = config.map(|text| serde_json::from_str(text).unwrap());
    Lora::read(&header, config.as_ref(), &modules())
}

/// The two factors of a layer with these shapes.
fn pair<'a>(down: &'a str, up: &'a str, [of_up, of_down]: &'a [[u64; 2]; 2]) -> Vec<Named<'a>> {
    vec![(down, "F32", of_down.as_slice()), (up, "F32", of_up.as_slice())]
}

/// Layer, rows and rows of the file of every change.
fn places(lora: &Lora) -> Vec<(String, Range<u64>, Range<u64>)> {
    lora.changes.iter().map(|change| (change.layer.clone(), change.rows.clone(), change.from.clone())).collect()
}

#[test]
fn joined_layers_become_their_parts() {
    let shapes = [[24, 4], [4, 8]];
    for (down, up) in [
        (
            "transformer.double_blocks.0.img_attn_qkv.lora_A.weight",
            "transformer.double_blocks.0.img_attn_qkv.lora_B.weight",
        ),
        (
            "diffusion_model.double_blocks.0.img_attn.qkv.lora_down.weight",
            "diffusion_model.double_blocks.0.img_attn.qkv.lora_up.weight",
        ),
        (
            "lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight",
            "lora_unet_double_blocks_0_img_attn_qkv.lora_up.weight",
        ),
    ] {
        let lora = read(&pair(down, up, &shapes), &[], None).unwrap();
        let wanted: Vec<_> = [("to_k", 8..16), ("to_q", 0..8), ("to_v", 16..24)]
            .map(|(part, from)| (format!("transformer_blocks.0.attn.{part}"), 0..8, from))
            .into();
        assert_eq!(places(&lora), wanted, "{down}");
        assert_eq!(lora.rank, 4);
    }
    let (down, up) = ("single_blocks.0.linear1.lora_A.weight", "single_blocks.0.linear1.lora_B.weight");
    let lora = read(&pair(down, up, &[[40, 2], [2, 8]]), &[], None).unwrap();
    let mlp = places(&lora).into_iter().find(|(layer, ..)| layer.ends_with("proj_mlp")).unwrap();
    assert_eq!((mlp.1, mlp.2), (0..16, 24..40));
}

#[test]
fn the_last_norm_exchanges_its_halves() {
    let (down, up) = ("final_layer.adaLN_modulation.1.lora_A.weight", "final_layer.adaLN_modulation.1.lora_B.weight");
    let lora = read(&pair(down, up, &[[16, 2], [2, 8]]), &[], None).unwrap();
    let layer = "norm_out.linear".to_owned();
    assert_eq!(places(&lora), [(layer.clone(), 0..8, 8..16), (layer, 8..16, 0..8)]);
}

fn scale_of(lora: &Lora) -> &ScaleOf {
    match &lora.changes[0].kind {
        ChangeKind::Factors { scale, .. } => scale,
        other => panic!("{other:?}"),
    }
}

#[test]
fn scales_follow_each_familys_rule() {
    let (down, up) = ("transformer.proj_out.lora_A.weight", "transformer.proj_out.lora_B.weight");
    let plain = pair(down, up, &[[16, 4], [4, 8]]);
    assert_eq!(scale_of(&read(&plain, &[], None).unwrap()), &ScaleOf::Fixed(1.0));
    let metadata = [("lora_adapter_metadata", r#"{"transformer.r": 4, "transformer.lora_alpha": 2}"#)];
    assert_eq!(scale_of(&read(&plain, &metadata, None).unwrap()), &ScaleOf::Fixed(0.5));
    let config = r#"{"lora_alpha": 2, "use_rslora": true}"#;
    assert_eq!(scale_of(&read(&plain, &[], Some(config)).unwrap()), &ScaleOf::Fixed(1.0));
    let config = r#"{"lora_alpha": 2, "alpha_pattern": {"proj_out": 8}}"#;
    assert_eq!(scale_of(&read(&plain, &[], Some(config)).unwrap()), &ScaleOf::Fixed(2.0));
    let mut with_alpha = pair(
        "lora_unet_final_layer_linear.lora_down.weight",
        "lora_unet_final_layer_linear.lora_up.weight",
        &[[16, 4], [4, 8]],
    );
    with_alpha.push(("lora_unet_final_layer_linear.alpha", "BF16", &[]));
    let wanted = ScaleOf::Alpha { key: "lora_unet_final_layer_linear.alpha".to_owned(), rank: 4 };
    assert_eq!(scale_of(&read(&with_alpha, &[], None).unwrap()), &wanted);
    let peft =
        pair("base_model.model.proj_out.lora_A.weight", "base_model.model.proj_out.lora_B.weight", &[[16, 4], [4, 8]]);
    let refused = read(&peft, &[], None).unwrap_err().to_string();
    assert!(refused.contains("adapter_config.json"), "{refused}");
    assert_eq!(scale_of(&read(&peft, &[], Some(r#"{"lora_alpha": 8}"#)).unwrap()), &ScaleOf::Fixed(2.0));
}

#[test]
fn a_configuration_becomes_part_of_the_file_and_changes_nothing_else() {
    let peft =
        pair("base_model.model.proj_out.lora_A.weight", "base_model.model.proj_out.lora_B.weight", &[[16, 4], [4, 8]]);
    let text = r#"{"lora_alpha": 2, "alpha_pattern": {"proj_out": 8}, "use_rslora": true}"#;
    let config: Map<String, Value> = serde_json::from_str(text).unwrap();
    let bytes = file(&peft, &[("format", "pt")]);
    let old = Header::parse(&bytes, bytes.len() as u64).unwrap();
    let mut joined = with_config(&bytes, &config).unwrap();
    assert!(joined.len().is_multiple_of(8));
    joined.extend(&bytes[usize::try_from(Header::extent(&bytes).unwrap()).unwrap()..]);
    let header = Header::parse(&joined, joined.len() as u64).unwrap();
    assert_eq!(header.metadata["format"], "pt");
    assert!(header.tensors.keys().eq(old.tensors.keys()));
    assert_eq!(
        Lora::read(&header, None, &modules()).unwrap(),
        Lora::read(&old, Some(&config), &modules()).unwrap(),
        "the scale needs no second file any more"
    );
    let again = with_config(&joined, &config).unwrap_err().to_string();
    assert!(again.contains("already contains"), "{again}");
}

#[test]
fn what_a_configuration_asks_for_beyond_lora_is_refused_by_name() {
    let peft =
        pair("base_model.model.proj_out.lora_A.weight", "base_model.model.proj_out.lora_B.weight", &[[16, 4], [4, 8]]);
    for (field, value) in [
        ("use_dora", "true"),
        ("peft_type", "\"LOHA\""),
        ("fan_in_fan_out", "true"),
        ("layer_replication", "[[0, 4], [2, 5]]"),
        ("alora_invocation_tokens", "[1, 2]"),
        ("init_lora_weights", "\"pissa_niter_16\""),
    ] {
        let config = format!(r#"{{"lora_alpha": 2, "{field}": {value}}}"#);
        let refused = read(&peft, &[], Some(&config)).unwrap_err().to_string();
        assert!(refused.contains(field), "{refused}");
    }
    let usual = r#"{"lora_alpha": 4, "peft_type": "LORA", "use_dora": false, "layer_replication": null, "bias": "none",
        "alora_invocation_tokens": [], "init_lora_weights": "gaussian", "fan_in_fan_out": false}"#;
    assert_eq!(scale_of(&read(&peft, &[], Some(usual)).unwrap()), &ScaleOf::Fixed(1.0));
}

#[test]
fn differences_and_biases_are_changes_too() {
    let tensors: [(&str, &str, &[u64]); 4] = [
        ("diffusion_model.img_in.proj.diff", "F16", &[8, 4, 1, 2, 2]),
        ("diffusion_model.img_in.proj.diff_b", "F16", &[8]),
        ("transformer.x_embedder.proj.lora_A.weight", "F16", &[2, 4, 1, 2, 2]),
        ("transformer.x_embedder.proj.lora_B.weight", "F16", &[8, 2, 1, 1, 1]),
    ];
    assert_eq!(read(&tensors, &[], None).unwrap().changes.len(), 3);
}

#[test]
fn everything_else_is_refused_by_name() {
    let (down, up) = ("proj_out.lora_A.weight", "proj_out.lora_B.weight");
    let cases: Vec<(Vec<Named>, &str)> = vec![
        (vec![(down, "F32", &[4, 8])], "only one of the two factors"),
        (vec![(down, "F32", &[4, 9]), (up, "F32", &[16, 4])], "needs [4, 8]"),
        (vec![(down, "I32", &[4, 8]), (up, "F32", &[16, 4])], "not a float"),
        (vec![("blocks.0.lora_A.weight", "F32", &[4, 8])], "another model"),
        (vec![("proj_out.lokr_w1", "F32", &[4, 8])], "LoKr"),
        (vec![("lora_te1_x.lora_down.weight", "F32", &[4, 8])], "text encoders"),
        (vec![], "no adapter"),
        (
            vec![
                ("proj_out.lora_A.weight", "F32", &[2, 8]),
                ("proj_out.lora_B.weight", "F32", &[16, 2]),
                ("final_layer.linear.lora_A.weight", "F32", &[2, 8]),
                ("final_layer.linear.lora_B.weight", "F32", &[16, 2]),
            ],
            "twice",
        ),
    ];
    for (tensors, wanted) in cases {
        let refused = read(&tensors, &[], None).unwrap_err().to_string();
        assert!(refused.contains(wanted), "{refused}");
    }
}

#[test]
fn names_with_underscores_are_unique() {
    let layers = SIZES.layers();
    let mut seen = BTreeMap::new();
    for alias in aliases(|layer| layers.contains_key(layer)) {
        for name in alias.names {
            let other = seen.insert(name.replace('.', "_"), name.clone());
            assert!(
                other.is_none_or(
                    |other| layers.contains_key(&other) || other.replace('.', "_") == name.replace('.', "_")
                ),
                "{name}"
            );
        }
    }
}
