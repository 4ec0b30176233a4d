"""Small random checkpoints of HunyuanVideo 1.5 in the diffusers layout.

As `tiny_checkpoints.py` does for 1.0. The weights are stored in 16 bits to keep the fixtures small and are computed with in fp32.
"""

import math
import shutil
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKLHunyuanVideo15,
    ClassifierFreeGuidance,
    FlowMatchEulerDiscreteScheduler,
    HunyuanVideo15Pipeline,
    HunyuanVideo15Transformer3DModel,
)
from diffusers.models.transformers import transformer_hunyuan_video15
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    ByT5Tokenizer,
    Qwen2_5_VLTextConfig,
    Qwen2_5_VLTextModel,
    Qwen2TokenizerFast,
    T5Config,
    T5EncoderModel,
)

from tiny_checkpoints import randomise

# The projection of glyph states is 2048 wide inside whatever the configuration says: 17 MB in fp32. Fixtures use this width.
GLYPH_WIDTH = 32
QWEN_SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
# Qwen2's published split pattern: as LLaMA-3's, but one digit a piece.
QWEN_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# The pipeline reads only these parts of the released chat template.
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
CORPUS = [
    "system user assistant You are a helpful assistant. Describe the video by detailing the following aspects:",
    "The main content and theme of the video. color, shape, size, texture, quantity, text, and spatial relationships",
    "A cat walks on the grass with a sign, realistic style, two dogs run and jump in the snow",
]


@dataclass
class Spec:
    """One checkpoint. Every field has the value of the first fixture; the others change a few."""

    seed: int = 100
    # transformer
    heads: int = 2
    head_dim: int = 16
    rope_axes: tuple = (4, 6, 6)
    layers: int = 2
    refiner: int = 1
    mlp_ratio: float = 4.0
    # Qwen2.5-VL
    llm_hidden: int = 32
    llm_layers: int = 4
    llm_heads: int = 4
    llm_kv_heads: int = 2
    # ByT5
    glyph_hidden: int = 24
    glyph_heads: int = 4
    glyph_head_dim: int = 8
    glyph_layers: int = 2
    # VAE
    latent_channels: int = 4
    vae_channels: tuple = (8, 8, 8, 8, 8)
    vae_layers: int = 1
    spatial: int = 16
    temporal: int = 4
    match_channel: bool = True
    # sampling
    shift: float = 5.0
    guidance: float = 6.0


def qwen_tokenizer(merges: int = 120) -> Qwen2TokenizerFast:
    """A byte-level BPE with Qwen2's split pattern, special tokens and chat template."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(QWEN_SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=256 + merges + len(QWEN_SPECIAL),
        special_tokens=QWEN_SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        min_frequency=1,
        show_progress=False,
    )
    core.train_from_iterator(CORPUS, trainer)
    tokenizer = Qwen2TokenizerFast(
        tokenizer_object=core, pad_token=QWEN_SPECIAL[0], eos_token=QWEN_SPECIAL[2], padding_side="right", model_max_length=4096
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


class NarrowGlyphProjection(transformer_hunyuan_video15.HunyuanVideo15ByT5TextProjection):
    """The library's own class with another inner width."""

    def __init__(self, in_features: int, _hidden: int, out_features: int):
        super().__init__(in_features, GLYPH_WIDTH, out_features)


def narrow() -> None:
    """Make the transformer build its glyph projection with `GLYPH_WIDTH`."""
    transformer_hunyuan_video15.HunyuanVideo15ByT5TextProjection = NarrowGlyphProjection


def fill(network: torch.nn.Module, seed: int, gain: float = 1.0) -> None:
    """`randomise`, with the RMS norms of the VAE near one and tables at their own scale."""
    randomise(network, seed, gain)
    generator = torch.Generator().manual_seed(seed + 1000)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("gamma"):
                parameter.copy_(1.0 + 0.1 * torch.randn(parameter.shape, generator=generator))
            elif name.endswith(("shared.weight", "relative_attention_bias.weight", "cond_type_embed.weight")):
                parameter.copy_(torch.randn(parameter.shape, generator=generator))
            elif name.endswith("patch_embedding.weight"):
                # A convolution, for all that its name says.
                parameter.copy_(torch.randn(parameter.shape, generator=generator) / math.sqrt(parameter[0].numel()))
            elif name.endswith("SelfAttention.q.weight"):
                # T5 does not divide scores by the square root of the head's width.
                parameter.mul_(0.4)


