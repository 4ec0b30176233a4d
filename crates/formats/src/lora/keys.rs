//! A key of an adapter's file, read in two parts: the module, and which of its tensors it is.

/// Which tensor of a module a key names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Leaf {
    /// The factor on the input's side, `A`.
    Down,
    /// The factor on the output's side, `B`.
    Up,
    /// A bias of `B`.
    UpBias,
    /// The number that, over the rank, scales the product.
    Alpha,
    /// A difference of the whole weight.
    Weight,
    /// A difference of the bias.
    Bias,
}

/// A key.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Key {
    /// Of a module.
    Of {
        /// Without the prefixes that programs put before it.
        module: String,
        /// Which tensor.
        leaf: Leaf,
    },
    /// Of a method or a network that is not supported; says which.
    Unsupported(&'static str),
    /// Of nothing known.
    Unknown,
}

/// Spellings of the leaves. Longer ones come before those that they end with.
const LEAVES: [(&str, Leaf); 21] = [
    (".lora_down.weight", Leaf::Down),
    (".lora_up.weight", Leaf::Up),
    (".lora_A.default.weight", Leaf::Down),
    (".lora_B.default.weight", Leaf::Up),
    (".lora_B.default.bias", Leaf::UpBias),
    (".lora_A.weight", Leaf::Down),
    (".lora_B.weight", Leaf::Up),
    (".lora_B.bias", Leaf::UpBias),
    (".lora_up.bias", Leaf::UpBias),
    (".lora_A", Leaf::Down),
    (".lora_B", Leaf::Up),
    (".lora.down.weight", Leaf::Down),
    (".lora.up.weight", Leaf::Up),
    ("_lora.down.weight", Leaf::Down),
    ("_lora.up.weight", Leaf::Up),
    (".lora_linear_layer.down.weight", Leaf::Down),
    (".lora_linear_layer.up.weight", Leaf::Up),
    (".lora_alpha", Leaf::Alpha),
    (".alpha", Leaf::Alpha),
    (".diff_b", Leaf::Bias),
    (".diff", Leaf::Weight),
];

/// Parts of keys that other methods write.
const METHODS: [(&str, &str); 9] = [
    ("lora_mid", "LoCon"),
    ("lora_magnitude_vector", "DoRA"),
    ("dora_scale", "DoRA"),
    ("lokr_", "LoKr"),
    ("hada_", "LoHa"),
    ("set_weight", "whole replaced weights"),
    ("reshape_weight", "reshaped weights"),
    ("modules_to_save", "whole replaced modules"),
    ("oft_", "OFT"),
];

/// Starts of keys for other networks.
const NETWORKS: [&str; 4] = ["lora_te", "text_encoder", "text_encoders", "conditioner"];

/// What programs put before a module's name, in the order in which they are removed.
const PREFIXES: [&str; 6] =
    ["base_model.model.", "model.diffusion_model.", "diffusion_model.", "transformer.", "unet.", "lora_unet_"];

/// Reads a key.
pub(super) fn read(key: &str) -> Key {
    if NETWORKS.iter().any(|network| key.starts_with(network)) {
        return Key::Unsupported("weights for the text encoders");
    }
    if let Some((_, method)) = METHODS.iter().find(|(part, _)| key.contains(part)) {
        return Key::Unsupported(method);
    }
    let Some((module, leaf)) = LEAVES.iter().find_map(|(end, leaf)| Some((key.strip_suffix(end)?, *leaf))) else {
        return Key::Unknown;
    };
    Key::Of { module: bare(module).to_owned(), leaf }
}

/// A module's name without prefixes.
pub(super) fn bare(module: &str) -> &str {
    PREFIXES.iter().fold(module, |name, prefix| name.strip_prefix(prefix).unwrap_or(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_gives_module_and_leaf() {
        let of = |module: &str, leaf| Key::Of { module: module.to_owned(), leaf };
        let cases = [
            (
                "transformer.transformer_blocks.0.attn.to_q.lora_A.weight",
                of("transformer_blocks.0.attn.to_q", Leaf::Down),
            ),
            ("base_model.model.proj_out.lora_B.weight", of("proj_out", Leaf::Up)),
            ("base_model.model.transformer.proj_out.lora_B.default.weight", of("proj_out", Leaf::Up)),
            ("diffusion_model.double_blocks.1.img_attn_qkv.lora_A", of("double_blocks.1.img_attn_qkv", Leaf::Down)),
            ("lora_unet_double_blocks_0_img_mlp_fc1.lora_down.weight", of("double_blocks_0_img_mlp_fc1", Leaf::Down)),
            ("lora_unet_single_blocks_0_linear1.alpha", of("single_blocks_0_linear1", Leaf::Alpha)),
            ("single_blocks.0.linear1.diff_b", of("single_blocks.0.linear1", Leaf::Bias)),
            ("transformer.proj_out.lora_B.bias", of("proj_out", Leaf::UpBias)),
        ];
        for (key, wanted) in cases {
            assert_eq!(read(key), wanted, "{key}");
        }
    }

    #[test]
    fn other_methods_and_networks_are_named() {
        for (key, what) in [
            ("lora_te1_text_model.lora_down.weight", "text encoders"),
            ("double_blocks.0.img_attn_qkv.lokr_w1", "LoKr"),
            ("double_blocks.0.img_attn_qkv.hada_w1_a", "LoHa"),
            ("double_blocks.0.img_attn_qkv.dora_scale", "DoRA"),
        ] {
            assert!(matches!(read(key), Key::Unsupported(found) if found.contains(what)), "{key}");
        }
        assert_eq!(read("double_blocks.0.img_attn_qkv.weight"), Key::Unknown);
    }
}
