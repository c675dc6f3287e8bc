"""Qwen2: Yang et al. 2024; Qwen2.5: Qwen Team 2024."""

from typing import Any, ClassVar

from jaxgpt.models.decoder import Decoder
from jaxgpt.models.size_table import gated_size
from jaxgpt.nn.feed_forward import FeedForward, Gated
from jaxgpt.nn.norm import Norm, RMSNorm
from jaxgpt.ops.positions import Position, Rotary
from jaxgpt.spec.sizes import Length


class Qwen2(Decoder, kind="qwen2"):
    """Llama's stack, with biases on queries, keys and values."""

    citation = "Yang et al. 2024 (Qwen2), section 2.2; Qwen Team 2024 (Qwen2.5), section 2"
    sizes: ClassVar[dict[str, dict[str, Any]]] = {
        "0.5b": gated_size(24, 896, 14, 2, 4864, 151936, tied=True),
        "1.5b": gated_size(28, 1536, 12, 2, 8960, 151936, tied=True),
        "2.5-3b": gated_size(36, 2048, 16, 2, 11008, 151936, tied=True),
        "7b": gated_size(28, 3584, 28, 4, 18944, 152064),
        "2.5-14b": gated_size(48, 5120, 40, 8, 13824, 152064),
        "2.5-32b": gated_size(64, 5120, 40, 8, 27648, 152064),
        "72b": gated_size(80, 8192, 64, 8, 29568, 152064),
    }
    """The checkpoints Qwen/Qwen2-* and Qwen/Qwen2.5-*; 0.5b, 1.5b, 7b and 72b are those of both."""
    context: Length = 32768
    position: Position = Rotary(pairing="half", theta=1000000.0)
    norm: Norm = RMSNorm(eps=1e-6)
    feed_forward: FeedForward = Gated()
    bias: bool = False
    qkv_bias: bool | None = True
    tied: bool = False
