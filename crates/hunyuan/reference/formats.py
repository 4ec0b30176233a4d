"""Writes fixtures of other file layouts: the transformer of the case `base` as people have it.

    python formats.py ../tests/fixtures

diffusers' own converter must give the checkpoint back from each file, which is checked here, so the expected result of a
conversion is the checkpoint itself; for FP8 it is `expected_*.safetensors`, computed by the formula.
"""

import re
import sys
from collections import OrderedDict
from pathlib import Path

import torch
from diffusers import AutoencoderKLHunyuanVideo
from safetensors.torch import load_file, save_file

from adapters import Base, comfy, to_diffusers, to_original

FP8_MAX = 448.0


def comfy_key(key: str) -> str:
    module, leaf = key.rsplit(".", 1)
    renamed = comfy(module)
    for old, new in (("img_attn_q_norm", "img_attn.norm.query_norm"), ("img_attn_k_norm", "img_attn.norm.key_norm"),
                     ("txt_attn_q_norm", "txt_attn.norm.query_norm"), ("txt_attn_k_norm", "txt_attn.norm.key_norm")):
        if renamed.endswith(old):
            return renamed.replace(old, new) + ".scale"
    if module.startswith("single_blocks") and module.endswith(("q_norm", "k_norm")):
        block = module.rsplit(".", 1)[0]
        return f"{block}.norm.{'query' if module.endswith('q_norm') else 'key'}_norm.scale"
    return f"{renamed}.{leaf}"


def write_expected(state: dict, path: Path) -> None:
    save_file({key: value.contiguous() for key, value in state.items()}, path)


def comfy_vae_key(key: str, levels: int) -> str:
    """ComfyUI's name of a tensor of the video decoder, the inverse of comfy/diffusers_convert.py's map."""
    for old, new in (("mid_block.resnets.0.", "mid.block_1."), ("mid_block.resnets.1.", "mid.block_2."), ("conv_norm_out.", "norm_out."),
                     ("conv_shortcut", "nin_shortcut"), ("mid_block.attentions.0.group_norm.", "mid.attn_1.norm."),
                     ("mid_block.attentions.0.to_out.0.", "mid.attn_1.proj_out.")):
        key = key.replace(old, new)
    key = re.sub(r"mid_block\.attentions\.0\.to_([qkv])\.", r"mid.attn_1.\1.", key)
    key = re.sub(r"down_blocks\.(\d+)\.", r"down.\1.", key)
    key = re.sub(r"up_blocks\.(\d+)\.", lambda found: f"up.{levels - 1 - int(found[1])}.", key)
    return key.replace("resnets.", "block.").replace("downsamplers.0.", "downsample.").replace("upsamplers.0.", "upsample.")


def decoder(fixtures: Path, target: Path) -> None:
    """The video decoder as Tencent's `.pt` and as ComfyUI's file. diffusers' converter (`convert_vae` in
    scripts/convert_hunyuan_video_to_diffusers.py) renames nothing and loads strictly, which is repeated here."""
    folder = fixtures / "base/model/vae"
    state = load_file(folder / "diffusion_pytorch_model.safetensors")
    torch.save({"state_dict": {f"vae.{key}": value for key, value in state.items()}}, target / "vae.pt")
    read = torch.load(target / "vae.pt", weights_only=True)["state_dict"]
    with torch.device("meta"):
        model = AutoencoderKLHunyuanVideo.from_config(AutoencoderKLHunyuanVideo.load_config(folder))
    model.load_state_dict({key.removeprefix("vae."): value for key, value in read.items()}, strict=True, assign=True)
    assert all(torch.equal(state[key], value) for key, value in model.state_dict().items()) and len(state) == len(model.state_dict())
    levels = len(model.config.block_out_channels)
    comfy_state = {}
    for key, value in state.items():
        kernel = ".attentions." in key and value.ndim == 2
        comfy_state[comfy_vae_key(key, levels)] = value.reshape(*value.shape, 1, 1, 1) if kernel else value
    assert len(comfy_state) == len(state)
    save_file(comfy_state, target / "vae_comfy.safetensors")


