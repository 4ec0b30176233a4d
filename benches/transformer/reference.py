"""diffusers' side of `make bench-transformer`: makes a random transformer of a given size, and measures its forward pass.

The text is padded to 256 tokens behind a mask, as the pipeline gives it to the network. Eager, with the attention that
torch chooses: what a user runs who calls the pipeline.
"""

import json
import sys
import time
from pathlib import Path

import torch
from diffusers import HunyuanVideoTransformer3DModel

DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16}
# The released configuration is the class's own default; the small one tries the benchmark out without a GPU.
CONFIGURATIONS = {
    "released": {},
    "small": {
        "num_attention_heads": 4, "attention_head_dim": 32, "num_layers": 1, "num_single_layers": 2,
        "text_embed_dim": 64, "pooled_projection_dim": 64, "rope_axes_dim": (8, 12, 12),
    },
}
TEXT_ROOM = 256
SHARD = "4GB"


def device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


@torch.no_grad()
def prepare(options: dict) -> None:
    """Writes the random weights, drawn on the device in the dtype of the run, unless they are there."""
    folder = Path(options["model"])
    if not (folder / "config.json").exists():
        torch.set_default_dtype(DTYPES[options["dtype"]])
        with torch.device(device()):
            network = HunyuanVideoTransformer3DModel(**CONFIGURATIONS[options["configuration"]])
        for parameter in network.parameters():
            parameter.normal_(0, 0.02)
        network.save_pretrained(folder, max_shard_size=SHARD)
    config = json.loads((folder / "config.json").read_text())
    print(json.dumps({
        "heads": config["num_attention_heads"], "dim": config["attention_head_dim"],
        "double": config["num_layers"], "single": config["num_single_layers"],
    }))


@torch.no_grad()
def measure(options: dict) -> None:
    """Prints the seconds of each step after the first."""
    dtype = DTYPES[options["dtype"]]
    network = HunyuanVideoTransformer3DModel.from_pretrained(options["model"], torch_dtype=dtype).to(device())
    width, height, frames = options["size"]
    shape = (1, network.config.in_channels, (frames - 1) // 4 + 1, height // 8, width // 8)
    mask = torch.zeros(1, TEXT_ROOM, dtype=dtype, device=device())
    mask[:, : options["text"]] = 1
    arguments = {
        "hidden_states": torch.randn(shape, dtype=dtype, device=device()),
        "timestep": torch.tensor([997], dtype=torch.long, device=device()),
        "encoder_hidden_states": torch.randn(1, TEXT_ROOM, network.config.text_embed_dim, dtype=dtype, device=device()),
        "encoder_attention_mask": mask,
        "pooled_projections": torch.randn(1, network.config.pooled_projection_dim, dtype=dtype, device=device()),
        "guidance": torch.tensor([6000.0], dtype=dtype, device=device()),
    }
    seconds = []
    for _ in range(options["steps"] + 1):
        synchronize()
        began = time.perf_counter()
        network(**arguments, return_dict=False)
        synchronize()
        seconds.append(time.perf_counter() - began)
    print(json.dumps({"seconds": seconds[1:]}))


if __name__ == "__main__":
    {"prepare": prepare, "measure": measure}[sys.argv[1]](json.loads(sys.argv[2]))
