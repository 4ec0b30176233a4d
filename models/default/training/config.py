"""Every number that the training depends on. A preset is a whole choice: what the model is, and how it is trained where.

`card` is for one H100 or H200 and a few minutes, `cores` for two CPU cores and hours in pieces, `smoke` tries the program.
"""

from dataclasses import dataclass, replace

from .world import SMALL_WORLD, WHOLE_WORLD, World

SPATIAL_RATIO = TEMPORAL_RATIO = 4  # pixels and frames per latent cell: 4 keeps edges sharp after little training
TEXT_TOKENS = 40  # longest caption and suffix, in the language model's tokens
FLOW_SHIFT = 3.0
GUIDANCE = 6.0
EMPTY_PROMPT_CHANCE = 0.05
LLAMA_LAYERS_USED = 2
LLAMA_LAYERS = LLAMA_LAYERS_USED + 2  # the pipelines use the states two layers before the last


@dataclass(frozen=True)
class Preset:
    """Sizes of the networks and of their training; `shares` are each stage's part of the planned time.

    On a GPU text encoders and reader train beside the autoencoder, so that their shares count once.
    """

    world: World
    side: int  # of the largest frames, in pixels; frames of 64 are trained too
    minutes: float  # the whole plan, where --plan does not say otherwise
    shares: dict
    steps: dict  # stages that end after so many steps, whatever the time: their result is the same on every run
    # Autoencoder
    channels: tuple
    latent_channels: int
    vae_batch: int
    vae_frames: int
    vae_crop: int
    vae_rate: float
    # Text encoders
    text_width: int
    text_batch: int
    # Transformer
    heads: int
    double_blocks: int
    single_blocks: int
    batches: dict  # clips a step for each side
    pool: dict  # cached clips for each side
    fresh: int  # clips that are newly drawn at each refill
    refill_every: int  # steps between two refills
    small_share: float  # share of the time before the first step at the full size
    picture_share: float  # share of the steps that train first frames alone, several times as many as clips: what subjects look like
    muon_rate: float
    average_decay: float
    encoder_part: float  # part of the autoencoder's time in which its encoder trains too; below 0 the encoder of an export stays as it is
    # Reader
    reader_width: int
    reader_batch: int
    # Judging
    judged: int  # held-out prompts
    judge_steps: int

    @property
    def sides(self):
        """Frame sizes that are trained, smallest first."""
        return tuple(sorted({64, self.side}))


CARD = Preset(
    world=WHOLE_WORLD, side=128, minutes=9.0, shares=dict(vae=0.33, text=0.3, judge=0.32, transformer=0.5, distil=0.1), steps={},
    channels=(16, 32, 64), latent_channels=12, vae_batch=24, vae_frames=17, vae_crop=64, vae_rate=1.0e-3,
    text_width=128, text_batch=256,
    heads=8, double_blocks=2, single_blocks=6, batches={64: 320, 128: 96}, pool={64: 49152, 128: 16384}, fresh=256, refill_every=16,
    small_share=0.6, picture_share=0.0, muon_rate=3e-3, average_decay=0.999, encoder_part=0.68,
    reader_width=32, reader_batch=96, judged=600, judge_steps=25,
)  # fmt: skip
CORES = replace(
    CARD, world=SMALL_WORLD, side=64, minutes=480.0, shares=dict(vae=0.25, text=0.03, judge=0.0, transformer=0.72, distil=0.2), steps={},
    channels=(16, 32, 48), latent_channels=12, vae_batch=4, vae_frames=9, vae_crop=32, vae_rate=7.0e-4, text_width=96, text_batch=96,
    heads=6, double_blocks=1, single_blocks=4, batches={64: 16}, pool={64: 4096}, fresh=8, refill_every=8, small_share=1.0, picture_share=0.6,
    muon_rate=2e-3, average_decay=0.99, encoder_part=0.8, reader_width=16, reader_batch=24, judged=200,
)  # fmt: skip
SMOKE = replace(
    CORES, world=replace(SMALL_WORLD, subjects=SMALL_WORLD.subjects[:3]), minutes=30.0, steps=dict(vae=4, text=3, judge=3, transformer=4, distil=2), vae_batch=1, vae_crop=16, encoder_part=0.5,
    text_width=32, text_batch=8, heads=2, single_blocks=1, batches={64: 2}, pool={64: 4}, fresh=2, refill_every=2,
    reader_width=8, reader_batch=2, judged=2, judge_steps=2,
)  # fmt: skip
PRESETS = {"card": CARD, "cores": CORES, "smoke": SMOKE}


def vae(preset):
    """Configuration of the autoencoder."""
    return dict(
        latent_channels=preset.latent_channels,
        down_block_types=("HunyuanVideoDownBlock3D",) * 3,
        up_block_types=("HunyuanVideoUpBlock3D",) * 3,
        block_out_channels=preset.channels,
        layers_per_block=1,
        norm_num_groups=4,
        spatial_compression_ratio=SPATIAL_RATIO,
        temporal_compression_ratio=TEMPORAL_RATIO,
        scaling_factor=1.0,  # the 1x1 convolutions around the latents are rescaled after training instead
        mid_block_add_attention=True,
    )


def llama(preset):
    """Configuration of the language model, without tokens and layers."""
    heads = preset.text_width // 32
    return dict(
        hidden_size=preset.text_width, intermediate_size=preset.text_width * 8 // 3 // 32 * 32, num_attention_heads=heads,
        num_key_value_heads=heads, max_position_embeddings=1024, rms_norm_eps=1e-5,
        rope_parameters=dict(rope_type="default", rope_theta=10000.0), tie_word_embeddings=False,
    )  # fmt: skip


def clip(preset):
    """Configuration of CLIP, without tokens."""
    return dict(
        hidden_size=preset.text_width, intermediate_size=2 * preset.text_width, num_attention_heads=preset.text_width // 32,
        num_hidden_layers=2, max_position_embeddings=77, projection_dim=preset.text_width, hidden_act="quick_gelu",
    )  # fmt: skip


def transformer(preset):
    """Configuration of the transformer."""
    return dict(
        in_channels=preset.latent_channels, out_channels=preset.latent_channels, num_attention_heads=preset.heads,
        attention_head_dim=32, num_layers=preset.double_blocks, num_single_layers=preset.single_blocks, num_refiner_layers=1,
        mlp_ratio=4.0, patch_size=2, patch_size_t=1, guidance_embeds=True, text_embed_dim=preset.text_width,
        pooled_projection_dim=preset.text_width, rope_theta=256.0, rope_axes_dim=(8, 12, 12),
    )  # fmt: skip
