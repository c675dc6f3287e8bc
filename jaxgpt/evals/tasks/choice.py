"""Choosing among candidates by how likely they are after a prompt: ARC, COPA, HellaSwag, PIQA, and the like."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field

from jaxgpt.evals.measured import Measured, means
from jaxgpt.evals.model import EvalModel
from jaxgpt.evals.pairs import encode_pairs
from jaxgpt.evals.tasks.prompted import Example, Prompted, Questions, Template, fields_of, row_of, written
from jaxgpt.evals.tasks.task import find_field
from jaxgpt.spec import ConfigError
from jaxgpt.spec.errors import quote
from jaxgpt.text.corpora.columns import label_of, texts_of
from jaxgpt.text.corpora.formats import Number, Record

Scoring = Literal["sum", "per_token", "per_character", "answer_context"]
"""What a candidate is worth: its log-probability; that over its tokens (GPT-3's mean per token), or over its characters
(lm-eval's acc_norm); or that less its log-probability after `answer_context` alone, as GPT-3 does for ARC, OpenBookQA
and RACE (Brown et al. 2020, section 2.4)."""
KNOWN: Mapping[str, Sequence[str]] = {
    "prompt": ("query", "question", "context", "premise", "ctx", "goal"),
    "choices": ("choices", "endings", "options"),
    "gold": ("gold", "label", "answer"),
}
"""Names under which the parts of an item are found."""


class Chosen(Prompted):
    """Base of tasks that compare texts after one prompt."""

    scorings: Annotated[tuple[Scoring, ...], Field(min_length=1)] = ("sum", "per_token", "per_character")
    """Figures of accuracy, one for each; the first is what predictions go by."""
    answer_context: Template = "Answer:"
    """See `answer_context` of Scoring."""

    def ask(self, examples: Sequence[Example], questions: Questions, model: EvalModel) -> Measured:
        """Accuracy by each of `scorings`."""
        delimiter = written(self.delimiter)
        texts = [delimiter + choice + e.rest for e in examples for choice in e.choices]
        tokens = iter(map(len, model.codec.encode_batch(texts)))
        reserve = [max(next(tokens) for _ in e.choices) for e in examples]
        asked = questions.of(examples, model, reserve)
        contexts = [q.text for e, q in zip(examples, asked, strict=True) for _ in e.choices]
        pairs = encode_pairs(model.codec, contexts, texts)
        prior = []
        if "answer_context" in self.scorings:
            prior = encode_pairs(model.codec, [written(self.answer_context)] * len(texts), texts)
        scored = model.score([*pairs, *prior])
        log_probs = np.array([each.log_prob for each in scored[: len(pairs)]])
        by: dict[str, np.ndarray] = {
            "sum": log_probs,
            "per_token": log_probs / np.array([len(pair.continuation) for pair in pairs]),
            "per_character": log_probs / np.array([len(choice) for e in examples for choice in e.choices]),
        }
        if prior:
            by["answer_context"] = log_probs - np.array([each.log_prob for each in scored[len(pairs) :]])
        ends = np.cumsum([len(example.choices) for example in examples])[:-1]
        chosen = {name: [int(np.argmax(part)) for part in np.split(by[name], ends)] for name in self.scorings}
        gold = np.array([example.gold for example in examples])
        right = {self.figure(f"accuracy/{name}"): np.array(places) == gold for name, places in chosen.items()}
        rows = [
            row_of(
                example,
                question,
                choices=example.choices,
                label=example.gold,
                predicted=chosen[self.scorings[0]][number],
                log_probs=part.tolist(),
            )
            for number, (example, question, part) in enumerate(
                zip(examples, asked, np.split(log_probs, ends), strict=True)
            )
        ]
        facts = {self.figure("items"): len(examples)}
        return Measured(
            tuple(right), len(examples), means(np.stack([*right.values()], 1).astype(float)), right, facts, rows
        )


class Choice(Chosen):
    """The likeliest of an item's candidates after its prompt."""

    citation = "Brown et al. 2020 (GPT-3), section 2.4"
    prompt: Template | None = None
    """None: the item's query, question, context or premise, as it is there."""
    choices: str | None = None
    """The field with the list of candidates; None: found by its name, `choices` say."""
    rest: Template = ""
    """What follows the candidate, and is scored with it: the rest of a sentence with a blank, for the Children's Book
    Test (`{rest}`; Radford et al. 2019, section 3.2)."""
    gold: str | None = None
    """The field with the place of the right candidate, from 0, or with the candidate itself: a text that is one of
    them is that one, even where it could be a place. None: found by its name, `gold` say."""

    def settled(self) -> Self:
        """See `Prompted.settled`."""
        prompt, choices, gold = (
            find_field(self.file, name, KNOWN[name]) if getattr(self, name) is None else getattr(self, name)
            for name in ("prompt", "choices", "gold")
        )
        return self.evolve(prompt=prompt if self.prompt is not None else f"{{{prompt}}}", choices=choices, gold=gold)

    def fields(self) -> tuple[str, ...]:
        """The prompt's, the candidates' and the right one's."""
        return tuple(dict.fromkeys((*fields_of(str(self.prompt), self.rest), str(self.choices), str(self.gold))))

    def example(self, row: Record) -> Example:
        """See `Prompted.example`."""
        choices = tuple(map(self.plainly, texts_of(row, str(self.choices), True)))
        if len(choices) < 2:
            raise ConfigError(f"{row.where}: {len(choices)} candidates; expected two or more to choose from")
        label, given = label_of(row, str(self.gold)), row.fields[str(self.gold)]
        if isinstance(given, str) and not isinstance(given, Number) and self.plainly(label) in choices:
            gold = choices.index(self.plainly(label))
        else:
            gold = int(label) if label.isascii() and label.isdigit() else -1
        if not 0 <= gold < len(choices):
            raise ConfigError(
                f"{row.where}: {self.gold} {quote(label, 40)}; expected a candidate, or its place from 0 to "
                f"{len(choices) - 1}"
            )
        prompt, rest = self.filled(str(self.prompt), row), self.filled(self.rest, row)
        return Example(row.where, prompt, (choices[gold] + rest,), choices, gold, rest)