def text_networks(spec: Spec, tokenizer: Qwen2TokenizerFast) -> tuple[torch.nn.Module, torch.nn.Module]:
    """Both text encoders, unfilled."""
    head = spec.llm_hidden // spec.llm_heads
    sections = [head // 2 - 2 * (head // 6), head // 6, head // 6]
    language = Qwen2_5_VLTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=spec.llm_hidden,
        intermediate_size=spec.llm_hidden * 2,
        num_hidden_layers=spec.llm_layers,
        num_attention_heads=spec.llm_heads,
        num_key_value_heads=spec.llm_kv_heads,
        max_position_embeddings=4096,
        rms_norm_eps=1e-6,
        rope_theta=1e6,
        rope_scaling={"mrope_section": sections, "rope_type": "default", "type": "default", "rope_theta": 1e6},
        use_sliding_window=False,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    glyph = T5Config(
        vocab_size=384,
        d_model=spec.glyph_hidden,
        d_kv=spec.glyph_head_dim,
        d_ff=spec.glyph_hidden * 2,
        num_layers=spec.glyph_layers,
        num_heads=spec.glyph_heads,
        feed_forward_proj="gated-gelu",
        tie_word_embeddings=False,
    )
    return Qwen2_5_VLTextModel(language).eval(), T5EncoderModel(glyph).eval()


def video_networks(spec: Spec, **options) -> tuple[torch.nn.Module, torch.nn.Module]:
    """Transformer and VAE, unfilled. `options` are the transformer's: by default those of text-to-video."""
    options = {"image_embed_dim": 20, "target_size": 32, "task_type": "t2v", "use_meanflow": False} | options
    transformer = HunyuanVideo15Transformer3DModel(
        in_channels=2 * spec.latent_channels + 1,
        out_channels=spec.latent_channels,
        num_attention_heads=spec.heads,
        attention_head_dim=spec.head_dim,
        num_layers=spec.layers,
        num_refiner_layers=spec.refiner,
        mlp_ratio=spec.mlp_ratio,
        patch_size=1,
        patch_size_t=1,
        text_embed_dim=spec.llm_hidden,
        text_embed_2_dim=spec.glyph_hidden,
        rope_axes_dim=spec.rope_axes,
        **options,
    ).eval()
    vae = AutoencoderKLHunyuanVideo15(
        latent_channels=spec.latent_channels,
        block_out_channels=spec.vae_channels,
        layers_per_block=spec.vae_layers,
        spatial_compression_ratio=spec.spatial,
        temporal_compression_ratio=spec.temporal,
        downsample_match_channel=spec.match_channel,
        upsample_match_channel=spec.match_channel,
    ).eval()
    return transformer, vae


def build(spec: Spec, folder: Path, pipeline_class: type = HunyuanVideo15Pipeline, image: dict | None = None, **options) -> None:
    """Write the checkpoint of `spec` to `folder` (replaced). `image` holds the components of an image encoder, `options` are the transformer's."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    narrow()
    tokenizer = qwen_tokenizer()
    text_encoder, text_encoder_2 = text_networks(spec, tokenizer)
    transformer, vae = video_networks(spec, **options)
    image = image or {}
    networks = [(text_encoder, 1.0), (text_encoder_2, 1.0), (transformer, 0.7), (vae, 0.7)]
    networks += [(part, 1.0) for part in image.values() if isinstance(part, torch.nn.Module)]
    for offset, (network, gain) in enumerate(networks):
        fill(network, spec.seed * 10 + offset, gain)
        network.to(torch.bfloat16)
    pipeline = pipeline_class(
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        transformer=transformer,
        vae=vae,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=spec.shift),
        text_encoder_2=text_encoder_2,
        tokenizer_2=ByT5Tokenizer(),
        guider=ClassifierFreeGuidance(guidance_scale=spec.guidance),
        **image,
    )
    pipeline.save_pretrained(folder)
