"""GPT-3: Brown et al. 2020, Language Models are Few-Shot Learners, section 2.1 and table 2.1."""

from typing import Any, ClassVar

from jaxgpt.models.decoder import Decoder
from jaxgpt.ops.patterns import Banded, Causal, Pattern
from jaxgpt.spec.sizes import Length


class GPT3(Decoder, kind="gpt3"):
    """GPT-2's stack; layers alternate dense and locally banded attention.

    The paper does not print the band's width: 256 is ours, and a field. Table 2.1's d_head is kept as printed, also
    where heads·d_head differs from d_model (xl, 13b).
    """

    citation = "Brown et al. 2020, section 2.1, table 2.1"
    sizes: ClassVar[dict[str, dict[str, Any]]] = {
        "125m": {"num_layers": 12, "d_model": 768, "num_heads": 12, "d_head": 64},
        "350m": {"num_layers": 24, "d_model": 1024, "num_heads": 16, "d_head": 64},
        "760m": {"num_layers": 24, "d_model": 1536, "num_heads": 16, "d_head": 96},
        "1.3b": {"num_layers": 24, "d_model": 2048, "num_heads": 24, "d_head": 128},
        "2.7b": {"num_layers": 32, "d_model": 2560, "num_heads": 32, "d_head": 80},
        "6.7b": {"num_layers": 32, "d_model": 4096, "num_heads": 32, "d_head": 128},
        "13b": {"num_layers": 40, "d_model": 5140, "num_heads": 40, "d_head": 128},
        "175b": {"num_layers": 96, "d_model": 12288, "num_heads": 96, "d_head": 128},
    }
    context: Length = 2048
    pattern: tuple[Pattern, ...] = (Causal(), Banded(window=256))
