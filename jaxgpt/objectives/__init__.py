"""What is optimised. `(model, params, batch, key) -> (loss, metrics)`; one train step serves them all."""

from jaxgpt.objectives.contrastive import Contrastive
from jaxgpt.objectives.contrastive_losses import Angular, InfoNCE, NTXent, Triplet
from jaxgpt.objectives.language_model import LanguageModel
from jaxgpt.objectives.masked import MaskedLanguageModel
from jaxgpt.objectives.objective import Loss, Objective

__all__ = [
    "Angular",
    "Contrastive",
    "InfoNCE",
    "LanguageModel",
    "Loss",
    "MaskedLanguageModel",
    "NTXent",
    "Objective",
    "Triplet",
]
