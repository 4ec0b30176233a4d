"""Writes the fixture of RIFLEx: diffusers' transformer with one frequency in time replaced.

    python riflex.py ../tests/fixtures

diffusers has no RIFLEx, so the frequency is replaced by the formula of https://github.com/thu-ml/RIFLEx (riflex_utils.py,
`get_1d_rotary_pos_embed_riflex`): the k-th one becomes 0.9 * 2 * pi / L_test. The weights are those of the case `base`, with
eight channels of a head for time instead of four.
"""

import sys
from pathlib import Path

import torch
from diffusers import HunyuanVideoTransformer3DModel
from diffusers.models.transformers import transformer_hunyuan_video as upstream
from safetensors.torch import load_file, save_file

torch.set_num_threads(1)
K = 4
AXES = (8, 4, 4)
LENGTHS = (50, 51, 66)


def stretched(length: int):
    """The library's function for the temporal axis of this length, with its k-th frequency replaced."""
    original = upstream.get_1d_rotary_pos_embed

    def embed(dim, pos, theta, use_real):
        if dim != AXES[0]:
            return original(dim, pos, theta, use_real=use_real)
        freqs = 1.0 / (theta ** (torch.arange(0, dim, 2, dtype=torch.float32)[: dim // 2] / dim))
        freqs[K - 1] = 0.9 * 2 * torch.pi / length
        angles = torch.outer(pos, freqs)
        return angles.cos().repeat_interleave(2, dim=1).float(), angles.sin().repeat_interleave(2, dim=1).float()

    return embed


@torch.no_grad()
def main() -> None:
    fixtures = Path(sys.argv[1])
    base = fixtures / "base"
    network = HunyuanVideoTransformer3DModel.from_pretrained(base / "model" / "transformer", rope_axes_dim=AXES).eval()
    recorded = load_file(base / "reference.safetensors")
    prompt, pooled = recorded["prompt_embeds"], recorded["pooled_prompt_embeds"]
    tensors = {}
    plain = upstream.get_1d_rotary_pos_embed
    for length in LENGTHS:
        latents = torch.randn((1, 4, length, 4, 4), generator=torch.Generator().manual_seed(length))
        tensors[f"latents_{length}"] = latents
        for name, function in (("plain", plain), ("riflex", stretched(length))):
            upstream.get_1d_rotary_pos_embed = function
            tensors[f"{name}_{length}"] = network(
                hidden_states=latents, timestep=torch.tensor([500.0]), encoder_hidden_states=prompt,
                encoder_attention_mask=torch.ones(prompt.shape[:2]), pooled_projections=pooled,
                guidance=torch.tensor([6000.0]), return_dict=False,
            )[0].contiguous()
        upstream.get_1d_rotary_pos_embed = plain
        print(length, float((tensors[f"plain_{length}"] - tensors[f"riflex_{length}"]).abs().max()))
    (fixtures / "riflex").mkdir(exist_ok=True)
    save_file(tensors, fixtures / "riflex" / "reference.safetensors")


if __name__ == "__main__":
    main()
