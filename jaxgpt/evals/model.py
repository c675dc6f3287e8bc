"""What evaluation tasks ask a model in use."""

from collections.abc import Sequence
from typing import Protocol

from pydantic import Field

from jaxgpt.decode import BeamSearch, Sampling
from jaxgpt.evals.pairs import Pair, Scored
from jaxgpt.spec import Spec
from jaxgpt.spec.sizes import Length
from jaxgpt.text import Codec


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
