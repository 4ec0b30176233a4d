"""Makes an exported checkpoint one that every version of transformers reads, not only the version that wrote it.

transformers 5 writes CLIP's tensors without their prefix `text_model.` and names a tokenizer class of its own. Version 4 then starts
from random weights, with no more than a warning, or fails; version 5 reads what version 4 wrote.
"""

import json

from safetensors.torch import load_file, save_file

CLIP_PREFIX = "text_model."
OWN_SETTINGS = ("backend", "is_local", "local_files_only")  # of version 5's tokenizers
TOKENIZER_CLASSES = {"tokenizer": "PreTrainedTokenizerFast", "tokenizer_2": "CLIPTokenizer"}


def make_portable(folder):
    """Rewrites CLIP's file and both tokenizers' settings in the checkpoint `folder`; the values stay the same."""
    path = folder / "text_encoder_2/model.safetensors"
    tensors = {name if name.startswith(CLIP_PREFIX) else CLIP_PREFIX + name: value for name, value in load_file(path).items()}
    save_file(tensors, path, metadata={"format": "pt"})
    path.chmod(0o644)
    for part, tokenizer_class in TOKENIZER_CLASSES.items():
        path = folder / part / "tokenizer_config.json"
        settings = json.loads(path.read_text())
        for key in OWN_SETTINGS:
            settings.pop(key, None)
        path.write_text(json.dumps(settings | {"tokenizer_class": tokenizer_class}, indent=2) + "\n")
