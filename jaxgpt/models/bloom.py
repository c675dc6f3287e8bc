"""BLOOM: BigScience Workshop 2022, BLOOM: A 176B-Parameter Open-Access Multilingual Language Model."""

from typing import Any, ClassVar

from jaxgpt.models.decoder import Decoder
from jaxgpt.nn.norm import LayerNorm, Norm
from jaxgpt.ops.positions import ALiBi, Position
from jaxgpt.spec.sizes import Length


def _size(layers: int, width: int, heads: int) -> dict[str, Any]:
    return {"num_layers": layers, "d_model": width, "num_heads": heads, "vocab_size": 250880}


class BLOOM(Decoder, kind="bloom"):
    """GPT-2's stack with ALiBi instead of position embeddings, and a norm behind the token embeddings."""

    citation = "BigScience Workshop 2022 (BLOOM), section 3.2, table 3"
    sizes: ClassVar[dict[str, dict[str, Any]]] = {
        "560m": _size(24, 1024, 16),
        "1b1": _size(24, 1536, 16),
        "1b7": _size(24, 2048, 16),
        "3b": _size(30, 2560, 32),
        "7b1": _size(30, 4096, 32),
        "176b": _size(70, 14336, 112),
    }
    """The checkpoints bigscience/bloom-* and bigscience/bloom (176b)."""
    context: Length = 2048
    position: Position = ALiBi()
    embed_norm: Norm | None = LayerNorm()
