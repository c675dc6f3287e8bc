"""Mistral 7B: Jiang et al. 2023."""

from typing import Any, ClassVar

from jaxgpt.models.decoder import Decoder
from jaxgpt.models.size_table import gated_size
from jaxgpt.nn.feed_forward import FeedForward, Gated
from jaxgpt.nn.norm import Norm, RMSNorm
from jaxgpt.ops.patterns import Banded, Causal, Pattern
from jaxgpt.ops.positions import Position, Rotary
from jaxgpt.spec.sizes import Length

_7B = (32, 4096, 32, 8, 14336)
_WIDE: dict[str, Any] = {"pattern": (Causal(),), "position": Rotary(pairing="half", theta=1000000.0)}


class Mistral(Decoder, kind="mistral"):
    """Llama's stack; every token sees the last 4096."""

    citation = "Jiang et al. 2023 (Mistral 7B), section 2"
    sizes: ClassVar[dict[str, dict[str, Any]]] = {
        "7b-v0.1": gated_size(*_7B, 32000),
        "7b-v0.2": gated_size(*_7B, 32000, **_WIDE),
        "7b-v0.3": gated_size(*_7B, 32768, **_WIDE),
    }
    """The checkpoints mistralai/Mistral-7B-v0.1, -Instruct-v0.2 and -v0.3; the later ones have no window."""
    context: Length = 32768
    pattern: tuple[Pattern, ...] = (Banded(window=4096),)
    position: Position = Rotary(pairing="half")
    norm: Norm = RMSNorm()
    feed_forward: FeedForward = Gated()
    bias: bool = False
    tied: bool = False
