"""PEFT's IA3 tensors as parameters of our adapter, both ways: (O, 1) where outputs are scaled, (1, I) where inputs are.

Ours are (L, O) and (L, I). A layer without a scale, where others have one, gets ones, and so does a part of a fused
module.
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from jaxgpt.interop.name_map import Row
from jaxgpt.interop.peft.config import IA3Config
from jaxgpt.interop.peft.modules import Module, Modules, compiled
from jaxgpt.interop.peft.tensors import Leaves, constant, read_rows, write_rows
from jaxgpt.interop.tensors import Tensor
from jaxgpt.peft import IA3
from jaxgpt.spec import ConfigError
from jaxgpt.spec.rules import names

SCALE = "ia3_l"


class Scales(NamedTuple):
    """IA3 as read: the adapter, its leaves, and the names of the tensors that they were."""

    adapter: IA3
    leaves: Leaves
    used: set[str]


def read_ia3(config: IA3Config, tensors: Mapping[str, Tensor], modules: Modules, shapes: Mapping[str, Any]) -> Scales:
    """The adapter that a configuration and tensors are. Raises ConfigError where it stands on what has none here, and
    JaxgptError for tensors that are missing or misshaped. `shapes`: those of the base's leaves by path."""
    rows: list[Row] = []
    wanted: dict[str, Tensor] = {}
    sizes: dict[str, Tensor] = {}
    targets: list[str] = []
    inputs: list[str] = []
    for module in modules.all:
        at = modules.targeted(config.targets, module)
        if not module.layered:
            at = {i: name for i, name in at.items() if f"{name}.{SCALE}" in tensors}
        if not at:
            continue
        if not module.projects:
            raise ConfigError(f"target_modules: {module.name} is no projection; adapters stand on those alone")
        kinds = {_is_feedforward(config, modules.key(module, name)) for name in at.values()}
        if len(kinds) > 1 or (kinds == {True} and len(module.paths) > 1):
            raise ConfigError(
                f"feedforward_modules: not followed for {module.name}, whose inputs or outputs are one here"
            )
        of_input = kinds.pop()
        rows.append(_row(module, of_input))
        for path in module.paths:
            lead, size = shapes[f"{path}/weight"].shape[:-2], shapes[f"{path}/weight"].shape[-2 if of_input else -1]
            sizes[f"{path}/adapter/scale"] = constant(1, *lead, 1, size)
        shape = _shape(module, of_input, shapes)
        for i, name in module.names(modules.layers).items():
            tensor = tensors.get(f"{name}.{SCALE}") if i in at else constant(1, *shape)
            if tensor is not None:
                wanted[f"{name}.{SCALE}"] = tensor
        targets += module.paths
        inputs += module.paths if of_input else ()
    if not rows:
        raise ConfigError("target_modules: names no projection of these weights")
    adapter = IA3(targets=tuple(map(_exactly, targets)), feed_forward=tuple(map(_exactly, inputs)))
    leaves = {path: leaf.squeeze(-2) for path, leaf in read_rows(rows, wanted, sizes).items()}
    return Scales(adapter, leaves, {*wanted})


def write_ia3(adapter: IA3, modules: Modules, leaves: Mapping[str, np.ndarray]) -> tuple[dict[str, Any], Leaves]:
    """Keys of the configuration, and tensors. `leaves`: all parameters of the model, by path. Raises ConfigError for
    an input of a fused module, of which a part alone is scaled."""
    chosen, inputs = [], []
    tensors = Leaves()
    for module in modules.projections:
        parts = [path for path in module.paths if f"{path}/adapter/scale" in leaves]
        if not parts:
            continue
        of_input = {names(adapter.feed_forward, path) for path in parts}
        if len(module.paths) > 1 and of_input != {False}:
            raise ConfigError(
                f"model.adapter.feed_forward: PEFT scales inputs of {module.name} for queries, keys and values at "
                "once; leave it out"
            )
        chosen.append(module)
        inputs += [module] * of_input.pop()
        own = {path: _scale(leaves, path) for path in module.paths}
        tensors |= write_rows([_row(module, module in inputs)], {f"{path}/adapter/scale": own[path] for path in own})
    config = {
        "target_modules": modules.named_by(chosen),
        "feedforward_modules": modules.named_by(inputs),
        "fan_in_fan_out": not all(module.row.transposed for module in chosen),
    }
    return config, tensors


def _scale(leaves: Mapping[str, np.ndarray], path: str) -> np.ndarray:
    """(L, 1, size), of ones where the path has none."""
    own = leaves.get(f"{path}/adapter/scale")
    weight = leaves[f"{path}/weight"]
    return np.ones((*weight.shape[:-2], 1, weight.shape[-1]), np.float32) if own is None else own[..., None, :]


def _row(module: Module, of_input: bool) -> Row:
    ours = tuple(f"{path}/adapter/scale" for path in module.paths)
    if of_input:
        return Row(f"{module.name}.{SCALE}", ours)
    return Row(f"{module.name}.{SCALE}", ours, transposed=True, blocks=module.row.blocks, paired=module.row.paired)


def _shape(module: Module, of_input: bool, shapes: Mapping[str, Any]) -> tuple[int, int]:
    if of_input:
        return 1, shapes[module.row.ours[0]].shape[-2]
    return sum(shapes[path].shape[-1] for path in module.row.ours), 1


def _is_feedforward(config: IA3Config, name: str) -> bool:
    if isinstance(config.feedforward, str):
        return compiled(config.feedforward).fullmatch(name) is not None
    return any(name.endswith(end) for end in config.feedforward)


def _exactly(path: str) -> str:
    return f"^{re.escape(path)}$"
