"""What evaluation tasks ask a model in use."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import numpy as np
from pydantic import Field

from jaxgpt.decode import BeamSearch, Sampling
from jaxgpt.evals.pairs import Pair, Scored
from jaxgpt.objectives import Objective
from jaxgpt.spec import Spec
from jaxgpt.spec.sizes import Length
from jaxgpt.text import Codec, Data
from jaxgpt.text.corpora.columns import TextRow


class Writing(Spec):
    """How texts are continued."""

    max_new: Length = 32
    """Tokens at most."""
    stop: tuple[str, ...] = ()
    """Texts at whose first occurrence a continuation ends."""
    sampling: Sampling = Sampling()
    beams: BeamSearch | None = None
    """Search for the likeliest texts instead."""
    suppress: tuple[str, ...] = ()
    """Words in small letters that no token may stand for by itself, whatever its case and the spaces around it."""
    seed: int = Field(default=0, ge=0, lt=2**32)


class Head(NamedTuple):
    """A head that answers about texts. N rows, C outputs."""

    objective: Objective
    """What it was trained by, or could be."""
    labels: tuple[str, ...] | None
    """Of its outputs."""
    data: Data | None
    """What it was trained on, where that is known."""
    texts: int | None
    """Of a row, then."""
    answers: Callable[[Sequence[TextRow]], np.ndarray]
    """float32 (N, C)."""


class EvalModel(Protocol):
    """A model with its weights and vocabulary, as tasks ask it: `jaxgpt.inference.asked.Asked` is one."""

    @property
    def codec(self) -> Codec:
        """Its vocabulary."""

    @property
    def room(self) -> int:
        """The most tokens that it reads."""

    def score(self, pairs: Sequence[Pair]) -> list[Scored]:
        """How likely each continuation is after its context."""

    def write(self, prompts: Sequence[str], writing: Writing) -> list[str]:
        """What it continues each prompt with; of one too long its last tokens are read."""

    def encode(self, texts: Sequence[str], pooling: str | None = None) -> np.ndarray:
        """A vector for each text, float32 (N, D); `pooling`: how, by its name, if not as the model has it."""

    def head(self, form: str) -> Head:
        """Its head for texts, which answers as `form` says. Raises ConfigError where it has none that does."""
