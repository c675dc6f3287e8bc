"""What every family is: a spec that builds a Linen module and can be counted without allocating anything."""

from abc import abstractmethod
from functools import lru_cache
from typing import Any

import jax
from flax import linen as nn
from jax.typing import DTypeLike

from jaxgpt.nn.stack import Loop, Remat
from jaxgpt.ops.attention import Case, Kernel, Numbering, Reference
from jaxgpt.ops.patterns import Pattern
from jaxgpt.spec import Seam
from jaxgpt.spec.sizes import Length


class Model(Seam, seam="model"):
    """Base of all model families."""

    vocab_size: Length | None = None
    """Rows of the token table; None: as many as the tokenizer has."""
    context: Length
    """The longest sequence, in tokens."""

    @abstractmethod
    def build(
        self, kernel: Kernel = Reference(), dtype: DTypeLike = "float32", loop: Loop = "unroll", remat: Remat = "none"
    ) -> nn.Module:
        """The Linen module. Parameters do not depend on the arguments: those say how it is computed."""

    @abstractmethod
    def init(self, key: jax.Array) -> dict[str, Any]:
        """A fresh parameter tree, float32. Under `jax.eval_shape` it costs nothing."""

    @abstractmethod
    def flops_per_token(self, length: int, dense: bool = True, scored: float = 1.0) -> float:
        """Forward and backward. `dense`: attention counted as if every key were seen (PaLM, appendix B; nanoGPT).
        `scored`: share of the tokens that get logits."""

    @abstractmethod
    def named_patterns(self) -> dict[str, Pattern]:
        """Who attends to whom, by the name of the field that says so (`pattern.0`): distinct ones once."""

    @abstractmethod
    def cases(
        self, length: int, dtype: str, platform: str, numbering: Numbering, segments: bool, token_parts: int = 1
    ) -> dict[str, Case]:
        """What its layers ask of a kernel in training on rows of `length`, for each of `named_patterns`."""

    def shapes(self) -> dict[str, Any]:
        """The parameter tree as shapes and dtypes; allocates nothing."""
        return jax.tree.map(lambda leaf: leaf, _shapes(self))

    def count(self) -> int:
        """Exact number of parameters."""
        return sum(leaf.size for leaf in jax.tree.leaves(_shapes(self)))


@lru_cache(maxsize=256)
def _shapes(model: Model) -> dict[str, Any]:
    """Traced once for each model: that takes as long as a compilation."""
    return jax.eval_shape(model.init, jax.random.key(0))
