"""Model folders without weights: the released configuration, and a small one that tries the stages out."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

# Files of a released checkpoint, as far as they differ from the defaults of the reference's classes. The vocabularies are the
# released ones, the tokenizers are the fixtures' small ones, which give ids below them.
RELEASED = {
    "transformer": {"_class_name": "HunyuanVideoTransformer3DModel"},
    "vae": {"_class_name": "AutoencoderKLHunyuanVideo"},
    "text_encoder": {
        "model_type": "llama", "vocab_size": 128_320, "hidden_size": 4096, "intermediate_size": 14_336, "num_hidden_layers": 32,
        "num_attention_heads": 32, "num_key_value_heads": 8, "max_position_embeddings": 8192, "rms_norm_eps": 1e-5, "rope_theta": 500_000.0,
    },
    "text_encoder_2": {
        "vocab_size": 49_408, "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12,
        "max_position_embeddings": 77, "eos_token_id": 633,
    },
}


def write(fixture: Path, folder: Path, *, small: bool) -> Path:
    """Writes a model folder with the fixture's tokenizers: its own configurations, or the released ones."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(fixture, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    for component, config in ({} if small else RELEASED).items():
        (folder / component / "config.json").write_text(json.dumps(config))
    return folder
