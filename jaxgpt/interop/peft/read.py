"""A PEFT folder, read for a model: the model with the adapter, and the parameters that are the adapter's own."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict

from jaxgpt.interop.families.table import by_model
from jaxgpt.interop.json_object import read_object
from jaxgpt.interop.name_map import NameMap
from jaxgpt.interop.peft.config import CONFIG, WEIGHTS, IA3Config, LoraConfig, PeftConfig, VirtualConfig, read_config
from jaxgpt.interop.peft.ia3 import read_ia3
from jaxgpt.interop.peft.lora import Base, read_lora
from jaxgpt.interop.peft.modules import Modules
from jaxgpt.interop.peft.saved import (
    OUTPUT,
    TABLE,
    WRAPPED,
    drop_copies,
    read_saved,
    read_token_rows,
    with_heads,
)
from jaxgpt.interop.peft.tensors import Leaves, read_rows
from jaxgpt.interop.peft.virtual import TENSOR, read_virtual
from jaxgpt.interop.pickles import refuse_pickle
from jaxgpt.interop.safetensors import read_tensors
from jaxgpt.interop.tensors import Tensor
from jaxgpt.models import Model
from jaxgpt.spec import ConfigError, JaxgptError
from jaxgpt.spec.errors import quote

PREFIXES = ("base_model.model.", "base_model.")
"""What stands before names of the base's modules; the shorter where an adapter puts tokens in front."""


def read_adapter(folder: Path, model: Model, base: Base) -> tuple[Model, Leaves]:
    """The model with the adapter in a folder, and its own leaves, float32: those beside the base's, of which `base`
    gives one by its path, and those in their place.

    Raises ConfigError with one line for every key that cannot be followed, for tensors that do not fit this model with
    one for all, and for the first that is not finite.
    """
    config = read_config(folder / CONFIG)
    if not (folder / WEIGHTS).exists() and (pickle := folder / WEIGHTS.replace(".safetensors", ".bin")).exists():
        raise refuse_pickle(pickle)
    tensors = read_tensors(folder / WEIGHTS)
    try:
        return _read(config, tensors, model, base)
    except JaxgptError as error:
        more = f" (and {len(error.problems) - 1} more)" if len(error.problems) > 1 else ""
        origin = read_object(folder / CONFIG, "").get("base_model_name_or_path")
        of = f"; it was trained on {quote(origin)}" if isinstance(origin, str) else ""
        raise ConfigError(f"adapter: {folder} does not fit these weights: {error.problems[0]}{more}{of}") from None


def _read(config: PeftConfig, tensors: Mapping[str, Tensor], model: Model, base: Base) -> tuple[Model, Leaves]:
    family, own = by_model(model), flatten_dict(model.shapes(), sep="/")
    lora = config if isinstance(config, LoraConfig) else None

    def whole(path: str) -> Any:
        return base(TABLE).T if path == OUTPUT and OUTPUT not in own else base(path)

    names = family.names(model)
    given, wrapped, prefixed = _named(tensors, names)
    retied = drop_copies(given, wrapped, names, lora is not None and lora.tying, whole)
    adapted: Any = with_heads(model, names, given, retied)
    names, shapes = family.names(adapted), flatten_dict(adapted.shapes(), sep="/")
    modules = Modules.of(names, shapes, model.depth, prefixed)
    leaves: Leaves = {}
    if isinstance(config, VirtualConfig):
        adapter, leaves = read_virtual(config, given, adapted)
        adapted = adapted.evolve(adapter=adapter)
        given.pop(TENSOR)
    elif isinstance(config, IA3Config):
        scales = read_ia3(config, given, modules, shapes)
        adapted, leaves = adapted.evolve(adapter=scales.adapter), scales.leaves
        given = {name: tensor for name, tensor in given.items() if name not in scales.used}
    elif lora is not None:
        leaves |= read_token_rows(lora, names, given, base)
        read = read_lora(lora, given, modules, base, shapes)
        adapted = adapted.evolve(adapter=read.adapter)
        leaves |= read_rows(read.rows, read.tensors, flatten_dict(adapted.shapes(), sep="/"))
        given = {name: tensor for name, tensor in given.items() if name not in read.tensors}
    saved = config.saved if isinstance(config, VirtualConfig) else config.targets.saved
    biases = lora is not None and lora.bias != "none"
    replaced, missing = read_saved(names, modules, saved, biases, wrapped, given, whole, shapes)
    lines = [f"{name}: missing; modules_to_save names it" for name in missing]
    lines += [
        f"{quote(name, 200)[1:-1]}: {CONFIG} says nothing of it, or the model has no place for it" for name in given
    ]
    if lines:
        raise JaxgptError(lines)
    leaves |= replaced
    if OUTPUT in shapes and OUTPUT not in own:
        leaves.setdefault(OUTPUT, np.ascontiguousarray(whole(OUTPUT)))
    return adapted, leaves


def _named(tensors: Mapping[str, Tensor], names: NameMap) -> tuple[dict[str, Tensor], set[str], bool]:
    """Tensors by the names that the rows have; those that lay below a module's `base_layer`; and whether the file's
    names had the map's prefix. Raises JaxgptError for two of one name."""
    named: dict[str, Tensor] = {}
    wrapped, prefixed, lines = set(), False, []
    for name, tensor in tensors.items():
        short = next((name.removeprefix(prefix) for prefix in PREFIXES if name.startswith(prefix)), name)
        prefixed |= bool(names.prefix) and short.startswith(names.prefix)
        today = names.today(short).replace(WRAPPED, ".")
        if today in named:
            lines.append(f"{quote(today, 200)[1:-1]}: there twice, by two names")
        if WRAPPED in short:
            wrapped.add(today)
        named[today] = tensor
    if lines:
        raise JaxgptError(lines)
    return named, wrapped, prefixed
