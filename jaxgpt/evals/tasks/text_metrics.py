"""How close written texts are to right ones: exact match, F1, BLEU, ROUGE."""

import re
import string
from collections import Counter
from collections.abc import Sequence

import numpy as np

from jaxgpt.evals.measured import Weigh, means, of_sums
from jaxgpt.spec import ConfigError

ROUGES = ("rouge1", "rouge2", "rougeL")


def normal(text: str) -> str:
    """Small letters, without punctuation and articles, single spaces (Rajpurkar et al. 2016, SQuAD)."""
    text = "".join(letter for letter in text.lower() if letter not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


def exact(written: str, right: str) -> float:
    """1 where both are the same but for case, punctuation and articles."""
    return float(normal(written) == normal(right))


def f1(written: str, right: str) -> float:
    """The harmonic mean of precision and recall over words (Rajpurkar et al. 2016, SQuAD)."""
    ours, theirs = normal(written).split(), normal(right).split()
    if not ours or not theirs:
        return float(ours == theirs)
    common = sum((Counter(ours) & Counter(theirs)).values())
    return 2 * common / (len(ours) + len(theirs))


def best(metric: str, texts: Sequence[str], answers: Sequence[Sequence[str]]) -> np.ndarray:
    """float64 (N,): `exact_match` or `f1` of each text with the right answer that is nearest to it."""
    of = exact if metric == "exact_match" else f1
    return np.array([max(of(text, answer) for answer in right) for text, right in zip(texts, answers, strict=True)])


def bleu(texts: Sequence[str], answers: Sequence[Sequence[str]]) -> Weigh:
    """BLEU of all texts together, 0 to 100, as sacrebleu computes it with its defaults (Papineni et al. 2002; Post
    2018): of counts that add up over texts. Raises ConfigError where sacrebleu is not installed."""
    try:
        from sacrebleu.metrics import BLEU
    except ImportError:
        raise ConfigError("metrics: bleu needs sacrebleu, which is not there; pip install 'jaxgpt[eval]'") from None
    metric = BLEU(effective_order=False)
    most = max(map(len, answers))
    references = [[right[min(i, len(right) - 1)] for right in answers] for i in range(most)]
    counts = np.array(metric._extract_corpus_statistics(list(texts), references), float)

    def of(sums_SR: np.ndarray) -> list[np.ndarray]:
        score = metric._compute_score_from_stats
        return [np.array([score([int(value) for value in column]).score for column in sums_SR.T])]

    return of_sums(counts, of)


def rouge(texts: Sequence[str], answers: Sequence[Sequence[str]]) -> Weigh:
    """F of ROUGE-1, ROUGE-2 and ROUGE-L with stemming, 0 to 100, means over texts, and the mean of the three (Lin
    2004), by rouge-score. Raises ConfigError where that is not installed."""
    try:
        from rouge_score.rouge_scorer import RougeScorer
    except ImportError:
        raise ConfigError("metrics: rouge needs rouge-score, which is not there; pip install 'jaxgpt[eval]'") from None
    scorer = RougeScorer(list(ROUGES), use_stemmer=True)
    values = []
    for text, right in zip(texts, answers, strict=True):
        scores = scorer.score_multi(list(right), text)
        each = [100 * scores[name].fmeasure for name in ROUGES]
        values.append([*each, sum(each) / len(each)])
    return means(values)
