"""Gemma 2: Gemma Team 2024, Gemma 2: Improving Open Language Models at a Practical Size."""

from typing import Any, ClassVar

from pydantic import PositiveFloat

from jaxgpt.models.decoder import Decoder
from jaxgpt.models.size_table import gated_size
from jaxgpt.nn.feed_forward import FeedForward, Gated
from jaxgpt.nn.norm import Norm, RMSNorm
from jaxgpt.nn.norm_place import BothNorms, NormPlace
from jaxgpt.ops.activations import GELUTanh
from jaxgpt.ops.patterns import Banded, Causal, Pattern
from jaxgpt.ops.positions import Position, Rotary
from jaxgpt.spec.sizes import Length


def _size(
    layers: int, width: int, heads: int, kv_heads: int, d_head: int, inner: int, scaled_by: int
) -> dict[str, Any]:
    gelu = Gated(d_ff=inner, activation=GELUTanh())
    more = {"d_head": d_head, "embed_scale": width**0.5, "score_scale": scaled_by**-0.5}
    return gated_size(layers, width, heads, kv_heads, inner, 256000) | more | {"feed_forward": gelu}


class Gemma2(Decoder, kind="gemma2"):
    """Norms on both sides of each sublayer, caps on scores and logits, every other layer within 4096 tokens. Embeddings
    are scaled by √d_model in the published sizes."""

    citation = "Gemma Team 2024 (Gemma 2), section 2, table 1"
    sizes: ClassVar[dict[str, dict[str, Any]]] = {
        "2b": _size(26, 2304, 8, 4, 256, 9216, 256),
        "9b": _size(42, 3584, 16, 8, 256, 14336, 256),
        "27b": _size(46, 4608, 32, 16, 128, 36864, 144),
    }
    """The checkpoints google/gemma-2-2b, -9b and -27b."""
    context: Length = 8192
    pattern: tuple[Pattern, ...] = (Banded(window=4096), Causal())
    position: Position = Rotary(pairing="half")
    norm: Norm = RMSNorm(eps=1e-6, zero_centered=True)
    norm_place: NormPlace = BothNorms()
    feed_forward: FeedForward = Gated(activation=GELUTanh())
    soft_cap: PositiveFloat | None = 50.0
    logit_cap: PositiveFloat | None = 30.0
    bias: bool = False
