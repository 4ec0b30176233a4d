"""Small tokenizers with the shape of the released ones.

The LLM's is a byte-level BPE with LLaMA-3's split pattern and special tokens, trained on the prompt template itself, so
that the template's fixed prefix costs one token a word. CLIP's is a byte-level BPE with a word-end suffix, written as
`vocab.json` and `merges.txt` only, which is all that released checkpoints promise.
"""

import json
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import CLIPTokenizer, PreTrainedTokenizerFast

LLM_SPECIAL = ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<pad>"]
# LLaMA-3's published split pattern: contractions, words, up to three digits, punctuation, line breaks, blanks.
LLM_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
CORPUS = [
    "A cat walks on the grass, realistic style",
    "A red ball rolls slowly from left to right on a blue background",
    "aerial view of a city at night, neon lights, cinematic lighting, 4k",
    "two dogs run and jump in the snow, camera pans to the right",
    "waves crash on the rocks at sunset, slow motion",
]


def llm_tokenizer(template: str, merges: int) -> PreTrainedTokenizerFast:
    """A LLaMA-3-style tokenizer with `merges` learned pieces beyond the 256 bytes.

    With few merges the template's words fall into several tokens, so the prefix is longer than the released 95.
    """
    core = Tokenizer(models.BPE(ignore_merges=True))
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(LLM_SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=256 + merges + len(LLM_SPECIAL),
        special_tokens=LLM_SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        min_frequency=1,
        show_progress=False,
    )
    core.train_from_iterator([template] * 20 + CORPUS, trainer)
    begin = core.token_to_id(LLM_SPECIAL[0])
    core.post_processor = processors.TemplateProcessing(
        single=f"{LLM_SPECIAL[0]} $A", special_tokens=[(LLM_SPECIAL[0], begin)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token=LLM_SPECIAL[0],
        eos_token=LLM_SPECIAL[1],
        pad_token=LLM_SPECIAL[5],
        padding_side="right",
        model_max_length=2048,
    )


def crop_start(tokenizer: PreTrainedTokenizerFast, template: str) -> int:
    """Tokens before the prompt, begin-of-text included."""
    return len(tokenizer(template.split("{}")[0]).input_ids)


def write_clip_tokenizer(folder: Path, merges: int) -> CLIPTokenizer:
    """Train CLIP's BPE, write `vocab.json` and `merges.txt`, and read them back the way a user's checkpoint is read."""
    folder.mkdir(parents=True, exist_ok=True)
    core = Tokenizer(models.BPE(unk_token="<|endoftext|>", continuing_subword_prefix="", end_of_word_suffix="</w>"))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=512 + merges,
        initial_alphabet=alphabet,
        end_of_word_suffix="</w>",
        min_frequency=1,
        show_progress=False,
    )
    words = [word for line in CORPUS for word in line.lower().replace(",", " ,").split()]
    core.train_from_iterator(words, trainer)
    learned = json.loads(core.to_str())["model"]["merges"]
    learned = [pair if isinstance(pair, list) else pair.split(" ") for pair in learned]
    tokens = alphabet + [letter + "</w>" for letter in alphabet] + ["".join(pair) for pair in learned]
    tokens = list(dict.fromkeys(tokens)) + ["<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(tokens)}, ensure_ascii=False))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in learned))
    (folder / "tokenizer_config.json").write_text(
        json.dumps(
            {
                "tokenizer_class": "CLIPTokenizer",
                "bos_token": "<|startoftext|>",
                "eos_token": "<|endoftext|>",
                "unk_token": "<|endoftext|>",
                "pad_token": "<|endoftext|>",
                "model_max_length": 77,
            },
            indent=2,
        )
    )
    return CLIPTokenizer.from_pretrained(folder)
