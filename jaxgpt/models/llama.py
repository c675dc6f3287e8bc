"""Llama: Touvron et al. 2023, LLaMA and Llama 2; Grattafiori et al. 2024, The Llama 3 Herd of Models."""

from typing import Any, ClassVar

from jaxgpt.models.decoder import Decoder
from jaxgpt.models.size_table import gated_size
from jaxgpt.nn.feed_forward import FeedForward, Gated
from jaxgpt.nn.norm import Norm, RMSNorm
from jaxgpt.ops.positions import Position, Rotary, RotaryLlama3
from jaxgpt.spec.sizes import Length


def _theta(theta: float) -> Rotary:
    return Rotary(pairing="half", theta=theta)


def _long(factor: float) -> RotaryLlama3:
    """Rotary positions of Llama 3, stretched from its 8192 tokens to `factor` times as many."""
    return RotaryLlama3(pairing="half", theta=500000.0, factor=factor)


_LLAMA3: dict[str, Any] = {"context": 8192, "position": _theta(500000.0)}
_LLAMA31: dict[str, Any] = {"context": 131072, "position": _long(8.0)}
_LLAMA32: dict[str, Any] = {"context": 131072, "position": _long(32.0), "tied": True}


class Llama(Decoder, kind="llama"):
    """RMSNorm before each sublayer, rotary positions, gated SiLU, no biases; the output is apart in most sizes."""

    citation = "Touvron et al. 2023 (LLaMA), section 2.2; Touvron et al. 2023 (Llama 2), section 2.2"
    sizes: ClassVar[dict[str, dict[str, Any]]] = {
        "smollm-135m": gated_size(30, 576, 9, 3, 1536, 49152, tied=True),
        "smollm-360m": gated_size(32, 960, 15, 5, 2560, 49152, tied=True),
        "smollm-1.7b": gated_size(24, 2048, 32, 32, 8192, 49152, tied=True),
        "smollm2-135m": gated_size(30, 576, 9, 3, 1536, 49152, tied=True, context=8192, position=_theta(100000.0)),
        "smollm2-360m": gated_size(32, 960, 15, 5, 2560, 49152, tied=True, context=8192, position=_theta(100000.0)),
        "smollm2-1.7b": gated_size(24, 2048, 32, 32, 8192, 49152, tied=True, context=8192, position=_theta(130000.0)),
        "tinyllama-1.1b": gated_size(22, 2048, 32, 4, 5632, 32000),
        "llama2-7b": gated_size(32, 4096, 32, 32, 11008, 32000, context=4096),
        "llama2-13b": gated_size(40, 5120, 40, 40, 13824, 32000, context=4096),
        "llama2-70b": gated_size(80, 8192, 64, 8, 28672, 32000, context=4096),
        "llama3-8b": gated_size(32, 4096, 32, 8, 14336, 128256, **_LLAMA3),
        "llama3-70b": gated_size(80, 8192, 64, 8, 28672, 128256, **_LLAMA3),
        "llama3.1-8b": gated_size(32, 4096, 32, 8, 14336, 128256, **_LLAMA31),
        "llama3.1-70b": gated_size(80, 8192, 64, 8, 28672, 128256, **_LLAMA31),
        "llama3.1-405b": gated_size(126, 16384, 128, 8, 53248, 128256, **_LLAMA31),
        "llama3.2-1b": gated_size(16, 2048, 32, 8, 8192, 128256, **_LLAMA32),
        "llama3.2-3b": gated_size(28, 3072, 24, 8, 8192, 128256, **_LLAMA32),
    }
    """The checkpoints HuggingFaceTB/SmolLM-* and SmolLM2-*, TinyLlama/TinyLlama-1.1B-*, meta-llama/Llama-2-*-hf,
    Meta-Llama-3-*, Llama-3.1-* and Llama-3.2-*."""
    context: Length = 2048
    position: Position = Rotary(pairing="half")
    norm: Norm = RMSNorm()
    feed_forward: FeedForward = Gated()
    bias: bool = False
    tied: bool = False
