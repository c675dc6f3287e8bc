"""Ways to train a model by few parameters: values of the adapter seam."""

from jaxgpt.peft.bottleneck import Bottleneck
from jaxgpt.peft.lora import LoRA
from jaxgpt.peft.prefix import Prefix
from jaxgpt.peft.prompt import FromText, Prompt

__all__ = ["Bottleneck", "FromText", "LoRA", "Prefix", "Prompt"]
