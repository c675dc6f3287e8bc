"""Semantic textual similarity: do vectors order pairs of texts as people do?

SimCSE's protocol (Gao et al. 2021, appendix B): Spearman's correlation of cosines and scores, times 100, no regression.
"""

from collections.abc import Mapping
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from jaxgpt.evals.ranking import cosine_pairs
from jaxgpt.evals.vectors import Encode, encode_once
from jaxgpt.ops.contrastive import alignment, uniformity
from jaxgpt.ops.metrics.correlation import spearman
from jaxgpt.spec import ConfigError
from jaxgpt.text.corpora.columns import ScoredPairs, scored_pairs
from jaxgpt.text.corpora.formats import endings, format_of

ALIKE, TOP = 4.0, 5.0
"""Scores of pairs that say the same, on a scale from 0 to 5 (Gao et al. 2021, section 3)."""
SAMPLE = 4096
"""Most texts that uniformity is taken of: it looks at every pair of them."""


def read_subsets(path: Path) -> dict[str, ScoredPairs]:
    """A file by its name without the ending, or every file in a folder that may hold columns (`Format`), in order.

    Raises ConfigError as `scored_pairs` does, and for two files of one name.
    """
    files = [path]
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if _has_columns(file) and file.is_file())
        if not files:
            raise ConfigError(f"{path}: holds no {endings(columns=3)} file")
    subsets: dict[str, ScoredPairs] = {}
    for file in files:
        form = format_of(file)
        name = file.stem[len(form.prefix) if form else 0 :]
        if name in subsets:
            raise ConfigError(f"{file}: another file is named '{name}' too; rename one")
        subsets[name] = scored_pairs(file)
    return subsets


def _has_columns(file: Path) -> bool:
    form = format_of(file)
    return form is not None and not form.one_column


def sts(encode: Encode, subsets: Mapping[str, ScoredPairs]) -> dict[str, float]:
    """`sts/subset/NAME` of each subset; `sts/all`, of all pairs in one ranking, which SimCSE reports; `sts/mean` of the
    subsets and `sts/weighted_mean`, by their pairs, as others do. Spearman times 100; NaN for vectors all alike.

    With them `sts/uniformity` of the distinct texts (of SAMPLE drawn with a fixed seed, where there are more) and, if
    some score is 4 to 5 and none above, `sts/alignment` of those pairs (Wang & Isola 2020).
    Raises ConfigError for a subset in which all scores are equal.
    """
    for name, subset in subsets.items():
        if len(np.unique(subset.scores)) < 2:
            raise ConfigError(f"sts: subset '{name}' orders nothing: it has no two different scores")
    columns = [column for subset in subsets.values() for column in (subset.first, subset.second)]
    vectors_UD, index = encode_once(encode, *columns)
    cosines = [cosine_pairs(vectors_UD[a], vectors_UD[b]) for a, b in zip(index[::2], index[1::2], strict=True)]
    scores = [subset.scores for subset in subsets.values()]
    each = [100 * spearman(*pair) for pair in zip(cosines, scores, strict=True)]
    every = np.concatenate(scores)
    figures = {f"sts/subset/{name}": value for name, value in zip(subsets, each, strict=True)}
    figures["sts/all"] = 100 * spearman(np.concatenate(cosines), every)
    figures["sts/mean"] = float(np.mean(each))
    figures["sts/weighted_mean"] = float(np.average(each, weights=[len(part) for part in scores]))
    figures["sts/pairs"] = len(every)
    if ALIKE <= every.max() <= TOP:
        first, second = (np.concatenate(index[side::2])[every >= ALIKE] for side in (0, 1))
        figures["sts/alignment"] = float(alignment(*(jnp.asarray(vectors_UD[rows]) for rows in (first, second))))
    if len(vectors_UD) > SAMPLE:
        vectors_UD = np.random.default_rng(0).choice(vectors_UD, SAMPLE, replace=False)
    figures["sts/uniformity"] = float(uniformity(jnp.asarray(vectors_UD)))
    return figures
