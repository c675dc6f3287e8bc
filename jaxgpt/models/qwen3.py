"""Qwen3: Yang et al. 2025, Qwen3 Technical Report."""

from typing import Any, ClassVar

from jaxgpt.models.decoder import Decoder
from jaxgpt.models.size_table import gated_size
from jaxgpt.nn.feed_forward import FeedForward, Gated
from jaxgpt.nn.norm import Norm, RMSNorm
from jaxgpt.ops.positions import Position, Rotary
from jaxgpt.spec.sizes import Length, Width


class Qwen3(Decoder, kind="qwen3"):
    """Llama's stack, with queries and keys normalised within a head of 128 channels, whatever the model's width."""

    citation = "Yang et al. 2025 (Qwen3), section 2, table 1"
    sizes: ClassVar[dict[str, dict[str, Any]]] = {
        "0.6b": gated_size(28, 1024, 16, 8, 3072, 151936, tied=True),
        "1.7b": gated_size(28, 2048, 16, 8, 6144, 151936, tied=True),
        "4b": gated_size(36, 2560, 32, 8, 9728, 151936, tied=True),
        "8b": gated_size(36, 4096, 32, 8, 12288, 151936),
        "14b": gated_size(40, 5120, 40, 8, 17408, 151936),
        "32b": gated_size(64, 5120, 64, 8, 25600, 151936),
    }
    """The checkpoints Qwen/Qwen3-*."""
    context: Length = 40960
    d_head: Width | None = 128
    position: Position = Rotary(pairing="half", theta=1000000.0)
    norm: Norm = RMSNorm(eps=1e-6)
    qk_norm: Norm | None = RMSNorm(eps=1e-6)
    feed_forward: FeedForward = Gated()
    bias: bool = False
    tied: bool = False
