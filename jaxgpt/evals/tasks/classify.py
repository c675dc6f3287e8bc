"""Classes by words: which label's word is likeliest after a text."""

from collections.abc import Sequence
from typing import Self

from jaxgpt.evals.tasks.choice import Chosen
from jaxgpt.evals.tasks.prompted import Example, Template, fields_of
from jaxgpt.evals.tasks.task import find_field, read_records
from jaxgpt.spec import ConfigError
from jaxgpt.spec.errors import did_you_mean, quote, short
from jaxgpt.text.batches.labels import class_names
from jaxgpt.text.corpora.columns import label_of
from jaxgpt.text.corpora.formats import Record

TEXTS: Sequence[str] = ("sentence", "text", "question", "premise")
LABELS: Sequence[str] = ("label", "gold", "answer")


class Classify(Chosen):
    """The likeliest label of a text, by the words that stand for labels (GPT-3: True and False, say)."""

    citation = "Brown et al. 2020 (GPT-3), section 2.4"
    prompt: Template | None = None
    """As `{sentence}\\\\nSentiment:`; None: the text as it is there."""
    label: str | None = None
    """The field, or the number of the column, with the label."""
    labels: tuple[str, ...] | None = None
    """As the data write them; None: all that the data have, sorted."""
    words: tuple[str, ...] | None = None
    """What the model is to say for each of `labels`; None: the labels themselves."""

    def settled(self) -> Self:
        """See `Prompted.settled`."""
        path = self.file
        prompt, label = self.prompt, self.label
        if prompt is None:
            prompt = f"{{{find_field(path, 'prompt', TEXTS)}}}"
        if label is None:
            label = find_field(path, "label", LABELS)
        labels = self.labels
        if labels is None:
            names = (*fields_of(prompt), label)
            labels = class_names(label_of(row, label) for row in read_records(path, names))
        words = self.words if self.words is not None else labels
        if len(labels) < 2 or len({*labels}) < len(labels):
            raise ConfigError(f"labels: {quote(list(labels))}; expected two or more, all different")
        if len(words) != len(labels) or len({*words}) < len(words):
            raise ConfigError(
                f"words: {quote(list(words))} for labels {', '.join(labels)}; expected a word for each, all different"
            )
        return self.evolve(prompt=prompt, label=label, labels=labels, words=words)

    def fields(self) -> tuple[str, ...]:
        """The prompt's and the label's."""
        return (*fields_of(str(self.prompt)), str(self.label))

    def example(self, row: Record) -> Example:
        """See `Prompted.example`."""
        labels, words = self.labels or (), self.words or ()
        label = label_of(row, str(self.label))
        if label not in labels:
            near = did_you_mean(label, short(labels))
            raise ConfigError(f"{row.where}: label {quote(label, 40)} is none of {', '.join(labels[:20])}{near}")
        gold = labels.index(label)
        return Example(row.where, self.filled(str(self.prompt), row), (words[gold],), words, gold)
