"""What an adapter's file holds whole: modules that were trained themselves, biases, single rows of a token table.

They stand in place of the base's leaves. A row of a name map is read over what the base has, so that a file may hold
some layers, or one of several parts, alone.
"""

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import numpy as np

from jaxgpt.interop.name_map import NameMap
from jaxgpt.interop.peft.config import LoraConfig
from jaxgpt.interop.peft.lora import Base
from jaxgpt.interop.peft.modules import Modules, is_saved
from jaxgpt.interop.peft.tensors import Leaves, computed, read_rows, write_rows
from jaxgpt.interop.tensors import Tensor
from jaxgpt.models import Decoder, Encoder
from jaxgpt.nn.task_head import TaskHead
from jaxgpt.spec import ConfigError
from jaxgpt.spec.errors import quote

WRAPPED = ".base_layer."
"""Part of a parameter's name where an adapter stands on its module."""
ROWS = ".token_adapter.trainable_tokens_delta"
"""The new rows themselves, whatever it is called."""
OUTS = ("score", "classifier", "classifier.out_proj")
"""Output layers of classes that judge texts."""
TABLE, OUTPUT = "embed/token", "lm_head/weight"


def drop_copies(given: dict[str, Tensor], wrapped: Collection[str], names: NameMap, tying: bool, base: Base) -> bool:
    """Drops what repeats the base's token table or output, which PEFT saves where it stands on one of them, and an
    output that repeats a table of the file. Whether there was the latter: then the two stay tied."""
    table, output = _tables(names)
    for name in {table, output} & given.keys() & set(wrapped):
        own = base(TABLE) if name == table else base(OUTPUT).T
        if np.array_equal(own, given[name].read()):
            del given[name]
    retied = tying and {table, output} <= given.keys()
    if retied and np.array_equal(given[table].read(), given[output].read()):
        del given[output]
        return True
    return False


def with_heads(model: Any, names: NameMap, given: Mapping[str, Tensor], retied: bool) -> Any:
    """The model with an output layer of its own where the file has what judges texts, and with an untied output where
    one of the two is trained; `retied`: both, as one."""
    out = next((name for name in OUTS if f"{name}.weight" in given), None)
    if out is not None and model.text_head is None:
        shape = given[f"{out}.weight"].shape
        labels = [f"LABEL_{i}" for i in range(shape[0])] if len(shape) == 2 and shape[0] > 1 else None
        head = TaskHead(labels=labels, bias=f"{out}.bias" in given, dropout=0.0, scale=None if labels else (0.0, 1.0))
        model = model.evolve(text_head=head, **({"pooler": True} if isinstance(model, Encoder) else {}))
    if isinstance(model, Decoder) and model.tied and not retied:
        table, output = _tables(names)
        if table in given or any(output and name.startswith(output.removesuffix("weight")) for name in given):
            model = model.evolve(tied=False)
    return model


def _tables(names: NameMap) -> tuple[str, str]:
    """Their names of the token table and the output; empty where there is none."""
    table, output = (next((r.theirs for r in names.rows if r.ours == (path,)), "") for path in (TABLE, OUTPUT))
    return table, output


def read_saved(
    names: NameMap,
    modules: Modules,
    saved: tuple[str, ...],
    biases: bool,
    wrapped: Collection[str],
    given: dict[str, Tensor],
    base: Base,
    shapes: Mapping[str, Any],
) -> tuple[Leaves, list[str]]:
    """Leaves that tensors replace, and the names of tensors that are missing. What is read leaves `given`.

    Read are modules that are `saved`, with `biases` those too, and what lay below a module's `base_layer`, by name.
    `shapes`: those of the model's leaves by path; `base` gives those that it has."""
    leaves: Leaves = {}
    missing = []
    for row in names.rows:
        if row.ours[0] not in shapes:
            continue
        each = {i: row.theirs.format(i=i) for i in range(modules.layers)} if "{i}" in row.theirs else {None: row.theirs}
        own = {}
        for name in each.values():
            module = name.rpartition(".")[0]
            whole = is_saved(saved, module if row.bare else modules.prefix + module)
            if name in given and (whole or name in wrapped or (biases and name.endswith(".bias"))):
                own[name] = given.pop(name)
            elif whole:
                missing.append(name)
        if own:
            below = {} if len(own) == len(each) else write_rows([row], {path: base(path) for path in row.ours})
            tensors = {name: computed(array) for name, array in below.items()} | own
            leaves |= read_rows([row], tensors, shapes)
    return leaves, missing


