"""Prompt tuning: trained vectors in front of a row, where tokens' would be. n virtual tokens, V vocabulary, D width."""

from collections.abc import Mapping
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from pydantic import Field, PositiveFloat

from jaxgpt.nn.adapter import Adapter, Place
from jaxgpt.spec import ConfigError, Spec
from jaxgpt.spec.sizes import Count
from jaxgpt.text import Codec

PROMPT, TOKENS = "embed/adapter/prompt", "embed/token"


class FromText(Spec):
    """A start from the tokens of a text, repeated or cut to as many as there are virtual ones."""

    text: str = Field(min_length=1)


class Prompt(Adapter, kind="prompt"):
    """Puts `tokens` trained vectors in front of every row. They stand as rows behind the token table, and go through
    the model as tokens at the first positions."""

    citation = "Lester et al. 2021 (prompt tuning), section 2"
    tokens: Count = 20
    init: Literal["random", "words"] | FromText = "random"
    """`random`: normal; `words`: rows of the token table, drawn among those that have a text; or the rows of a text's
    tokens: `{text: "Is this review good or bad? "}`."""
    init_std: PositiveFloat = 1.0
    """Standard deviation of a random start; Hugging Face PEFT's is 1."""

    @property
    def virtual_tokens(self) -> int:
        """All of its `tokens`."""
        return self.tokens

    @property
    def embedded_tokens(self) -> int:
        """All of its `tokens`."""
        return self.tokens

    def embed(self, place: Place, width: int) -> jax.Array:
        """Parameter `prompt` (n, D)."""
        return place.param("prompt", nn.initializers.normal(self.init_std), (self.tokens, width), jnp.float32)

    def begin(self, params: Mapping[str, jax.Array], codec: Codec | None, key: jax.Array) -> Mapping[str, jax.Array]:
        """`prompt` from rows of the token table, unless it starts at random."""
        if self.init == "random":
            return {}
        table_VD = params[TOKENS]
        if isinstance(self.init, FromText):
            ids = [] if codec is None else codec.encode(self.init.text)
            if not ids:
                why = "there is no tokenizer to read it" if codec is None else "it has no token"
                raise ConfigError(f"model.adapter.init.text: {self.init.text!r}: {why}; set init words or random")
            ids_n = jnp.asarray(np.resize(np.asarray(ids), self.tokens))
        else:
            known = np.arange(len(table_VD)) if codec is None else np.flatnonzero(codec.has_text[: len(table_VD)])
            ids_n = jax.random.choice(key, known, (self.tokens,), replace=len(known) < self.tokens)
        return {PROMPT: jnp.take(table_VD, ids_n, axis=0)}