def main() -> None:
    fixtures = Path(sys.argv[1])
    target = fixtures / "formats"
    target.mkdir(exist_ok=True)
    base = Base(fixtures)
    original = to_original(base.state)

    torch.save({"module": OrderedDict(original), "step": 3}, target / "original.pt")
    half = {key: value.bfloat16() for key, value in original.items()}
    save_file({f"model.diffusion_model.{comfy_key(key)}": value for key, value in half.items()}, target / "comfy.safetensors")
    expected = to_diffusers(half, base.hidden)
    assert all(torch.equal(expected[key], value.bfloat16()) for key, value in base.state.items())

    scaled, dequantised = {}, {}
    for key, value in original.items():
        if "_blocks" in key and value.ndim == 2:
            scale = value.abs().max() / FP8_MAX
            quantised = (value / scale).clamp(-FP8_MAX, FP8_MAX).to(torch.float8_e4m3fn)
            scaled[key], scaled[key.removesuffix(".weight") + ".scale_weight"] = quantised, scale.reshape(1)
            dequantised[key] = (quantised.float() * scale).bfloat16()
        else:
            scaled[key] = dequantised[key] = value.bfloat16()
    scaled["scaled_fp8"] = torch.zeros(2, dtype=torch.float8_e4m3fn)
    save_file(scaled, target / "fp8_scaled.safetensors")
    save_file({k: v.contiguous() for k, v in to_diffusers(dequantised, base.hidden).items()}, target / "expected_fp8_scaled.safetensors")

    quantised = {key: scaled[key] for key in scaled if scaled[key].dtype == torch.float8_e4m3fn and scaled[key].ndim == 2}
    scales = {key.removesuffix(".weight"): scaled[key.removesuffix(".weight") + ".scale_weight"] for key in quantised}
    rest = {key: value.bfloat16() for key, value in original.items() if key not in quantised}

    # Tencent's two files: the scale is rounded to bf16 before it is multiplied (hyvideo/modules/fp8_optimization.py).
    torch.save({"module": OrderedDict({**rest, **quantised})}, target / "fp8.pt")
    torch.save(OrderedDict(scales), target / "fp8_map.pt")
    product = {key: value.bfloat16() * scales[key.removesuffix(".weight")].bfloat16() for key, value in quantised.items()}
    write_expected(to_diffusers({**rest, **product}, base.hidden), target / "expected_fp8_map.safetensors")

    # A plain cast, as Kijai's files are.
    plain = {key: original[key].clamp(-FP8_MAX, FP8_MAX).to(torch.float8_e4m3fn) for key in quantised}
    save_file({**rest, **plain}, target / "fp8_plain.safetensors")
    exact = {key: value.bfloat16() for key, value in plain.items()}
    write_expected(to_diffusers({**rest, **exact}, base.hidden), target / "expected_fp8_plain.safetensors")

    # ComfyUI's newer names: the layer says its format, and the scale has another name. The weights are those of the older ones.
    newer = {**{f"model.diffusion_model.{comfy_key(key)}": value for key, value in {**rest, **quantised}.items()}}
    note = torch.tensor(list(b'{"format": "float8_e4m3fn"}'), dtype=torch.uint8)
    for module, scale in scales.items():
        newer[f"model.diffusion_model.{comfy(module)}.weight_scale"] = scale[0].clone()
        newer[f"model.diffusion_model.{comfy(module)}.comfy_quant"] = note.clone()
    save_file(newer, target / "fp8_comfy.safetensors")

    decoder(fixtures, target)

    class Call:
        def __reduce__(self):
            return (print, ("this must not be executed",))

    torch.save({"module": OrderedDict(x=torch.zeros(2)), "bad": Call()}, target / "calls.pt")
    for name, module in load_file(target / "comfy.safetensors").items():
        assert name.startswith("model.") and module.dtype == torch.bfloat16


if __name__ == "__main__":
    main()