def read_token_rows(config: LoraConfig, names: NameMap, given: dict[str, Tensor], base: Base) -> Leaves:
    """The token table with rows of the file in it. What is read leaves `given`. Raises ConfigError for rows of
    another table, and for as many ids as there are no rows for."""
    if not config.tokens:
        return {}
    table = next(row.theirs.removesuffix(".weight") for row in names.rows if row.ours == (TABLE,))
    for name, ids in config.tokens.items():
        if name and name != table and not f"{names.prefix}{table}".endswith(f".{name}"):
            raise ConfigError(f"trainable_token_indices: {quote(name)} is no token table; there is {table}")
        if (rows := given.pop(table + ROWS, None)) is None:
            raise ConfigError(f"{table}{ROWS}: missing; trainable_token_indices names {len(ids)} rows")
        whole = np.array(base(TABLE))
        if rows.shape != (len(ids), whole.shape[1]) or max(ids, default=0) >= len(whole):
            raise ConfigError(
                f"{table}{ROWS}: shape {rows.shape} for rows {quote(list(ids))} of a table of shape {whole.shape}"
            )
        whole[list(ids)] = rows.read()
        return {TABLE: whole}
    return {}


class Saved(NamedTuple):
    """What an adapter's file is to hold whole."""

    modules: list[str]
    """Names for modules_to_save."""
    biases: bool
    """Whether there are biases of modules that are not saved whole."""
    tensors: dict[str, np.ndarray]
    """By the names of the class, a bias of a module with an adapter with `base_layer` in it."""


def write_saved(names: NameMap, modules: Modules, changed: set[str], leaves: Mapping[str, np.ndarray]) -> Saved:
    """Modules and biases of which a leaf has `changed`, by path. `leaves`: all parameters of the model. Raises
    ConfigError for a weight below an adapter."""
    if lost := sorted(changed - {path for row in names.rows for path in row.ours}):
        raise ConfigError(f"{lost[0]}: was trained, and PEFT's files have no place for it")
    ends = ("adapter/b", "adapter/scale")
    adapted = {m.name for m in modules.adaptable if any(f"{path}/{end}" in leaves for path in m.paths for end in ends)}
    touched = {row.theirs.rpartition(".") for row in names.rows if changed & {*row.ours}}
    whole = {module for module, _, kind in touched if kind == "weight"}
    if both := sorted(adapted & whole):
        raise ConfigError(f"trainable: PEFT's files hold an adapter on {both[0]} or its weight, not both")
    judges = {r.theirs.rpartition(".")[0] for r in names.rows if r.theirs.split(".")[0] == "classifier"}
    whole |= judges if whole & judges else set()
    tensors, biases = {}, False
    for row in names.rows:
        module, _, kind = row.theirs.rpartition(".")
        if row.ours[0] not in leaves or not (module in whole or changed & {*row.ours}):
            continue
        biases |= module not in whole
        for name, array in write_rows([row], {path: leaves[path] for path in row.ours}).items():
            front = "" if row.bare else names.prefix
            tensors[front + (name.replace(f".{kind}", f"{WRAPPED}{kind}") if module in adapted else name)] = array
    chosen = [module for module in modules.all if module.name in whole - judges]
    return Saved(modules.named_by(chosen) + ["classifier"] * bool(whole & judges), biases, tensors)
