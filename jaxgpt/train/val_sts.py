"""Semantic similarity while a run trains: `val/sts`, beside the loss."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from jaxgpt.disk import strict, write_json_atomic
from jaxgpt.evals.heat import heat
from jaxgpt.evals.sts import read_subsets, sts
from jaxgpt.evals.vectors import remembering
from jaxgpt.inference.encode import encode, recipe_for
from jaxgpt.ops.attention import Auto
from jaxgpt.runs.objective_run import ObjectiveRun
from jaxgpt.text import Codec
from jaxgpt.text.corpora.locate import locate

ROWS = 128
"""Texts at once: they are short, and nothing is kept for a backward pass."""


FILE = "similarity.json"
"""The file in a run's folder with the cosines of the scored pairs under its newest weights (`Heat`)."""


def similarity(run: ObjectiveRun, codec: Codec, folder: Path) -> Callable[[Any], dict[str, float]]:
    """Parameters -> `val/sts` (Spearman times 100, all pairs in one ranking), `val/alignment` and `val/uniformity` on
    the scored pairs that `eval.sts` names; nothing where it names none. Raises ConfigError for a bad file.

    Leaves FILE in `folder`. Texts are cut as in training, and become vectors as `m.encode` makes them.
    """
    if run.eval.sts is None:
        return lambda params: {}
    subsets = read_subsets(locate(run.eval.sts, "eval.sts"))
    module = run.model.build(Auto(), run.dtype)
    recipe = recipe_for(run.model, None, None)._replace(max_length=run.seq_len)

    def measure(params: Any) -> dict[str, float]:
        vectors = remembering(lambda texts: encode(module, params, codec, texts, recipe, ROWS, quiet=True))
        figures = sts(vectors, subsets).figures
        write_json_atomic(folder / FILE, strict(heat(vectors, subsets).as_json())[0])
        names = {"sts/all": "val/sts", "sts/alignment": "val/alignment", "sts/uniformity": "val/uniformity"}
        return {ours: figures[name] for name, ours in names.items() if name in figures}

    return measure
