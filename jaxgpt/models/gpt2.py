"""GPT-2: Radford et al. 2019, Language Models are Unsupervised Multitask Learners, section 2.3."""

from typing import Any, ClassVar

from jaxgpt.models.decoder import Decoder
from jaxgpt.spec.sizes import Length


class GPT2(Decoder, kind="gpt2"):
    """Pre-norm with a final norm; projections into the residual stream start at 0.02/√(2·layers)."""

    citation = "Radford et al. 2019, section 2.3"
    sizes: ClassVar[dict[str, dict[str, Any]]] = {
        "124m": {"num_layers": 12, "d_model": 768, "num_heads": 12},
        "355m": {"num_layers": 24, "d_model": 1024, "num_heads": 16},
        "774m": {"num_layers": 36, "d_model": 1280, "num_heads": 20},
        "1558m": {"num_layers": 48, "d_model": 1600, "num_heads": 25},
    }
    context: Length = 1024
