"""How the texts of a row become rows of tokens, and what they are labelled with: what an objective asks of its data."""

from typing import Literal, NamedTuple

from jaxgpt.text.batches.data import Data

Arrangement = Literal["apart", "joined", "both_orders", "candidates"]
"""`apart`: a row of tokens for every text. `joined`: one for the one or two texts together. `both_orders`: the first
text and the second in `tokens`, the second and the first in `tokens_1`. `candidates`: the first text with each of the
others."""
Target = Literal["class", "number", "index"]
"""What a row's label is: one of several names, a score, or the place of the right candidate, from 0."""


class RowPlan(NamedTuple):
    """What an objective asks of its batches."""

    words: bool | None = None
    """Whether batches number their words (True) or tokens (False) too."""
    arrangement: Arrangement = "apart"
    target: Target | None = None


PLAIN = RowPlan()
"""Texts as they are, each apart and without labels."""


def sequences(arrangement: Arrangement, data: Data) -> int:
    """How many rows of tokens a row of texts becomes: 0 where rows are windows, and where they are candidates whose
    number only the data tell."""
    if not data.texts or arrangement == "apart":
        return data.texts
    if arrangement == "candidates":
        return data.candidates or (data.texts - 1 if data.texts > 2 else 0)
    return 2 if arrangement == "both_orders" else 1


def row_problems(plan: RowPlan, data: Data, objective: str) -> list[str]:
    """Why data cannot be read as the objective asks, a line each."""
    problems, texts = [], data.texts
    if plan.arrangement != "apart" and not texts:
        problems.append(f"objective {objective} reads rows of texts; say with data.columns which of a record's")
    elif plan.arrangement == "joined" and texts > 2:
        problems.append(f"objective {objective} reads one text or two a row; data.columns has {texts}")
    elif plan.arrangement == "both_orders" and texts != 2:
        problems.append(f"objective {objective} compares two texts a row; data.columns has {texts}")
    elif plan.arrangement == "candidates" and texts < 2:
        problems.append(
            f"objective {objective} reads a text and candidates to go on with; name both in data.columns, the "
            "candidates as columns or as one field that holds a list"
        )
    if plan.target is not None and data.label is None:
        problems.append(f"objective {objective} needs labels; say with data.label which column or field has them")
    if plan.target is None and data.label is not None:
        problems.append(f"data.label: objective {objective} reads no labels; leave it out")
    if data.balance != "none" and plan.target != "class":
        problems.append(f"data.balance: objective {objective} has no classes to balance; leave it out")
    if data.candidates is not None and plan.arrangement != "candidates":
        problems.append(f"data.candidates: objective {objective} reads none; leave it out")
    return problems
