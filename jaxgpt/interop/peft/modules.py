"""The modules of a transformers model that hold our parameters, by the names that PEFT's patterns are matched with."""

import re
from collections.abc import Collection, Iterable, Mapping
from functools import cache
from typing import NamedTuple

from jaxgpt.interop.name_map import NameMap, Row
from jaxgpt.interop.peft.config import Targets
from jaxgpt.spec import ConfigError
from jaxgpt.spec.errors import quote

WEIGHT = ".weight"
ALL_LINEAR = "all-linear"
HEADS = ("lm_head/", "text_head/")
"""Parts of our tree that `all-linear` leaves out."""
REPEATED = re.compile(r"(?<!\\)\)[*+{]")
"""A group that repeats in a regular expression. With a repeat inside, it can take for ever to find no match."""
MOST_REPEATS = 8
"""Of `*`, `+` and `{` in a stranger's regular expression."""


class Module(NamedTuple):
    """A kind of module: the row of its weight says what parameters of ours it is."""

    name: str
    """`h.{i}.attn.c_attn`, without the map's prefix; `{i}` stands for the layer."""
    row: Row

    @property
    def projects(self) -> bool:
        """Whether it is a projection, and no embedding or norm."""
        return all(path.endswith("/weight") for path in self.row.ours)

    @property
    def paths(self) -> tuple[str, ...]:
        """Our paths of it: one, or those of queries, keys and values where they are one of theirs."""
        return tuple(path.rpartition("/")[0] for path in self.row.ours)

    @property
    def looks_up(self) -> bool:
        """Whether it is the token table, on which LoRA may stand too."""
        return self.row.ours == ("embed/token",)

    @property
    def layered(self) -> bool:
        """Whether there is one in every layer."""
        return "{i}" in self.name

    def names(self, layers: int) -> dict[int | None, str]:
        """The name of each, by its layer; of what is there once, by None."""
        return {i: self.name.format(i=i) for i in range(layers)} if self.layered else {None: self.name}


class Modules(NamedTuple):
    """All modules with a weight of a model."""

    all: tuple[Module, ...]
    layers: int
    prefix: str
    """What stands before names in the class that an adapter was trained on: the map's prefix, or nothing."""

    @classmethod
    def of(cls, names: NameMap, paths: Iterable[str], layers: int, prefixed: bool = True) -> "Modules":
        """Those of a model with so many layers whose parameters lie at `paths`."""
        present = set(paths)
        rows = [row for row in names.rows if row.theirs.endswith(WEIGHT) and row.ours[0] in present]
        own = tuple(Module(row.theirs.removesuffix(WEIGHT), row) for row in rows)
        return cls(own, layers, names.prefix if prefixed else "")

    @property
    def projections(self) -> list[Module]:
        """What any adapter may stand on."""
        return [module for module in self.all if module.projects]

    @property
    def adaptable(self) -> list[Module]:
        """What LoRA may stand on."""
        return [module for module in self.all if module.projects or module.looks_up]

    def key(self, module: Module, name: str) -> str:
        """The whole name that patterns are matched against."""
        return name if module.row.bare else self.prefix + name

    def targeted(self, targets: Targets, module: Module) -> dict[int | None, str]:
        """Of a kind of module, those on which PEFT puts an adapter."""
        head = module.row.ours[0].startswith(HEADS) or not module.projects
        names = module.names(self.layers)
        return {i: name for i, name in names.items() if is_targeted(targets, self.key(module, name), head)}

    def named_by(self, chosen: Collection[Module]) -> list[str]:
        """The shortest ends of names that mean the chosen kinds of modules and no other; whole names where there are
        none."""
        others = [self.key(module, name) for module in self.all if module not in chosen for name in self._some(module)]
        ends = []
        for module in chosen:
            parts = module.name.rpartition("{i}.")[2].split(".")
            tails = [".".join(parts[i:]) for i in reversed(range(len(parts)))]
            fit = (end for end in tails if not any(_named((end,), other) for other in others))
            end = next(fit, None)
            ends += [self.key(module, name) for name in module.names(self.layers).values()] if end is None else [end]
        return sorted(dict.fromkeys(ends))

    def _some(self, module: Module) -> list[str]:
        return list(module.names(1).values())


def is_targeted(targets: Targets, name: str, head: bool) -> bool:
    """Whether PEFT puts an adapter on the module of that whole name; see `Targets`. `head`: `all-linear` leaves it
    out."""
    if targets.exclude and _named(targets.exclude, name):
        return False
    if is_saved(targets.saved, name):
        return False
    if isinstance(targets.modules, str):
        return not head if targets.modules.lower() == ALL_LINEAR else _named(targets.modules, name)
    return _named(targets.modules, name) and _in_layers(targets, name)


def is_saved(saved: Iterable[str], name: str) -> bool:
    """Whether a name lies in one of the modules that are saved whole."""
    return any(f".{module}." in f".{name}." for module in saved)


def by_pattern(patterns: Mapping[str, int] | Mapping[str, float], name: str, otherwise: float) -> float:
    """What `rank_pattern` or `alpha_pattern` says of a module: the first pattern that means it counts."""
    found = (value for pattern, value in patterns.items() if compiled(rf"(.*\.)?({pattern})").fullmatch(name))
    return next(found, otherwise)


def _named(patterns: str | tuple[str, ...], name: str) -> bool:
    if isinstance(patterns, str):
        return compiled(patterns).fullmatch(name) is not None
    return any(name == end or name.endswith(f".{end}") for end in patterns)


def _in_layers(targets: Targets, name: str) -> bool:
    if not targets.layers:
        return True
    stacks = targets.stacks or (r"[^.]*",)
    numbers = (compiled(rf"(.*\.)?({stack})\.(?P<layer>\d+)\..*").fullmatch(name) for stack in stacks)
    first = next(filter(None, numbers), None)
    return first is not None and int(first["layer"]) in targets.layers


@cache
def compiled(pattern: str) -> re.Pattern[str]:
    """A stranger's regular expression. Raises ConfigError for what is none, or could take for ever."""
    if REPEATED.search(pattern) or sum(pattern.count(sign) for sign in "*+{") > MOST_REPEATS:
        raise ConfigError(f"{quote(pattern)}: repeats too much for a pattern of names; list the modules")
    try:
        return re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise ConfigError(f"{quote(pattern)} is no regular expression: {error}") from None
