"""F4: what is optimised. `(model, params, batch, key) -> (loss, metrics)`; one train step serves them all."""

from jaxgpt.objectives.language_model import LanguageModel
from jaxgpt.objectives.objective import Objective

__all__ = ["LanguageModel", "Objective"]
