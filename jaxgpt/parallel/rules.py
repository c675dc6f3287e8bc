"""The sharding seam: tables from paths to mesh axes.

Everything a run holds has a path: `params/blocks/layers/attention/q/weight`, `frozen/...`, `opt_state/...`,
`gradients/...`, `ema/...`, `activations/residual`, `batch/tokens`, `carry/0/0`. A table names the axes that split it.
Tables are merged dimension by dimension, so ZeRO times Megatron is the two tables side by side, and an axis of size 1
splits nothing: one table serves every mesh.
"""

from abc import abstractmethod
from types import EllipsisType
from typing import Literal, NamedTuple

from jaxgpt.parallel.mesh import ROWS
from jaxgpt.spec import Seam

Axes = str | tuple[str, ...] | None


class Spread(NamedTuple):
    """Splits whichever dimension is the largest that divides and that nothing else splits."""

    axis: str
    skip: int = 0
    """Leading dimensions that stay whole: those of stacked layers, which a loop walks along."""


Entry = tuple[str, tuple[Axes | EllipsisType, ...] | Spread]
Table = tuple[Entry, ...]
"""(pattern, axes): the first pattern found in a path counts. `...` stands for the dimensions in front or behind."""

LAYERS = r"blocks/layers/"
COLUMNS = r"attention/[qkv]|(feed_forward|experts)/(up|gate)|lm_head"
"""Projections whose outputs Megatron splits: what adapters have for each output is split with them."""
INNER = r"attention/o|(feed_forward|experts)/down"
"""Those whose inputs are split."""
WEIGHT = r"weight(/(codes|scales|numbers))?"
"""A projection's weight, or the arrays of a stored one that have its axes."""
WHOLE: Entry = (r"^gradients/", (...,))
"""Gradients that no rule splits are summed over the devices, which is not left to the compiler."""


class Rules(Seam, seam="sharding"):
    """Base of all rule tables: which axes of the mesh split which arrays."""

    @abstractmethod
    def tables(self) -> tuple[Table, ...]:
        """The tables, which are merged dimension by dimension."""


class Replicated(Rules):
    """Every device holds everything and computes on its own rows: plain data parallelism."""

    citation = "Goyal et al. 2017"

    def tables(self) -> tuple[Table, ...]:
        """No table: nothing is split but the batch."""
        return ()


class Zero(Rules):
    """The train state split over `fsdp`. Stage 1: optimiser state; 2: gradients too; 3: parameters too (FSDP)."""

    citation = "Rajbhandari et al. 2020 (ZeRO), section 5"
    stage: Literal[1, 2, 3] = 3

    def tables(self) -> tuple[Table, ...]:
        """Arrays of the stage's part of the train state are split along their largest dimension."""
        roots = "|".join(("opt_state", "ema", "gradients", "params|frozen")[: self.stage + 1])
        few = (r"/weight/(nested|offset)$", (...,))  # of a stored weight: a number for each 16,384, which all need
        in_layers = (rf"^({roots})/.*{LAYERS}", Spread("fsdp", skip=1))
        return ((few, in_layers, (rf"^({roots})/", Spread("fsdp")), WHOLE),)


class Megatron(Rules):
    """Matrices split over `tensor`, columns then rows, so that a sublayer needs one sum; the vocabulary likewise."""

    citation = "Shoeybi et al. 2019 (Megatron-LM), section 3; Korthikanti et al. 2022, section 4.2"
    sequence_norms: bool = False
    """Whether tokens are split over `tensor` between sublayers, where norms and dropout are (sequence parallelism)."""

    def tables(self) -> tuple[Table, ...]:
        """One table for the matrices' parameters and the named activations."""
        between: Axes = ("sequence", "tensor") if self.sequence_norms else "sequence"
        return (
            (
                (rf"({COLUMNS})/adapter/(b|magnitude|scale|bias)$", (..., "tensor")),
                (rf"({INNER})/adapter/a$", (..., "tensor", None)),
                (rf"({INNER})/adapter/scale$", (..., "tensor")),
                (r"(^|/)adapter/", (...,)),  # small, whatever they are named
                (r"embed/token$", (..., "tensor", None)),
                (rf"(attention/[qkv]|feed_forward/(up|gate)|lm_head)/({WEIGHT}|bias)$", (..., "tensor")),
                (rf"(attention/o|feed_forward/down)/{WEIGHT}$", (..., "tensor", None)),
                (r"experts/(up|gate)(/weight)?$", (..., "tensor")),
                (r"experts/down(/weight)?$", (..., "tensor", None)),
                (r"^activations/residual$", (ROWS, between, None)),
                (r"^activations/sublayer$", (ROWS, "sequence", None)),
                (r"^activations/heads$", (ROWS, "tensor", "sequence", None)),
                (r"^activations/(inner|logits)$", (ROWS, "sequence", "tensor")),
                (r"^activations/vocabulary_gradient$", ("tensor", None)),
            ),
        )


class Experts(Rules):
    """Experts split over `expert`; tokens travel to theirs and back."""

    citation = "Lepikhin et al. 2021 (GShard), section 3; Fedus et al. 2022 (Switch), section 3"

    def tables(self) -> tuple[Table, ...]:
        """Every leaf below `experts` leads with E, behind the layers."""
        return (
            (
                (rf"{LAYERS}.*experts/", (None, "expert", ...)),
                (r"experts/", ("expert", ...)),
                (r"^activations/experts$", ("expert", ("data", "fsdp"), ...)),
            ),
        )


class Stages(Rules):
    """Layers split over `pipeline`."""

    citation = "Huang et al. 2019 (GPipe); Narayanan et al. 2021, section 2.2"

    def tables(self) -> tuple[Table, ...]:
        """One table that splits the stacked layers, and the buffers between stages, by stage."""
        return (((LAYERS, ("pipeline", ...)), (r"^activations/stages$", ("pipeline", ROWS, "sequence", None))),)


class Product(Rules):
    """Several rule tables at once, as `of: [megatron, zero]`."""

    of: tuple[Rules, ...]

    def tables(self) -> tuple[Table, ...]:
        """The tables of all its rules, one after another."""
        return tuple(table for rules in self.of for table in rules.tables())


class Standard(Rules):
    """Stages x experts x Megatron x ZeRO-3: each axis of the mesh does what it is named for."""

    citation = "Rajbhandari et al. 2020 (ZeRO), section 5; Shoeybi et al. 2019 (Megatron-LM), section 3"
    sequence_norms: bool = False
    """Whether norms and dropout are computed on tokens that are split over `tensor`, as in Megatron."""

    def tables(self) -> tuple[Table, ...]:
        """The tables of Stages, Experts, Megatron and Zero."""
        return Product(of=(Stages(), Experts(), Megatron(sequence_norms=self.sequence_norms), Zero())).tables()


BATCH: tuple[Table, ...] = (
    (
        (r"^(batch|carry)/", (ROWS, ...)),
        (r"^activations/(residual|sublayer)$", (ROWS, "sequence", None)),
        (r"^activations/heads$", (ROWS, None, "sequence", None)),
        (r"^activations/(inner|logits)$", (ROWS, "sequence", None)),
        (r"^activations/slots$", (ROWS, ...)),
        (r"_gradient$", (...,)),
    ),
    ((r"^batch/", (None, "sequence", ...)),),
)
"""Rows and, in arrays that have them, tokens, whatever the rules."""
