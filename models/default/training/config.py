"""Every number the training depends on, in one place; the sizes here decide what the checkpoint is."""

from dataclasses import dataclass

HEIGHT = WIDTH = 64
FRAMES = 17
FPS = 4

SPATIAL_RATIO = 4  # pixels per latent cell: 4 keeps edges sharp after little training
TEMPORAL_RATIO = 4
LATENT_CHANNELS = 8

VAE = dict(
    latent_channels=LATENT_CHANNELS,
    down_block_types=("HunyuanVideoDownBlock3D",) * 3,
    up_block_types=("HunyuanVideoUpBlock3D",) * 3,
    block_out_channels=(16, 32, 48),
    layers_per_block=1,
    norm_num_groups=4,
    spatial_compression_ratio=SPATIAL_RATIO,
    temporal_compression_ratio=TEMPORAL_RATIO,
    scaling_factor=1.0,  # the 1x1 convolutions around the latents are rescaled after training instead
    mid_block_add_attention=True,
)


@dataclass(frozen=True)
class VaeStage:
    """One stretch of the autoencoder's training: small crops of few frames first, whole clips last."""

    steps: int
    frames: int
    crop: int
    batch: int
    learning_rate: float
    decoder_only: bool = False  # latents stay what they are, so that cached ones remain valid


VAE_STAGES = (
    VaeStage(steps=5250, frames=9, crop=32, batch=4, learning_rate=1.0e-3),
    VaeStage(steps=700, frames=9, crop=40, batch=3, learning_rate=4.0e-4, decoder_only=True),
    VaeStage(steps=300, frames=17, crop=64, batch=1, learning_rate=1.5e-4, decoder_only=True),
)

# Text encoders: the pipelines use the states two decoder layers before the last, so of four layers two are trained.
LLAMA = dict(
    hidden_size=96, intermediate_size=256, num_attention_heads=3, num_key_value_heads=3, max_position_embeddings=1024,
    rms_norm_eps=1e-5, rope_parameters=dict(rope_type="default", rope_theta=10000.0), tie_word_embeddings=False,
)
LLAMA_LAYERS = 4
LLAMA_LAYERS_USED = LLAMA_LAYERS - 2
CLIP = dict(
    hidden_size=96, intermediate_size=192, num_attention_heads=3, num_hidden_layers=2, max_position_embeddings=77,
    projection_dim=96, hidden_act="quick_gelu",
)
TEXT_STEPS = 700
TEXT_BATCH = 96
TEXT_RATE = 2e-3

LATENT_SHARD = 100  # clips a file
LATENT_SHARDS = 120

TRANSFORMER = dict(
    in_channels=LATENT_CHANNELS, out_channels=LATENT_CHANNELS, num_attention_heads=6, attention_head_dim=32,
    num_layers=1, num_single_layers=4, num_refiner_layers=1, mlp_ratio=4.0, patch_size=2, patch_size_t=1,
    guidance_embeds=True, text_embed_dim=96, pooled_projection_dim=96, rope_theta=256.0, rope_axes_dim=(8, 12, 12),
)
TRANSFORMER_STEPS = 8000
TRANSFORMER_BATCH = 24  # clips a step in each process
STEPS_ALONE = 10  # steps between two meetings of several processes
MUON_RATE = 3e-3
ADAM_RATE = 8e-4
DECAY_STEEPNESS = 1.15  # the rates are at their peak for the first eighth, then fall to zero in a straight line
AVERAGE_DECAY = 0.995
FLOW_SHIFT = 3.0
GUIDANCE = 6.0
EMPTY_PROMPT_CHANCE = 0.05
