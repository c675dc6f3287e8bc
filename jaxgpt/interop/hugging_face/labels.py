"""Names of labels in config.json, as the classes that judge a text have them, both ways."""

from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple

from pydantic import Field

from jaxgpt.interop.hugging_face.config import Config
from jaxgpt.spec.errors import quote

MOST = 2**16
"""Labels."""
LONGEST = 1000
"""Characters of a label."""
Labels = Annotated[int, Field(gt=0, le=MOST)]
ONE_OF, NUMBER = "single_label_classification", "regression"
"""What transformers calls a softmax over labels, and one number."""


class Answer(NamedTuple):
    """What the outputs of a class stand for."""

    labels: tuple[str, ...] | None
    """Names of the outputs; None: there is one, a number."""

    @property
    def scale(self) -> tuple[float, float] | None:
        """Mean and standard deviation of what the number stands for: it is the score itself."""
        return (0.0, 1.0) if self.labels is None else None


def read_labels(config: Config) -> Answer:
    """The labels that `id2label` names by their ids from 0 on, or else as many as `num_labels` says, called LABEL_0
    and so on as transformers does. One label, or the problem type `regression`, is a number.

    Notes a problem where ids have gaps, two labels one name, or the keys contradict each other.
    """
    config.only("problem_type", None, ONE_OF, NUMBER)
    count = config("num_labels", None, Labels)
    names = _names(config, 2 if count is None else count)
    if count not in (None, len(names)):
        config.problems.append(f"num_labels: {count}, but id2label names {len(names)}; one of them is wrong")
    kind = config.content.get("problem_type")
    if (kind == ONE_OF and len(names) == 1) or (kind == NUMBER and len(names) > 1):
        config.problems.append(
            f"problem_type: '{kind}' with {len(names)} label{'s' * (len(names) > 1)} in id2label; one of them is wrong"
        )
    return Answer(None if len(names) == 1 else names)


def label_keys(labels: tuple[str, ...] | None) -> dict[str, Any]:
    """The keys of config.json for these labels; None: for a number."""
    names = labels or ("LABEL_0",)
    return {
        "num_labels": len(names),
        "id2label": {str(index): name for index, name in enumerate(names)},
        "label2id": {name: index for index, name in enumerate(names)},
        "problem_type": NUMBER if labels is None else ONE_OF,
    }


def _names(config: Config, count: int) -> tuple[str, ...]:
    """In the order of their ids; those that go by number alone where there is a problem."""
    unnamed = tuple(f"LABEL_{index}" for index in range(count))
    given = config.content.get("id2label")
    if given is None:
        return unnamed
    if not isinstance(given, Mapping) or not 0 < len(given) <= MOST:
        config.problems.append(f"id2label: {quote(given)}, expected names by their ids, as {{'0': 'no', '1': 'yes'}}")
        return unnamed
    by_id = {str(key): name for key, name in given.items()}
    names = tuple(by_id.get(str(index)) for index in range(len(given)))
    wrong = [name for name in by_id.values() if not isinstance(name, str) or len(name) > LONGEST]
    problem = None
    if wrong:
        problem = f"{quote(wrong[0])} is no name; expected text of up to {LONGEST} characters"
    elif None in names:
        problem = f"its ids are {', '.join(map(quote, list(by_id)[:8]))}; expected 0 to {len(given) - 1} without a gap"
    elif len(set(names)) < len(names):
        twice = next(name for index, name in enumerate(names) if name in names[:index])
        problem = f"{quote(twice)} stands there twice; a label's name tells it from the others"
    if problem is None:
        return tuple(str(name) for name in names)
    config.problems.append(f"id2label: {problem}")
    return tuple(f"LABEL_{index}" for index in range(len(given)))
