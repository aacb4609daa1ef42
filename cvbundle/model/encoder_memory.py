"""What the text encoder and the VAE hold on a device, from sizes alone.

The figures are what `cvbundle rehearse` finds; workspaces of cuDNN are not in them.
"""

from cvbundle.model.modules import text_encoder_parameters
from cvbundle.spec.tables.architecture import TextEncoder, Vae

GIB = 2**30

_VAE_PARAMETERS = 215_583_907
_ENCODER_PARAMETERS = 92_215_456
"""Of the VAE of all CogVideoX models, and of its encoder (diffusers, on the meta device)."""
_TILE_HEIGHT, _TILE_WIDTH = 240, 360
_TEXT_ACTIVATIONS = 7
"""What T5 holds beside its weights, in activations of its feed-forward layers."""


def text_encoder_bytes(encoder: TextEncoder, width: int, *, half: bool) -> int:
    """The weights of T5, in numbers of `width` bytes.

    In fp16 (`half`) transformers keeps one matrix of each layer, `wo`, in fp32.
    """
    kept = encoder.num_layers * encoder.d_ff * encoder.d_model if half else 0
    return text_encoder_parameters(encoder) * width + 2 * kept


def embed_bytes(encoder: TextEncoder, length: int, width: int) -> int:
    """What T5 holds while it embeds one caption of `length` tokens, over its weights."""
    return _TEXT_ACTIVATIONS * length * encoder.d_ff * width


def vae_bytes(vae: Vae, width: int, *, decoder: bool) -> int:
    """The weights of the VAE, exact for every CogVideoX; of its encoding half without `decoder`."""
    whole = sum(size**2 for size in Vae().block_out_channels)
    share = sum(size**2 for size in vae.block_out_channels) / whole
    return round((_VAE_PARAMETERS if decoder else _ENCODER_PARAMETERS) * share * width)


def encode_bytes(
    vae: Vae, frames: int, height: int, width_px: int, *, tiled: bool, width: int = 2
) -> int:
    """What the VAE holds while it encodes one clip, over its weights, for `width` bytes a number.

    Seen with fake tensors in diffusers 0.42.1, autoencoder_kl_cogvideox.py, in GiB:
    tiled 1.63 GiB at 49x480x720 and 2.03 at 81x768x1360, which is 1.55 for a tile of
    240x360 and the clip itself; untiled 6.23 and 22.8.
    """
    clip = 3 * frames * height * width_px * 2
    if tiled:
        inside = 1.55 * GIB * _tile_share(height, width_px) + clip
    else:
        inside = _by_area(height * width_px, 6.23, 22.8) * GIB
    return round(inside * _width_share(vae) * width / 2)


def decode_bytes(
    vae: Vae, frames: int, height: int, width_px: int, *, tiled: bool, width: int = 2
) -> int:
    """What the VAE holds while it decodes one sample, over its weights.

    Seen with fake tensors in diffusers 0.42.1, autoencoder_kl_cogvideox.py, in GiB:
    tiled 3.77 GiB at 49x480x720 and 4.17 at 81x768x1360. Untiled was not measured: the
    same multiple of tiled as in encoding.
    """
    clip = 3 * frames * height * width_px * 2
    inside = 3.68 * GIB * _tile_share(height, width_px) + clip
    if not tiled:
        inside *= max(1.0, _by_area(height * width_px, 6.23, 22.8) / 1.63)
    return round(inside * _width_share(vae) * width / 2)


def _by_area(pixels: int, at_480x720: float, at_768x1360: float) -> float:
    """GiB at a frame of so many pixels, on the line through two known sizes and the origin."""
    small, large = 480 * 720, 768 * 1360
    if pixels <= small:
        return at_480x720 * pixels / small
    return at_480x720 + (at_768x1360 - at_480x720) * (pixels - small) / (large - small)


def _tile_share(height: int, width_px: int) -> float:
    return min(height, _TILE_HEIGHT) * min(width_px, _TILE_WIDTH) / (_TILE_HEIGHT * _TILE_WIDTH)


def _width_share(vae: Vae) -> float:
    """How wide the VAE is, beside the one that was measured; activations follow its first width."""
    return vae.block_out_channels[0] / 128
