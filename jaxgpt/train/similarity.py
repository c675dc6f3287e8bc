"""Semantic similarity while a run trains: `val/sts`, beside the loss."""

from collections.abc import Callable
from typing import Any

from jaxgpt.evals.sts import read_subsets, sts
from jaxgpt.ops.attention import Auto
from jaxgpt.text import Codec
from jaxgpt.text.locate import locate
from jaxgpt.train.encode import encode, recipe_for
from jaxgpt.train.spec import Run

ROWS = 128
"""Texts at once: they are short, and nothing is kept for a backward pass."""


def similarity(run: Run, codec: Codec) -> Callable[[Any], dict[str, float]]:
    """Parameters -> `val/sts` (Spearman times 100, all pairs in one ranking), `val/alignment` and `val/uniformity` on
    the scored pairs that `eval.sts` names; nothing where it names none. Raises ConfigError for a bad file.

    Texts are cut as in training, and become vectors as `m.encode` makes them.
    """
    if run.eval.sts is None:
        return lambda params: {}
    subsets = read_subsets(locate(run.eval.sts, "eval.sts"))
    module = run.model.build(Auto(), run.dtype)
    recipe = recipe_for(run.model, None, None)._replace(max_length=run.seq_len)

    def measure(params: Any) -> dict[str, float]:
        found = sts(lambda texts: encode(module, params, codec, texts, recipe, ROWS, quiet=True), subsets)
        kept = {"sts/all": "val/sts", "sts/alignment": "val/alignment", "sts/uniformity": "val/uniformity"}
        return {ours: found[name] for name, ours in kept.items() if name in found}

    return measure
