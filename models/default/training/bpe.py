"""Trains the two tokenizers on captions and on the prompt template.

Split like LLaMA 3 and with the template's words in the training text, every piece of the template's fixed beginning is
one token: 95 with begin-of-text, the number of positions that HunyuanVideo pipelines cut off.
"""

import json
import random

from diffusers.pipelines.hunyuan_video.pipeline_hunyuan_video import DEFAULT_PROMPT_TEMPLATE
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import CLIPTokenizer, PreTrainedTokenizerFast

from . import words
from .world import sample

LLAMA_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
LLAMA_SPECIAL = ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|pad|>")
CROP_START = DEFAULT_PROMPT_TEMPLATE["crop_start"]


def _texts(world, count=16000):
    chooser = random.Random(7)
    return [words.write(sample(chooser, world), chooser, world)[0] for _ in range(count)]


def train_llama(folder, world):
    """The language model's tokenizer, saved as `tokenizer.json` and friends."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(LLAMA_SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    template = DEFAULT_PROMPT_TEMPLATE["template"]
    for special in LLAMA_SPECIAL:
        template = template.replace(special, "\n")
    trainer = trainers.BpeTrainer(
        vocab_size=4000,
        min_frequency=30,
        special_tokens=list(LLAMA_SPECIAL),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_texts(world) + [template] * 60, trainer)
    begin = tokenizer.token_to_id(LLAMA_SPECIAL[0])
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{LLAMA_SPECIAL[0]} $A", pair=f"{LLAMA_SPECIAL[0]} $A $B", special_tokens=[(LLAMA_SPECIAL[0], begin)]
    )
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=LLAMA_SPECIAL[0],
        eos_token=LLAMA_SPECIAL[3],
        pad_token=LLAMA_SPECIAL[4],
        padding_side="right",
        model_max_length=8192,
    )
    wrapped.save_pretrained(folder)
    fixed = DEFAULT_PROMPT_TEMPLATE["template"].split("{}")[0]
    count = len(wrapped(fixed)["input_ids"])
    if count != CROP_START:
        raise ValueError(f"the template's beginning is {count} tokens instead of {CROP_START}: train on more of its words")


def train_clip(folder, world):
    """CLIP's tokenizer, saved as `vocab.json` and `merges.txt`."""
    tokenizer = Tokenizer(models.BPE(end_of_word_suffix="</w>", unk_token="<|endoftext|>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(
                Regex(r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"), behavior="removed", invert=True
            ),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=4000, min_frequency=30, initial_alphabet=alphabet, end_of_word_suffix="</w>", show_progress=False
    )
    tokenizer.train_from_iterator(_texts(world), trainer)
    learnt = json.loads(tokenizer.to_str())["model"]
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in learnt["merges"]]
    words = alphabet + [letter + "</w>" for letter in alphabet] + ["".join(merge.split(" ")) for merge in merges]
    words += ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = {word: number for number, word in enumerate(dict.fromkeys(words))}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
    wrapped = CLIPTokenizer(
        vocab=str(folder / "vocab.json"), merges=str(folder / "merges.txt"), pad_token="<|endoftext|>", model_max_length=77
    )
    wrapped.save_pretrained(folder)
