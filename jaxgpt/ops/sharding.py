"""Constrained shardings: a model says what a value is; whoever runs it on a mesh may say where it lies.

The model calls `constrain(x_BTD, "residual")`, which is `x_BTD` itself unless the program is being traced under
`constraining`. So models know no mesh, and activations have a path in the rule table as parameters have
(`activations/residual`).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

import jax
from jax.sharding import AbstractMesh, Mesh, PartitionSpec


class Placement(NamedTuple):
    """Where the values of a program lie."""

    mesh: Mesh | AbstractMesh
    spec: Callable[[str, tuple[int, ...]], PartitionSpec | None]
    """Path and shape of a value to its axes; None: the compiler decides."""
    token_shards: int = 1
    """Parts that the tokens of a row are split into somewhere. Where more than 1, tokens must not be merged with rows
    into one axis, because that axis could no longer be split."""

    def size(self, axis: str) -> int:
        """Devices along an axis; 1 for one that the mesh lacks."""
        return dict(self.mesh.shape).get(axis, 1)


_CURRENT: ContextVar[Placement | None] = ContextVar("placement", default=None)


def placement() -> Placement | None:
    """The placement of the program being traced; None where nobody said: on one device."""
    return _CURRENT.get()


@contextmanager
def constraining(placement: Placement | None) -> Iterator[None]:
    """Functions traced inside put their named values where `placement` says."""
    token = _CURRENT.set(placement)
    try:
        yield
    finally:
        _CURRENT.reset(token)


def constrain(x: jax.Array, name: str) -> jax.Array:
    """`x`, laid out as the rules say for `activations/<name>`."""
    return _put(x, f"activations/{name}")


def constrain_tree(tree: Any, root: str) -> Any:
    """A tree of arrays, each laid out as the rules say for `<root>/<its path>`."""
    if placement() is None:
        return tree
    return jax.tree_util.tree_map_with_path(lambda path, x: _put(x, f"{root}/{path_name(path)}"), tree)


def path_name(path: tuple[Any, ...]) -> str:
    """`blocks/layers/attention/q/weight` for a path of a pytree."""
    return "/".join(str(getattr(part, "key", getattr(part, "name", getattr(part, "idx", part)))) for part in path)


def token_shards() -> int:
    """Parts that the tokens of a row are split into in the program being traced; 1 on one device."""
    current = placement()
    return 1 if current is None else current.token_shards


def one_device() -> bool:
    """Whether the program being traced is known to run on one device; where nobody said, its arrays may be split."""
    current = placement()
    return current is not None and current.mesh.size == 1


def platform() -> str:
    """`cpu`, `gpu` or `tpu`: that of the devices which a program is traced for, at hand or not; else the default."""
    current = placement()
    if current is None or isinstance(current.mesh, AbstractMesh):
        return jax.default_backend()
    return str(current.mesh.devices.flat[0].platform)


def _put(x: jax.Array, path: str) -> jax.Array:
    current = placement()
    spec = None if current is None else current.spec(path, x.shape)
    if current is None or spec is None:
        return x
    return jax.lax.with_sharding_constraint(x, jax.sharding.NamedSharding(current.mesh, spec))
