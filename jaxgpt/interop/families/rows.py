"""Rows of name maps that come in pairs, as all projections and layer norms have them: a weight and a bias."""

from jaxgpt.interop.name_map import Row

LAYER = "blocks/layers"
"""Where the layers of a decoder or an encoder lie in our tree."""
QKV = tuple(f"{LAYER}/attention/{name}" for name in "qkv")
"""Projections that many families store as one."""


def dense(
    theirs: str, *ours: str, transposed: bool = True, blocks: int = 1, paired: int = 0, bare: bool = False
) -> tuple[Row, Row]:
    """Weight and bias of a projection, of several of ours where they are one of theirs; see `Row` for the rest."""
    weights, biases = (tuple(f"{path}/{kind}" for path in ours) for kind in ("weight", "bias"))
    weight = Row(f"{theirs}.weight", weights, transposed=transposed, bare=bare, blocks=blocks, paired=paired)
    return weight, Row(f"{theirs}.bias", biases, bare=bare, blocks=blocks, paired=paired)


def norm(theirs: str, ours: str, bare: bool = False) -> tuple[Row, Row]:
    """Scale and bias of a layer norm."""
    return Row(f"{theirs}.weight", (f"{ours}/scale",), bare=bare), Row(f"{theirs}.bias", (f"{ours}/bias",), bare=bare)
