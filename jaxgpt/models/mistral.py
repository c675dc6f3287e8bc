"""Mistral 7B: Jiang et al. 2023."""

from typing import Any, ClassVar

from jaxgpt.models.decoder import Decoder
from jaxgpt.nn.feed_forward import FeedForward, Gated
from jaxgpt.nn.norm import Norm, RMSNorm
from jaxgpt.ops.patterns import Banded, Causal, Pattern
from jaxgpt.ops.positions import Position, Rotary
from jaxgpt.spec.sizes import Length

_7B: dict[str, Any] = {
    "num_layers": 32,
    "d_model": 4096,
    "num_heads": 32,
    "num_kv_heads": 8,
    "feed_forward": Gated(d_ff=14336),
}
_WIDE: dict[str, Any] = {"pattern": (Causal(),), "position": Rotary(pairing="half", theta=1000000.0)}


class Mistral(Decoder, kind="mistral"):
    """Llama's stack; every token sees the last 4096."""

    citation = "Jiang et al. 2023 (Mistral 7B), section 2"
    sizes: ClassVar[dict[str, dict[str, Any]]] = {
        "7b-v0.1": _7B | {"vocab_size": 32000},
        "7b-v0.2": _7B | _WIDE | {"vocab_size": 32000},
        "7b-v0.3": _7B | _WIDE | {"vocab_size": 32768},
    }
    """The checkpoints mistralai/Mistral-7B-v0.1, -Instruct-v0.2 and -v0.3; the later ones have no window."""
    context: Length = 32768
    pattern: tuple[Pattern, ...] = (Banded(window=4096),)
    position: Position = Rotary(pairing="half")
    norm: Norm = RMSNorm()
    feed_forward: FeedForward = Gated()
    bias: bool = False
    tied: bool = False
