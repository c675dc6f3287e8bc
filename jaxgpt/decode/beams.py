"""Beam search: of all that is written after a prompt, the likeliest texts that a search of limited width finds."""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import jax
import numpy as np
from pydantic import ConfigDict, Field

from jaxgpt.decode.beam_loop import NEVER, Beams, Inputs, Search, search
from jaxgpt.decode.prompts import GRAIN, MOST_NEW, checked, drawable, no_numbers, padded
from jaxgpt.models import Model
from jaxgpt.nn.stack import unstack
from jaxgpt.ops.attention import Auto
from jaxgpt.spec import ConfigError, Spec
from jaxgpt.spec.arguments import whole

SEARCH = jax.jit(search, static_argnums=(0, 1))


class BeamSearch(Spec):
    """How wide is searched, and what a text is worth: its log-probability over a penalty of its n tokens, the one that
    ends it included. Longer texts are less likely, so without penalty (alpha 0) short ones win.

    Only the `width` likeliest candidates of a step may end, as in transformers' `generate`; what is cut at the last
    token counts as ended.
    """

    model_config = ConfigDict(strict=True)

    width: int = Field(default=4, ge=1, le=1024)
    """Texts of a row that are written side by side: `num_beams`. At 1 the search is greedy."""
    penalty: Literal["length", "gnmt"] = "length"
    """`length`: n^alpha, transformers' `length_penalty`. `gnmt`: ((5 + n) / 6)^alpha (Wu et al. 2016, equation 14)."""
    alpha: float = Field(default=1.0, ge=-10, le=10)
    early_stopping: Literal["heuristic", "never", "full", "best"] = "heuristic"
    """When a row's search ends before its last token. `never`: once no living text can get among the `width` best that
    have ended, whatever follows. `heuristic`: once the best living one would not, if it ended here; transformers'
    False, its default. `full`: once `width` texts have ended; its True. `best`: once no living text can get before
    the best that has ended, as tensor2tensor's `stop_early`: only the first is then the search's own."""
    min_new: int = Field(default=0, ge=0, le=MOST_NEW)
    """No text ends before so many new tokens."""
    no_repeat_ngram_size: int | None = Field(default=None, ge=1, le=64)
    """No text holds the same so many tokens in a run twice, its prompt included (Paulus et al. 2017, section 2.5)."""


class Hypothesis(NamedTuple):
    """A text that the search found."""

    ids: list[int]
    """New tokens, without the one that ends it."""
    score: float
    """`log_prob` over the penalty."""
    log_prob: float
    """Nats, of the new tokens and the one that ends it."""
    ended: bool
    """Whether it ends; else it was cut after `max_new` tokens."""


def beam_search(
    model: Model,
    params: Any,
    prompts: Sequence[Sequence[int]],
    max_new: int,
    beams: BeamSearch = BeamSearch(),
    n_best: int = 1,
    ends: Sequence[int] = (),
    dtype: str = "float32",
    has_text: np.ndarray | None = None,
) -> list[list[Hypothesis]]:
    """Up to `n_best` texts for each prompt, best first; fewer where the vocabulary has no more.

    `ends` are the ids that end a text; `has_text` says which ids may be written, as for `generate`. A row's texts do
    not depend on the other rows. Prompt and new tokens must fit the context, unless the model is endless.

    Raises ConfigError for a prompt that cannot be continued, more new tokens than the context holds, or an `n_best`
    above the width, and JaxgptError where the model computes NaN or infinity.
    """
    max_new = whole("max_new", max_new, 1, MOST_NEW)
    n_best = whole("n_best", n_best, 1, beams.width)
    rows = checked(model, prompts)
    longest = max(map(len, rows), default=0)
    if not model.endless and longest + max_new > model.room:
        raise ConfigError(
            f"max_new: {max_new} after a prompt of {longest} tokens exceeds the model's {model.room}; lower it"
        )
    if not rows:
        return []
    model, params = model.finished(params)
    tokens_BP, lengths_B = padded(rows)
    most = -(-max_new // GRAIN) * GRAIN
    module = model.build(Auto(), dtype)
    slots = tokens_BP.shape[1] + int(module.spec.embedded_tokens) + most
    rules = beams.penalty, beams.early_stopping, tuple(sorted({*ends})), most, beams.no_repeat_ngram_size or 0
    program = Search(module, beams.width, *rules)
    known = drawable(model, has_text)
    inputs = Inputs(unstack(params), np.float32(beams.alpha), np.int32(max_new), known, np.int32(beams.min_new))
    found, finite = jax.device_get(SEARCH(program, -(-slots // GRAIN) * GRAIN, inputs, tokens_BP, lengths_B))
    if not finite:
        raise no_numbers("beam search", dtype)
    return [_read(Beams(*row), ends)[:n_best] for row in zip(*found, strict=True)]


def _read(row: Beams, ends: Sequence[int]) -> list[Hypothesis]:
    """One row's texts, from arrays without B."""
    out: list[Hypothesis] = []
    for tokens_N, score, log_prob, length in zip(*row, strict=True):
        ended = int(tokens_N[length - 1]) in ends
        if score > NEVER:
            out.append(Hypothesis(tokens_N[: length - ended].tolist(), float(score), float(log_prob), ended))
    return out
