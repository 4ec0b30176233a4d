"""Writes fixtures of other file layouts: the transformer of the case `base` as people have it.

    python formats.py ../tests/fixtures

diffusers' own converter must give the checkpoint back from each file, which is checked here, so the expected result of a
conversion is the checkpoint itself; for FP8 it is `expected_*.safetensors`, computed by the formula.
"""

import sys
from collections import OrderedDict
from pathlib import Path

import torch
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

    class Call:
        def __reduce__(self):
            return (print, ("this must not be executed",))

    torch.save({"module": OrderedDict(x=torch.zeros(2)), "bad": Call()}, target / "calls.pt")
    for name, module in load_file(target / "comfy.safetensors").items():
        assert name.startswith("model.") and module.dtype == torch.bfloat16


if __name__ == "__main__":
    main()
