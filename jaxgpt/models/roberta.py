"""RoBERTa: Liu et al. 2019, RoBERTa: A Robustly Optimized BERT Pretraining Approach."""

from typing import Any, ClassVar

from jaxgpt.models.bert import BASE, LARGE
from jaxgpt.models.encoder import Encoder
from jaxgpt.nn.norm import LayerNorm, Norm
from jaxgpt.ops.positions import Learned, Position
from jaxgpt.spec.sizes import Index


class RoBERTa(Encoder, kind="roberta"):
    """BERT's stack with one segment, byte-level BPE, and positions that start behind the padding id, which is 1.

    Checkpoints: FacebookAI/roberta-base, FacebookAI/roberta-large. Their 514 positions are the 512 of a row and two
    that come before.
    """

    citation = "Liu et al. 2019, section 3"
    sizes: ClassVar[dict[str, dict[str, Any]]] = {
        "base": BASE | {"vocab_size": 50265},
        "large": LARGE | {"vocab_size": 50265},
    }
    position: Position = Learned(offset=2)
    norm: Norm = LayerNorm()
    embed_norm: Norm | None = LayerNorm()
    token_types: Index = 1
