"""What every family is: a spec that builds a Linen module and can be counted without allocating anything."""

from abc import abstractmethod
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import jax
from flax import linen as nn
from jax.typing import DTypeLike

from jaxgpt.nn.adapter import Adapter
from jaxgpt.nn.cache import Cache
from jaxgpt.nn.remat import Remat
from jaxgpt.nn.stack import Loop
from jaxgpt.nn.text_head import TextHead
from jaxgpt.ops.attention import Case, Kernel, Numbering, Reference
from jaxgpt.ops.patterns import Pattern
from jaxgpt.spec import Seam
from jaxgpt.spec.sizes import Length

Trained = Callable[[str], bool]
"""Whether the parameter at a path (`blocks/layers/attention/q/weight`) is trained."""


def all_trained(path: str) -> bool:
    """True: no parameter is frozen."""
    return True


class Model(Seam, seam="model"):
    """Base of all model families."""

    vocab_size: Length | None = None
    """Rows of the token table; None: as many as the tokenizer has."""
    context: Length
    """The longest sequence, in tokens."""
    text_head: TextHead | None = None
    """What the model says of a text as a whole, beside what it says of its tokens: `{kind: contrastive, ...}`."""

    @abstractmethod
    def build(
        self, kernel: Kernel = Reference(), dtype: DTypeLike = "float32", loop: Loop = "unroll", remat: Remat = "none"
    ) -> nn.Module:
        """The Linen module. Parameters do not depend on the arguments: those say how it is computed."""

    @abstractmethod
    def init(self, key: jax.Array) -> dict[str, Any]:
        """A fresh parameter tree, float32. Under `jax.eval_shape` it costs nothing."""

    @abstractmethod
    def flops_per_token(
        self, length: int, dense: bool = True, scored: float = 1.0, trained: Trained = all_trained
    ) -> float:
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

    @abstractmethod
    def cache(self, rows: int, slots: int, dtype: DTypeLike = "float32") -> Cache:
        """Empty caches for `rows` sequences of up to `slots` tokens."""

    @property
    @abstractmethod
    def depth(self) -> int:
        """Layers one above another: what a loop walks along and a pipeline divides."""

    @property
    @abstractmethod
    def width(self) -> int:
        """Channels of the residual stream."""

    @property
    @abstractmethod
    def heads(self) -> int:
        """Attention heads of a layer: what a mesh's tensor axis divides."""

    @property
    @abstractmethod
    def layer_patterns(self) -> tuple[Pattern, ...]:
        """Each layer's attention pattern."""

    @property
    def adaptation(self) -> Adapter | None:
        """What is trained in place of its own weights; None: they are."""
        return None

    @property
    def room(self) -> int:
        """The longest text, in tokens: `context`, less the positions of an adapter's virtual tokens."""
        return self.context - (0 if self.adaptation is None else self.adaptation.virtual_tokens)

    def finished(self, params: Any) -> tuple["Model", Any]:
        """The model and its parameters without what serves training alone."""
        return self, params

    @property
    def period(self) -> int:
        """Layers after which patterns repeat."""
        return 1

    @property
    def idle(self) -> int:
        """Parameters that a token does not meet, such as those of experts that it is not sent to."""
        return 0

    @property
    def continues(self) -> bool:
        """Whether it scores the token that comes next, and so can write."""
        return False

    @property
    def endless(self) -> bool:
        """Whether rows longer than the context mean something to it."""
        return False

    @property
    def sequential(self) -> bool:
        """Whether a token waits for those before it, so that no mesh divides a row's tokens."""
        return False

    @property
    def fills_in(self) -> bool:
        """Whether it scores tokens that are hidden from it."""
        return False

    @property
    def judges_pairs(self) -> bool:
        """Whether it tells if a row's second segment follows its first."""
        return False

    @property
    def pooling(self) -> str:
        """How its hidden states become a text's vector where nothing else says so (see jaxgpt.ops.pooling)."""
        return "mean"

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
