"""Semantic textual similarity: do vectors order pairs of texts as people do?

SimCSE's protocol (Gao et al. 2021, appendix B): Spearman's correlation of cosines and scores, times 100, no regression.
"""

from collections.abc import Mapping
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from jaxgpt.evals.measured import Measured, of_rows
from jaxgpt.evals.ranking import cosine_pairs, unit_rows
from jaxgpt.evals.vectors import Encode, encode_once
from jaxgpt.ops.contrastive import uniformity
from jaxgpt.ops.metrics.correlation import spearman
from jaxgpt.spec import ConfigError
from jaxgpt.text.corpora.columns import ScoredPairs, scored_pairs
from jaxgpt.text.corpora.formats import endings, format_of

ALIKE, TOP = 4.0, 5.0
"""Scores of pairs that say the same, on a scale from 0 to 5 (Gao et al. 2021, section 3)."""
SAMPLE = 4096
"""Most texts that uniformity is taken of: it looks at every pair of them."""


def subset_files(path: Path) -> list[Path]:
    """A file alone, or every file in a folder that may hold columns (`Format`), in order. Raises ConfigError where a
    folder holds none."""
    if not path.is_dir():
        return [path]
    files = sorted(file for file in path.iterdir() if _has_columns(file) and file.is_file())
    if not files:
        raise ConfigError(f"{path}: holds no {endings(columns=3)} file")
    return files


def read_subsets(path: Path) -> dict[str, ScoredPairs]:
    """The pairs of each of `subset_files`, by its name without the ending.

    Raises ConfigError as `scored_pairs` does, and for two files of one name.
    """
    subsets: dict[str, ScoredPairs] = {}
    for file in subset_files(path):
        form = format_of(file)
        name = file.stem[len(form.prefix) if form else 0 :]
        if name in subsets:
            raise ConfigError(f"{file}: another file is named '{name}' too; rename one")
        subsets[name] = scored_pairs(file)
    return subsets


def _has_columns(file: Path) -> bool:
    form = format_of(file)
    return form is not None and not form.one_column


def sts(encode: Encode, subsets: Mapping[str, ScoredPairs], name: str = "sts") -> Measured:
    """`NAME/subset/SUBSET` of each subset; `NAME/all`, of all pairs in one ranking, which SimCSE reports;
    `NAME/mean` of the subsets and `NAME/weighted_mean`, by their pairs, as others do. Spearman times 100; NaN for
    vectors all alike.

    With them `NAME/uniformity` of the distinct texts (of SAMPLE drawn with a fixed seed, where there are more) and, if
    some score is 4 to 5 and none above, `NAME/alignment` of those pairs (Wang & Isola 2020).
    Raises ConfigError for a subset in which all scores are equal.
    """
    for each, subset in subsets.items():
        if len(np.unique(subset.scores)) < 2:
            raise ConfigError(f"sts: subset '{each}' orders nothing: it has no two different scores")
    columns = [column for subset in subsets.values() for column in (subset.first, subset.second)]
    vectors_UD, index = encode_once(encode, *columns)
    first_N, second_N = np.concatenate(index[::2]), np.concatenate(index[1::2])
    cosine_N = cosine_pairs(vectors_UD[first_N], vectors_UD[second_N])
    score_N = np.concatenate([subset.scores for subset in subsets.values()])
    subset_N = np.repeat(np.arange(len(subsets)), [len(subset.scores) for subset in subsets.values()])
    names = [
        *(f"{name}/subset/{each}" for each in subsets),
        *(f"{name}/{what}" for what in ("all", "mean", "weighted_mean")),
    ]
    alike_N = score_N >= ALIKE
    apart_N = np.zeros(0)
    if alike_N.any() and score_N.max() <= TOP:
        names.append(f"{name}/alignment")
        a_ND, b_ND = (unit_rows(vectors_UD[rows]) for rows in (first_N, second_N))
        apart_N = np.square(a_ND - b_ND).sum(-1)

    def of(index: np.ndarray) -> list[float]:
        own = [index[subset_N[index] == number] for number in range(len(subsets))]
        each = [100 * spearman(cosine_N[rows], score_N[rows]) for rows in own]
        together = 100 * spearman(cosine_N[index], score_N[index]) if len(own) > 1 else each[0]
        figures = [*each, together, float(np.mean(each)), float(np.average(each, weights=[*map(len, own)]))]
        alike = index[alike_N[index]]
        return [*figures, *([float(apart_N[alike].mean()) if len(alike) else np.nan] if len(apart_N) else [])]

    if len(vectors_UD) > SAMPLE:
        vectors_UD = np.random.default_rng(0).choice(vectors_UD, SAMPLE, replace=False)
    facts = {f"{name}/pairs": len(score_N), f"{name}/uniformity": float(uniformity(jnp.asarray(vectors_UD)))}
    pairs = [(each, *row) for each, subset in subsets.items() for row in zip(*subset, strict=True)]
    rows = [
        {"subset": each, "texts": [a, b], "score": float(score), "cosine": float(cosine)}
        for (each, a, b, score), cosine in zip(pairs, cosine_N, strict=True)
    ]
    return Measured(tuple(names), len(score_N), of_rows(len(score_N), of), {}, facts, rows)
