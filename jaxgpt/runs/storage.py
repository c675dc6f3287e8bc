"""The storage seam: how weights that a run leaves as they are lie in memory. I inputs, O outputs of a projection."""

from abc import abstractmethod
from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Any

import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict, unflatten_dict
from pydantic import Field

from jaxgpt.nn.linear import PROJECTIONS
from jaxgpt.ops.nf4_weight import NF4Weight
from jaxgpt.ops.rounded import Rounded
from jaxgpt.ops.stored import Stored, is_stored
from jaxgpt.spec import ConfigError, Seam
from jaxgpt.spec.errors import quote
from jaxgpt.spec.rules import Rule, names

Rules = Annotated[tuple[Rule, ...], Field(min_length=1)]


class Storage(Seam, seam="storage"):
    """How frozen weights lie in memory. They are computed with as ever: within a product each becomes an array."""

    @property
    def rules(self) -> tuple[str, ...]:
        """Regular expressions over paths of parameters: frozen ones in whose path one is found are stored so."""
        return ()

    @abstractmethod
    def matrix(self, w_IO: jax.Array) -> Any:
        """What is stored of one matrix (I, O): a `Stored`, where not the array itself."""

    def store(self, path: str, leaf: Any) -> Any:
        """What is stored of the frozen parameter at a path, float32 (..., I, O): the array where no rule names it. One
        matrix after another, so that little room is needed besides. What is stored so already stays as it is."""
        named = names(self.rules, path)
        if is_stored(leaf):
            like: Any = jax.eval_shape(_matrices(self), jax.ShapeDtypeStruct(leaf.shape, jnp.float32))
            if named and jax.tree_util.tree_structure(leaf) == jax.tree_util.tree_structure(like):  # type: ignore[operator]
                return leaf
            leaf = leaf.astype(jnp.float32)
        return _matrices(self)(leaf) if named else leaf

    def store_all(self, frozen: Any) -> Any:
        """A tree of frozen parameters (None: there are none), stored. Raises ConfigError for rules that name nothing
        of it, or what is no projection's weight."""
        if not self.rules:
            return frozen
        if frozen is None:
            raise ConfigError(f"storage: {self.kind} is for what is not trained, and all is; name what is trained")
        flat: Mapping[str, Any] = flatten_dict(frozen, sep="/")
        problems = [
            f"storage.leaves: no frozen parameter is named as {quote(rule)} says"
            for rule in self.rules
            if not any(names([rule], path) for path in flat)
        ]
        problems += [
            f"storage.leaves: {path} is no projection's weight; only those are stored as {self.kind}"
            for path, leaf in flat.items()
            if names(self.rules, path) and not (path.endswith("/weight") and len(leaf.shape) > 1)
        ]
        if problems:
            raise ConfigError(problems)
        return unflatten_dict({path: self.store(path, leaf) for path, leaf in flat.items()}, sep="/")


class Full(Storage):
    """As they are: float32."""

    def matrix(self, w_IO: jax.Array) -> jax.Array:
        """The array itself."""
        return w_IO


class BFloat16(Storage, kind="bfloat16"):
    """Rounded to bfloat16: half the bytes."""

    leaves: Rules = (PROJECTIONS,)
    """Regular expressions over paths of weights; those that are not frozen stay float32."""

    @property
    def rules(self) -> tuple[str, ...]:
        """`leaves`."""
        return self.leaves

    def matrix(self, w_IO: jax.Array) -> Stored:
        """The matrix rounded."""
        return Rounded(w_IO.astype(jnp.bfloat16))


class NF4(Storage, kind="nf4"):
    """Four bits a number and a scale for each 64, as bitsandbytes has them: .26 of bfloat16's bytes."""

    citation = "Dettmers et al. 2023 (QLoRA), section 3"
    double: bool = True
    """Whether scales are quantised too, to 8 bits; else they take half a bit a number, not an eighth."""
    leaves: Rules = (PROJECTIONS,)
    """Regular expressions over paths of weights; those that are not frozen stay float32."""

    @property
    def rules(self) -> tuple[str, ...]:
        """`leaves`."""
        return self.leaves

    def matrix(self, w_IO: jax.Array) -> Stored:
        """The matrix quantised."""
        return NF4Weight.of(w_IO, self.double)


@lru_cache(maxsize=16)
def _matrices(storage: Storage) -> Any:
    """`storage.matrix` of each matrix of an array (..., I, O)."""

    def each(leaf: jax.Array) -> Any:
        if leaf.ndim == 2:
            return storage.matrix(leaf)
        return jax.lax.map(each, leaf)

    return jax.jit(each)
