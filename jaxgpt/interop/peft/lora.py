"""PEFT's LoRA tensors as parameters of our adapter, both ways. I inputs, O outputs, r rank, L layers.

Theirs are (r, I) and (O, r), one pair a module; ours (L, I, r) and (L, r, O), one pair a projection. Where queries,
keys and values are one module, so that they share A, ours do too (`fused_qkv`). What differs from layer to layer there
is one size here: lower ranks, and layers without an adapter, are filled up with zeros, which changes no output.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from jaxgpt.interop.name_map import Row
from jaxgpt.interop.peft.config import LoraConfig
from jaxgpt.interop.peft.modules import Module, Modules, by_pattern
from jaxgpt.interop.peft.tensors import Leaves, computed, constant, padded, write_rows
from jaxgpt.interop.tensors import Tensor
from jaxgpt.peft import LoRA
from jaxgpt.peft.by_rule import number_at
from jaxgpt.peft.lengths import column_norms
from jaxgpt.peft.lora import DROPPED
from jaxgpt.spec import ConfigError

A, B, BIAS, MAGNITUDE = "lora_A.weight", "lora_B.weight", "lora_B.bias", "lora_magnitude_vector"
TABLE_A, TABLE_B = "lora_embedding_A", "lora_embedding_B"
PARTS = (A, B, BIAS, MAGNITUDE, TABLE_A, TABLE_B)
Base = Callable[[str], np.ndarray]
"""A leaf of the base by its path."""


class Lora(NamedTuple):
    """LoRA as read: the adapter, the rows of its tensors, and the tensors as the rows want them."""

    adapter: LoRA
    rows: list[Row]
    tensors: dict[str, Tensor]


def rows_of(module: Module, adapter: LoRA) -> Iterator[Row]:
    """What of ours the tensors of a module are."""
    name, row = module.name, module.row
    if module.looks_up:
        yield Row(f"{name}.{TABLE_A}", ("embed/adapter/a",), transposed=True)
        yield Row(f"{name}.{TABLE_B}", ("embed/adapter/b",), transposed=True)
        return
    b, bias, magnitude = (
        tuple(f"{path}/adapter/{leaf}" for path in module.paths) for leaf in ("b", "bias", "magnitude")
    )
    yield Row(f"{name}.{A}", (f"{module.paths[0]}/adapter/a",), transposed=True)
    yield Row(f"{name}.{B}", b, transposed=True, blocks=row.blocks, paired=row.paired)
    if adapter.bias:
        yield Row(f"{name}.{BIAS}", bias, blocks=row.blocks, paired=row.paired)
    if adapter.dora:
        yield Row(f"{name}.{MAGNITUDE}", magnitude, blocks=row.blocks, paired=row.paired)


def _places(module: Module) -> tuple[str, ...]:
    """The paths by which rules name it."""
    return module.row.ours if module.looks_up else module.paths


def read_lora(
    config: LoraConfig, tensors: Mapping[str, Tensor], modules: Modules, base: Base, shapes: Mapping[str, Any]
) -> Lora:
    """The adapter that a configuration and tensors are. Raises ConfigError where it stands on what has none here.

    `shapes`: those of the base's leaves by path. Tensors that are missing are missing in the result, too.
    """
    sized = {}
    for module in modules.all:
        names = modules.targeted(config.targets, module)
        if names and module not in modules.adaptable:
            raise ConfigError(f"target_modules: {module.name} is no projection; adapters stand on those alone")
        if not module.layered and not module.looks_up:  # a head, which the class that was trained may lack
            names = {i: name for i, name in names.items() if f"{name}.{A}" in tensors}
        if names:
            sized[module] = _Sized.of(config, modules, module, names)
    if not sized:
        raise ConfigError("target_modules: names no projection of these weights")
    inside = all(path.startswith(DROPPED) for module in sized for path in _places(module))
    adapter = LoRA(
        targets=tuple(_exactly(path) for module in sized for path in _places(module)),
        rank=config.rank,
        alpha=config.alpha,
        rank_pattern={_exactly(_places(m)[0]): size.rank for m, size in sized.items() if size.rank != config.rank},
        alpha_pattern={_exactly(_places(m)[0]): size.alpha for m, size in sized.items() if size.alpha != config.alpha},
        rslora=config.rslora,
        dropout=config.dropout if inside else 0.0,
        dora=config.dora,
        bias=config.lora_bias,
        fused_qkv=any(len(module.paths) > 1 for module in sized),
    )
    whole: dict[str, Tensor] = {}
    for module, size in sized.items():
        for i, name in module.names(modules.layers).items():
            present = {part: tensors[f"{name}.{part}"] for part in PARTS if f"{name}.{part}" in tensors}
            if i not in size.scales:
                present = present or _nothing(module, adapter, i, base, shapes)
            elif all(len(present[part].shape) == 2 for part in (A, B) if part in present):
                present = _uniform(present, size, i)
            whole |= {f"{name}.{part}": tensor for part, tensor in present.items()}
    return Lora(adapter, [row for module in sized for row in rows_of(module, adapter)], whole)


class _Sized(NamedTuple):
    """The rank and scale of a kind of module, the same in all layers."""

    rank: int
    alpha: float
    ranks: dict[int | None, int]
    """What each layer's tensors have."""
    scales: dict[int | None, float]
    """What each layer's B is multiplied by, so that all have one scale."""

    @classmethod
    def of(cls, config: LoraConfig, modules: Modules, module: Module, names: Mapping[int | None, str]) -> "_Sized":
        keys = {i: modules.key(module, name) for i, name in names.items()}
        ranks = {i: int(by_pattern(config.rank_pattern, key, config.rank)) for i, key in keys.items()}
        alphas = {i: by_pattern(config.alpha_pattern, key, config.alpha) for i, key in keys.items()}
        rank = max(ranks.values())
        alpha = next(alphas[i] for i in ranks if ranks[i] == rank)
        own = scale_of(alpha, rank, config.rslora)
        return cls(rank, alpha, ranks, {i: scale_of(alphas[i], ranks[i], config.rslora) / own for i in ranks})


