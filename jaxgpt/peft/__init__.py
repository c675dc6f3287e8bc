"""Ways to train a model by few parameters: values of the adapter seam."""

from jaxgpt.peft.lora import LoRA

__all__ = ["LoRA"]
