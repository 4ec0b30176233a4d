"""diffusers' side: `DEVICE small|released WxHxFxSTEPS...`; seconds of a forward pass of the transformer, random weights.

The text is padded to 256 tokens behind a mask, as the pipeline gives it to the network. Eager, with the attention that
torch chooses: what a user runs who calls the pipeline. Packages that this Python lacks come from the folder in GPU_CHECK_PACKAGES.
"""

import json
import os
import sys
import time

sys.path.append(os.environ.get("GPU_CHECK_PACKAGES", ""))

TEXT_ROOM, TEXT = 256, 100
# The released configuration is the class's own default.
SMALL = {
    "num_attention_heads": 2, "attention_head_dim": 16, "num_layers": 1, "num_single_layers": 1, "num_refiner_layers": 1,
    "text_embed_dim": 32, "pooled_projection_dim": 32, "rope_axes_dim": (4, 6, 6), "in_channels": 4, "out_channels": 4,
}


def tell(row: dict) -> None:
    print(json.dumps(row), flush=True)


def main(device: str, configuration: str, sizes: list[str]) -> None:
    try:
        import torch
        from diffusers import HunyuanVideoTransformer3DModel
    except ImportError as error:
        return tell({"item": "diffusers", "skipped": f"this Python cannot import it: {error}"})
    dtype = torch.float32 if device == "cpu" else torch.bfloat16
    torch.set_default_dtype(dtype)
    with torch.device(device), torch.no_grad():
        network = HunyuanVideoTransformer3DModel(**(SMALL if configuration == "small" else {}))
        for parameter in network.parameters():
            parameter.normal_(0, 0.02)
        for size in sizes:
            width, height, frames, steps = map(int, size.split("x"))
            mask = torch.zeros(1, TEXT_ROOM)
            mask[:, :TEXT] = 1
            given = {
                "hidden_states": torch.randn(1, network.config.in_channels, (frames - 1) // 4 + 1, height // 8, width // 8),
                "timestep": torch.tensor([997], dtype=torch.long),
                "encoder_hidden_states": torch.randn(1, TEXT_ROOM, network.config.text_embed_dim),
                "encoder_attention_mask": mask,
                "pooled_projections": torch.randn(1, network.config.pooled_projection_dim),
                "guidance": torch.tensor([6000.0]),
            }
            seconds = []
            for _ in range(steps + 1):
                began = time.perf_counter()
                network(**given, return_dict=False)
                if device != "cpu":
                    torch.cuda.synchronize()
                seconds.append(time.perf_counter() - began)
            peak = None if device == "cpu" else torch.cuda.max_memory_reserved()
            tell({"item": f"diffusers {width}x{height}x{frames}", "step_s": min(seconds[1:]), "first_step_s": seconds[0], "peak_bytes": peak})


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