def scale_of(alpha: float, rank: int, rslora: bool) -> float:
    """What B·A is multiplied by."""
    return alpha / (rank**0.5 if rslora else rank)


def _uniform(present: Mapping[str, Tensor], size: _Sized, i: int | None) -> dict[str, Tensor]:
    """A layer's tensors at the rank and scale of all; those of a rank that the configuration does not give stay."""
    out = dict(present)
    if A in out and out[A].shape[0] == size.ranks[i]:
        out[A] = padded(out[A], 0, size.rank)
    if B in out and out[B].shape[1] == size.ranks[i]:
        out[B] = padded(out[B], 1, size.rank, size.scales[i])
    if BIAS in out:
        out[BIAS] = padded(out[BIAS], 0, out[BIAS].shape[0], size.scales[i])
    return out


def _nothing(module: Module, adapter: LoRA, i: int | None, base: Base, shapes: Mapping[str, Any]) -> dict[str, Tensor]:
    """What a layer without an adapter has where others have one: B of zeros, and the columns' own lengths."""
    inputs, outputs = shapes[module.row.ours[0]].shape[-2], sum(shapes[path].shape[-1] for path in module.row.ours)
    rank = int(number_at(module.paths[0], adapter.rank_pattern, adapter.rank))
    present = {A: constant(0, rank, inputs), B: constant(0, outputs, rank)}
    if adapter.bias:
        present[BIAS] = constant(0, outputs)
    if adapter.dora:
        row = Row(MAGNITUDE, module.row.ours, blocks=module.row.blocks, paired=module.row.paired)
        lengths = {path: np.asarray(column_norms(base(path)[i])) for path in module.row.ours}
        present[MAGNITUDE] = computed(write_rows([row], lengths)[MAGNITUDE])
    return present


