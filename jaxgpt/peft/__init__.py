"""Ways to train a model by few parameters: values of the adapter seam."""

from jaxgpt.peft.bottleneck import Bottleneck
from jaxgpt.peft.ia3 import IA3
from jaxgpt.peft.lora import LoRA
from jaxgpt.peft.prefix import Prefix
from jaxgpt.peft.prompt import FromText, Prompt

__all__ = ["IA3", "Bottleneck", "FromText", "LoRA", "Prefix", "Prompt"]
