"""Tasks that put a question in words: a prompt made of an item's fields, with demonstrations in front of it."""

import re
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Self

from pydantic import Field

from jaxgpt.evals.measured import Measured
from jaxgpt.evals.model import EvalModel
from jaxgpt.evals.tasks.detokenizers import DETOKENIZERS, DetokenizerName
from jaxgpt.evals.tasks.shots import draw, fitting, joined
from jaxgpt.evals.tasks.task import Ask, EvalTask, read_records
from jaxgpt.spec import ConfigError
from jaxgpt.terminal import say
from jaxgpt.text.corpora.columns import text_of
from jaxgpt.text.corpora.formats import Record
from jaxgpt.text.corpora.locate import locate

FIELD = re.compile(r"\{([^{}]*)\}")
"""A field of the item, in a template."""
Template = str
"""A text in which `{name}` stands for an item's field, and `\\n` for the end of a line."""


class Example(NamedTuple):
    """An item as it is asked."""

    where: str
    """Its file and line, as errors name it."""
    prompt: str
    answers: tuple[str, ...]
    """What is right, the first of which a demonstration shows."""
    choices: tuple[str, ...] = ()
    """What there is to choose from."""
    gold: int = 0
    """Which choice is right."""
    rest: str = ""
    """What follows whatever is chosen."""


class Asked(NamedTuple):
    """A question as the model reads it."""

    text: str
    shots: int
    """Demonstrations in front of it."""


class Prompted(EvalTask):
    """Base of tasks that ask in words."""

    delimiter: Template = " "
    """Between a prompt and its answer."""
    between: Template = "\n\n"
    """Between demonstrations, and between the last and the prompt."""
    preamble: Template = ""
    """In front of everything, as what the task is."""
    detokenizer: DetokenizerName = "none"
    """What makes text of an item's words where spaces are around all of them."""
    shots: int = Field(default=0, ge=0, le=10_000)
    """Demonstrations in front of each prompt, drawn anew for each item; as many as fit where the context is short."""
    shots_path: str | None = None
    """Where they are drawn from: a training split of the same form. None: the other items."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Draws the demonstrations."""

    def files(self) -> list[Path]:
        """See `EvalTask.files`."""
        return [self.file, *([] if self.shots_path is None else [locate(self.shots_path, "shots_path")])]

    def settled(self) -> Self:
        """The task with the names of fields that the data decide."""
        return self

    @abstractmethod
    def fields(self) -> tuple[str, ...]:
        """Names of the fields that are read of an item."""

    @abstractmethod
    def example(self, row: Record) -> Example:
        """An item as it is asked. Raises ConfigError naming the row."""

    @abstractmethod
    def ask(self, examples: Sequence[Example], questions: "Questions", model: EvalModel) -> Measured:
        """Asks the model about all items."""

    def opened(self) -> Ask:
        """See `EvalTask.opened`."""
        task, path = self.settled(), self.file
        source = path if self.shots_path is None else locate(self.shots_path, "shots_path")
        examples = [task.example(row) for row in self.first(read_records(path, task.fields()), path)]
        pool: list[Example] = []
        if self.shots:
            pool = [task.example(row) for row in read_records(source, task.fields())]
            if len({task.demonstration(example) for example in pool}) < 2:
                raise ConfigError(f"shots: {source} has no other item to show; give another shots_path")
        return partial(task._asked, examples, pool)

    def _asked(self, examples: Sequence[Example], pool: Sequence[Example], model: EvalModel) -> Measured:
        questions = Questions(self, pool)
        measured = self.ask(examples, questions, model)
        if not self.shots:
            return measured
        read = questions.shots
        mean = sum(read) / len(read)
        if min(read) < self.shots:
            cut = sum(count < self.shots for count in read)
            say(f"shots: {cut:,} of {len(read):,} items have fewer than {self.shots}, as many as fit; mean {mean:.1f}")
        return measured._replace(facts={**measured.facts, self.figure("shots"): mean})

    def filled(self, template: str, row: Record) -> str:
        """A template with an item's fields in it. Raises ConfigError for a field that the item does not have."""
        return FIELD.sub(lambda match: self.plainly(text_of(row, match[1])), written(template))

    def plainly(self, text: str) -> str:
        """A text of the data as people write it."""
        return DETOKENIZERS[self.detokenizer](text)

    def demonstration(self, example: Example) -> str:
        """A question with its answer."""
        return example.prompt + written(self.delimiter) + example.answers[0]


class Questions:
    """Prompts with their demonstrations."""

    def __init__(self, task: Prompted, pool: Sequence[Example]):
        self._task = task
        self.shots: list[int] = []
        """How many each prompt so far has."""
        self._texts = [task.demonstration(example) for example in pool] if task.shots else []

    def of(self, examples: Sequence[Example], model: EvalModel, reserve: Sequence[int]) -> list[Asked]:
        """What the model reads of each, with at least `reserve` tokens of its context left for the answer."""
        task = self._task
        between, preamble = written(task.between), written(task.preamble)
        out = []
        for example, answer in zip(examples, reserve, strict=True):
            if not task.shots:
                out.append(Asked(preamble + example.prompt, 0))
                continue
            places = draw(task.shots, self._texts, task.demonstration(example), task.seed)
            shown = [self._texts[place] for place in places]
            room = model.room - answer - len(model.codec.encode(preamble)) - 1
            count = fitting(model.codec, shown, between, example.prompt, room)
            out.append(Asked(preamble + joined(shown[len(shown) - count :], between, example.prompt), count))
        self.shots += [question.shots for question in out]
        return out


def written(template: str) -> str:
    """A template as it is written on a command line: `\\n` ends a line."""
    return template.replace("\\n", "\n")


def fields_of(*templates: str) -> tuple[str, ...]:
    """The names of fields in templates, each once. Raises ConfigError for braces without a name."""
    names = [name for template in templates for name in FIELD.findall(template)]
    if "" in names:
        raise ConfigError("prompt: has {} without the name of a field in it; write {question}, say")
    return tuple(dict.fromkeys(names))


def row_of(example: Example, asked: Asked, **facts: Any) -> Mapping[str, Any]:
    """What is noted of an item."""
    return {"where": example.where, "prompt": asked.text, "shots": asked.shots, **facts}
