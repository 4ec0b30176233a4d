//! The names that ComfyUI gives to the layers of the video decoder, as the checkpoint's own.
//!
//! Tencent's program and diffusers have the same names. ComfyUI's are those of Stable Diffusion's decoder: its levels are counted from
//! the other end, and its attention has convolutions of size 1 where the checkpoint has matrices.
//!
//! Upstream: `vae_conversion_map` in
//! <https://github.com/comfyanonymous/ComfyUI/blob/v0.3.60/comfy/diffusers_convert.py>.

/// Parts of names within a level or the middle, ComfyUI's and the checkpoint's.
const PARTS: [(&str, &str); 7] = [
    ("mid.block_1.", "mid_block.resnets.0."),
    ("mid.block_2.", "mid_block.resnets.1."),
    ("mid.attn_1.norm.", "mid_block.attentions.0.group_norm."),
    ("mid.attn_1.q.", "mid_block.attentions.0.to_q."),
    ("mid.attn_1.k.", "mid_block.attentions.0.to_k."),
    ("mid.attn_1.v.", "mid_block.attentions.0.to_v."),
    ("mid.attn_1.proj_out.", "mid_block.attentions.0.to_out.0."),
];

/// How many levels the decoder and the encoder have.
pub(crate) fn levels<'n>(names: impl Iterator<Item = &'n str>) -> usize {
    let number = |name: &str| {
        let rest = name.strip_prefix("decoder.up.").or_else(|| name.strip_prefix("encoder.down."))?;
        rest.split('.').next()?.parse::<usize>().ok()
    };
    names.filter_map(number).max().map_or(0, |last| last + 1)
}

/// The checkpoint's name of a tensor; the same for one that has it already.
pub(crate) fn name(theirs: &str, levels: usize) -> String {
    let Some((half, rest)) = theirs.split_once('.').filter(|(half, _)| ["decoder", "encoder"].contains(half)) else {
        return theirs.to_owned();
    };
    let rest = rest.replace("nin_shortcut", "conv_shortcut");
    if let Some((part, ours)) = PARTS.iter().find(|(part, _)| rest.starts_with(part)) {
        return format!("{half}.{}", rest.replacen(part, ours, 1));
    }
    if let Some(leaf) = rest.strip_prefix("norm_out.") {
        return format!("{half}.conv_norm_out.{leaf}");
    }
    level(&rest, levels).map_or_else(|| theirs.to_owned(), |name| format!("{half}.{name}"))
}

/// `up.N.block.M.` and `up.N.upsample.`, or the same downwards.
fn level(rest: &str, levels: usize) -> Option<String> {
    let (up, rest) = match rest.strip_prefix("up.") {
        Some(rest) => (true, rest),
        None => (false, rest.strip_prefix("down.")?),
    };
    let (number, rest) = rest.split_once('.')?;
    let number: usize = number.parse().ok()?;
    let number = if up { levels.checked_sub(number + 1)? } else { number };
    let blocks = if up { "up_blocks" } else { "down_blocks" };
    let rest = match (rest.strip_prefix("block."), rest.strip_prefix("upsample."), rest.strip_prefix("downsample.")) {
        (Some(rest), ..) => format!("resnets.{rest}"),
        (_, Some(rest), _) => format!("upsamplers.0.{rest}"),
        (.., Some(rest)) => format!("downsamplers.0.{rest}"),
        _ => return None,
    };
    Some(format!("{blocks}.{number}.{rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comfys_names_become_the_checkpoints_and_its_own_stay() {
        let cases = [
            ("decoder.conv_in.conv.weight", "decoder.conv_in.conv.weight"),
            ("decoder.norm_out.bias", "decoder.conv_norm_out.bias"),
            ("decoder.mid.block_2.conv1.conv.bias", "decoder.mid_block.resnets.1.conv1.conv.bias"),
            ("encoder.mid.attn_1.proj_out.weight", "encoder.mid_block.attentions.0.to_out.0.weight"),
            ("decoder.up.3.block.0.norm1.weight", "decoder.up_blocks.0.resnets.0.norm1.weight"),
            (
                "decoder.up.0.block.2.nin_shortcut.conv.weight",
                "decoder.up_blocks.3.resnets.2.conv_shortcut.conv.weight",
            ),
            ("decoder.up.1.upsample.conv.conv.weight", "decoder.up_blocks.2.upsamplers.0.conv.conv.weight"),
            ("encoder.down.0.downsample.conv.conv.bias", "encoder.down_blocks.0.downsamplers.0.conv.conv.bias"),
            ("decoder.up_blocks.1.resnets.0.norm2.bias", "decoder.up_blocks.1.resnets.0.norm2.bias"),
            ("post_quant_conv.weight", "post_quant_conv.weight"),
        ];
        assert_eq!(levels(cases.iter().map(|(theirs, _)| *theirs)), 4);
        for (theirs, ours) in cases {
            assert_eq!(name(theirs, 4), ours);
        }
    }
}
