"""Qwen3: Yang et al. 2025."""

from typing import Any, ClassVar

from jaxgpt.models.decoder import Decoder
from jaxgpt.nn.feed_forward import FeedForward, Gated
from jaxgpt.nn.norm import Norm, RMSNorm
from jaxgpt.ops.positions import Position, Rotary
from jaxgpt.spec.sizes import Length, Width


def _size(layers: int, width: int, heads: int, inner: int, **more: Any) -> dict[str, Any]:
    return {
        "num_layers": layers,
        "d_model": width,
        "num_heads": heads,
        "num_kv_heads": 8,
        "feed_forward": Gated(d_ff=inner),
        "vocab_size": 151936,
        **more,
    }


class Qwen3(Decoder, kind="qwen3"):
    """Llama's stack, with queries and keys normalised within a head of 128 channels, whatever the model's width."""

    citation = "Yang et al. 2025 (Qwen3), section 2, table 1"
    sizes: ClassVar[dict[str, dict[str, Any]]] = {
        "0.6b": _size(28, 1024, 16, 3072, tied=True),
        "1.7b": _size(28, 2048, 16, 6144, tied=True),
        "4b": _size(36, 2560, 32, 9728, tied=True),
        "8b": _size(36, 4096, 32, 12288),
        "14b": _size(40, 5120, 40, 17408),
        "32b": _size(64, 5120, 64, 25600),
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
