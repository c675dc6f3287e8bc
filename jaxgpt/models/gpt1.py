"""GPT-1: Radford et al. 2018, Improving Language Understanding by Generative Pre-Training, section 4.1."""

from typing import Any, ClassVar

from jaxgpt.models.decoder import Decoder
from jaxgpt.nn.norm_place import NormPlace, PostNorm
from jaxgpt.nn.trunk import ResidualInit
from jaxgpt.spec.sizes import Length


class GPT1(Decoder, kind="gpt1"):
    """Post-norm, learned positions, tanh GELU, tied output without bias, N(0, 0.02) everywhere."""

    citation = "Radford et al. 2018, section 4.1"
    sizes: ClassVar[dict[str, dict[str, Any]]] = {"117m": {"num_layers": 12, "d_model": 768, "num_heads": 12}}
    norm_place: NormPlace = PostNorm()
    residual_init: ResidualInit = "plain"
    context: Length = 512
