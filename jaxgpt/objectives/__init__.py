"""What is optimised. `(model, params, batch, key) -> (loss, metrics)`; one train step serves them all."""

from jaxgpt.objectives.choice import Choice
from jaxgpt.objectives.classify import Classify
from jaxgpt.objectives.contrastive import Contrastive
from jaxgpt.objectives.contrastive_losses import Angular, InfoNCE, NTXent, Triplet
from jaxgpt.objectives.language_model import LanguageModel
from jaxgpt.objectives.masked import MaskedLanguageModel
from jaxgpt.objectives.objective import Loss, Objective
from jaxgpt.objectives.regress import Regress
from jaxgpt.objectives.similarity import Similarity

__all__ = [
    "Angular",
    "Choice",
    "Classify",
    "Contrastive",
    "InfoNCE",
    "LanguageModel",
    "Loss",
    "MaskedLanguageModel",
    "NTXent",
    "Objective",
    "Regress",
    "Similarity",
    "Triplet",
]