def write_lora(
    adapter: LoRA, modules: Modules, leaves: Mapping[str, np.ndarray]
) -> tuple[dict[str, Any], Leaves, bool]:
    """Keys of the configuration, tensors, and whether separate A of queries, keys and values became one. `leaves`: all
    parameters of the model, by path.

    One A for all three is then the rows of all, and B has zeros where a part did not see them, which changes no output.
    """
    if adapter.bias and adapter.dora:
        raise ConfigError("model.adapter.bias: true with dora, which PEFT's files cannot hold; set one of them false")
    chosen = [m for m in modules.adaptable if any(f"{path}/adapter/b" in leaves for path in m.paths)]
    sizes, tensors, joined = {}, Leaves(), False
    for module in chosen:
        rank, alpha, own = _module_leaves(adapter, module, leaves)
        sizes[module] = rank, alpha
        joined |= len(module.paths) > 1 and not adapter.fused_qkv
        tensors |= write_rows(list(rows_of(module, adapter)), own)
    (rank, alpha), _ = Counter(sizes.values()).most_common(1)[0]
    patterns = {module: module.name.replace(".", r"\.").replace("{i}", r"\d+") for module in sizes}
    config = {
        "target_modules": modules.named_by(chosen),
        "r": rank,
        "lora_alpha": _whole(alpha),
        "rank_pattern": {patterns[m]: size[0] for m, size in sizes.items() if size[0] != rank},
        "alpha_pattern": {patterns[m]: _whole(size[1]) for m, size in sizes.items() if size[1] != alpha},
        "use_rslora": adapter.rslora,
        "use_dora": adapter.dora,
        "lora_bias": adapter.bias,
        "lora_dropout": adapter.dropout,
        "fan_in_fan_out": not all(module.row.transposed or module.looks_up for module in chosen),
    }
    return config, tensors, joined


def _module_leaves(adapter: LoRA, module: Module, leaves: Mapping[str, np.ndarray]) -> tuple[int, float, Leaves]:
    """Rank, alpha and leaves of a module of theirs: one A, and the rest for each of our parts."""
    if module.looks_up:
        (place,) = _places(module)
        rank = int(number_at(place, adapter.rank_pattern, adapter.rank))
        a, b = leaves["embed/adapter/a"][:, :rank], leaves["embed/adapter/b"][:rank]
        return (
            rank,
            float(number_at(place, adapter.alpha_pattern, adapter.alpha)),
            {"embed/adapter/a": a, "embed/adapter/b": b},
        )
    parts = [path for path in module.paths if f"{path}/adapter/b" in leaves]
    owners = [module.paths[0] if adapter.fused_qkv else path for path in parts]
    ranks = [int(number_at(owner, adapter.rank_pattern, adapter.rank)) for owner in owners]
    scales = [
        scale_of(number_at(owner, adapter.alpha_pattern, adapter.alpha), rank, adapter.rslora)
        for owner, rank in zip(owners, ranks, strict=True)
    ]
    first = module.paths[0]
    if owners == [first] * len(parts):
        rank, starts = ranks[0], [0] * len(parts)
        a = leaves[f"{first}/adapter/a"][..., :rank]
    else:
        rank, starts = sum(ranks), [sum(ranks[:j]) for j in range(len(ranks))]
        a = np.concatenate([leaves[f"{path}/adapter/a"][..., :r] for path, r in zip(parts, ranks, strict=True)], -1)
    own = {f"{first}/adapter/a": a}
    for path in module.paths:
        weight = leaves[f"{path}/weight"]
        lead, outputs = weight.shape[:-2], weight.shape[-1]
        b, bias = np.zeros((*lead, rank, outputs), np.float32), np.zeros((*lead, outputs), np.float32)
        if path in parts:
            j = parts.index(path)
            ratio = np.float64(scales[j] / scales[0])
            b[..., starts[j] : starts[j] + ranks[j], :] = leaves[f"{path}/adapter/b"][..., : ranks[j], :] * ratio
            bias = (leaves[f"{path}/adapter/bias"] * ratio).astype(np.float32) if adapter.bias else bias
        own[f"{path}/adapter/b"], own[f"{path}/adapter/bias"] = b, bias
        if adapter.dora:
            there = leaves.get(f"{path}/adapter/magnitude")
            own[f"{path}/adapter/magnitude"] = np.asarray(column_norms(weight)) if there is None else there
    scaled = scales[0] * (rank**0.5 if adapter.rslora else rank)
    return rank, float(scaled), own


def _whole(number: float) -> int | float:
    """As PEFT types it where it can."""
    return int(number) if number.is_integer() else number


def _exactly(path: str) -> str:
    return f"^{re.escape(path)}$"
