"""GPT-J: Wang & Komatsuzaki 2021, GPT-J-6B: A 6 Billion Parameter Autoregressive Language Model."""

from typing import Any, ClassVar

from jaxgpt.models.decoder import Decoder
from jaxgpt.nn.residual import ParallelOneNorm, Residual
from jaxgpt.ops.positions import Position, Rotary
from jaxgpt.spec.sizes import Length


class GPTJ(Decoder, kind="gptj"):
    """Attention and feed-forward layer read the stream side by side, through one norm; 64 channels of a head turn; the
    output is apart, with a bias."""

    citation = "Wang & Komatsuzaki 2021; kingoflolz/mesh-transformer-jax"
    sizes: ClassVar[dict[str, dict[str, Any]]] = {
        "6b": {"num_layers": 28, "d_model": 4096, "num_heads": 16, "vocab_size": 50400},
    }
    """The checkpoint EleutherAI/gpt-j-6b."""
    context: Length = 2048
    position: Position = Rotary(width=64)
    residual: Residual = ParallelOneNorm()
    qkv_bias: bool | None = False
    o_bias: bool | None = False
    tied: bool = False
    head_bias: bool = True
