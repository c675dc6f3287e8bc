"""F3: one file per family: citation, size table, assembly."""

from jaxgpt.models.decoder import Decoder
from jaxgpt.models.gpt1 import GPT1
from jaxgpt.models.gpt2 import GPT2
from jaxgpt.models.gpt3 import GPT3
from jaxgpt.models.model import Model

__all__ = ["GPT1", "GPT2", "GPT3", "Decoder", "Model"]
