"""Qwen2: Yang et al. 2024; Qwen2.5: Qwen Team 2024."""

from typing import Any, ClassVar

from jaxgpt.models.decoder import Decoder
from jaxgpt.nn.feed_forward import FeedForward, Gated
from jaxgpt.nn.norm import Norm, RMSNorm
from jaxgpt.ops.positions import Position, Rotary
from jaxgpt.spec.sizes import Length


def _size(layers: int, width: int, heads: int, kv_heads: int, inner: int, vocab: int, **more: Any) -> dict[str, Any]:
    return {
        "num_layers": layers,
        "d_model": width,
        "num_heads": heads,
        "num_kv_heads": kv_heads,
        "feed_forward": Gated(d_ff=inner),
        "vocab_size": vocab,
        **more,
    }


class Qwen2(Decoder, kind="qwen2"):
    """Llama's stack, with biases on queries, keys and values."""

    citation = "Yang et al. 2024 (Qwen2), section 2.2; Qwen Team 2024 (Qwen2.5), section 2"
    sizes: ClassVar[dict[str, dict[str, Any]]] = {
        "0.5b": _size(24, 896, 14, 2, 4864, 151936, tied=True),
        "1.5b": _size(28, 1536, 12, 2, 8960, 151936, tied=True),
        "2.5-3b": _size(36, 2048, 16, 2, 11008, 151936, tied=True),
        "7b": _size(28, 3584, 28, 4, 18944, 152064),
        "2.5-14b": _size(48, 5120, 40, 8, 13824, 152064),
        "2.5-32b": _size(64, 5120, 40, 8, 27648, 152064),
        "72b": _size(80, 8192, 64, 8, 29568, 152064),
    }
    """The checkpoints Qwen/Qwen2-* and Qwen/Qwen2.5-*; 0.5b, 1.5b, 7b and 72b are those of both."""
    context: Length = 32768
    position: Position = Rotary(pairing="half", theta=1000000.0)
    norm: Norm = RMSNorm(eps=1e-6)
    feed_forward: FeedForward = Gated()
    bias: bool = False
    qkv_bias: bool | None = True
    tied: bool = False
