"""GPT-Neo: Black et al. 2021, GPT-3's alternation of dense and local attention with public weights."""

from typing import Any, ClassVar

from pydantic import PositiveFloat

from jaxgpt.models.decoder import Decoder
from jaxgpt.ops.patterns import Banded, Causal, Pattern
from jaxgpt.spec.sizes import Length


class GPTNeo(Decoder, kind="gpt_neo"):
    """GPT-2's stack; every other layer sees the last 256 tokens. Scores are not divided by √d_head; queries, keys and
    values have no biases."""

    citation = "Black et al. 2021, doi:10.5281/zenodo.5297715; EleutherAI/gpt-neo"
    sizes: ClassVar[dict[str, dict[str, Any]]] = {
        "125m": {"num_layers": 12, "d_model": 768, "num_heads": 12, "vocab_size": 50257},
        "1.3b": {"num_layers": 24, "d_model": 2048, "num_heads": 16, "vocab_size": 50257},
        "2.7b": {"num_layers": 32, "d_model": 2560, "num_heads": 20, "vocab_size": 50257},
    }
    """The checkpoints EleutherAI/gpt-neo-125m, -1.3B and -2.7B."""
    context: Length = 2048
    pattern: tuple[Pattern, ...] = (Causal(), Banded(window=256))
    score_scale: PositiveFloat | None = 1.0
    qkv_bias: bool | None = False
