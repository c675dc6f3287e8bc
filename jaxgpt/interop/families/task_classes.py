"""Classes of transformers that judge a text as a whole, as text head `task`, added to a family both ways.

The output layer is `text_head/out`. What a class has beside it decides what a model of it has: one without an output
over the vocabulary is read without one, and a model's own is left out when it is written as such a class.
"""

import re
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from jaxgpt.interop.families.family import Family
from jaxgpt.interop.families.folded import fold, shifts
from jaxgpt.interop.families.rows import dense
from jaxgpt.interop.hugging_face.config import Config, Rate
from jaxgpt.interop.hugging_face.labels import label_keys, read_labels
from jaxgpt.interop.name_map import NameMap
from jaxgpt.models import Encoder, Model
from jaxgpt.nn.task_head import TaskHead
from jaxgpt.spec import ConfigError
from jaxgpt.spec.errors import quote

IDENTITY = (0.0, 1.0)
"""The scale of an output that is the score itself."""


class TaskClass(NamedTuple):
    """One class of `transformers` with an output layer on what a row is pooled to: a decoder's last token, an
    encoder's pooler."""

    architecture: str
    out: str
    """Where its output layer lies."""
    bias: bool = True
    candidates: bool = False
    """Whether its one output tells which of several candidates is best; else its outputs are labels, or a number."""
    lm_head: bool = False
    """Whether it scores the vocabulary too."""
    pooler: str | None = None
    """Where the pooler's dense layer lies, if not where the family has it."""
    dropout: str | None = None
    """The key of the rate before the output layer."""
    rate: float | None = None
    """That rate where no key says it; None: the model's."""
    fixed: Mapping[str, Any] = {}
    """Keys that change the computation, each with the one value that is followed."""


def score(architecture: str) -> TaskClass:
    """A decoder's class for labels or a number, by that of its language model."""
    name = re.sub(r"(LMHeadModel|ForCausalLM)$", "ForSequenceClassification", architecture)
    return TaskClass(name, "score", bias=False, rate=0.0)


def double_heads(name: str) -> TaskClass:
    """A GPT's class with a language model and a choice between candidates (Radford et al. 2018, section 3.3)."""
    fixed = {"summary_type": "cls_index", "summary_use_proj": True, "summary_activation": None}
    fixed |= {"summary_proj_to_labels": True}
    return TaskClass(
        name,
        "multiple_choice_head.summary",
        candidates=True,
        lm_head=True,
        dropout="summary_first_dropout",
        rate=0.1,
        fixed=fixed,
    )


def with_task_classes(family: Family, *more: TaskClass) -> Family:
    """The family with these classes, and of a decoder's the one for labels."""
    decoder = not issubclass(family.kind, Encoder)
    classes = (score(family.architecture), *more) if decoder else more

    def spec(config: Mapping[str, Any]) -> Model:
        named = next((task for task in classes if config.get("architectures") == [task.architecture]), None)
        if named is None:
            return family.spec(config)
        reader = Config(config, family.model_type)
        for key, value in named.fixed.items():
            reader.only(key, value)
        labels, scale = None, None
        if not named.candidates:
            answer = read_labels(reader)
            labels, scale = answer.labels, answer.scale
        rate = reader(named.dropout, named.rate, Rate) if named.dropout else named.rate
        try:
            body: Any = family.spec({key: value for key, value in config.items() if key != "architectures"})
        except ConfigError as error:
            raise ConfigError(dict.fromkeys([*error.problems, *reader.problems])) from None
        if reader.problems:
            raise ConfigError(dict.fromkeys(reader.problems))
        rate = body.dropout if rate is None else rate
        head = TaskHead(labels=labels, dropout=rate, bias=named.bias, scale=scale)
        return body.evolve(text_head=head, **({"lm_head": named.lm_head} if decoder else {}))

    def chosen(model: Model) -> TaskClass | None:
        """The class that answers in the form that the model's head does."""
        head = model.text_head
        assert isinstance(head, TaskHead)
        chooses = head.labels is None and head.scale is None
        return next((task for task in classes if task.candidates == chooses), None)

    def config(model: Model) -> dict[str, Any]:
        head = model.text_head
        if not isinstance(head, TaskHead):
            return family.config(model)
        task = chosen(model)
        if task is None:
            raise ConfigError(
                f"model.text_head: chooses between candidates, which no class of Hugging Face's '{family.model_type}' "
                "does"
            )
        problems = _refused(model, head, task)
        try:
            keys = family.config(_body(model))
        except ConfigError as error:
            problems += error.problems
        if problems:
            raise ConfigError(problems)
        keys |= {"architectures": [task.architecture], **task.fixed}
        if task.dropout:
            keys[task.dropout] = head.dropout
        return keys if task.candidates else keys | label_keys(head.labels)

    def names(model: Any) -> NameMap:
        rows = family.names(model)
        task = chosen(model) if isinstance(model.text_head, TaskHead) else None
        if task is None:
            return rows
        return _named(rows, task)

    def fit(model: Any, tensors: Collection[str]) -> Model:
        return model if isinstance(model.text_head, TaskHead) else family.fit(model, tensors)

    def filled(model: Any) -> Model:
        task = chosen(model) if isinstance(model.text_head, TaskHead) else None
        return family.filled(model) if task is None else _as_class(family.filled(model), task)

    def folded(model: Any, fuller: Any, params: Mapping[str, Any]) -> Mapping[str, Any]:
        head = model.text_head
        if not isinstance(head, TaskHead) or chosen(model) is None:
            return params
        return fold(head.scale if fuller.text_head.scale == IDENTITY else None, fuller, params)

    return family._replace(
        spec=spec, config=config, names=names, fit=fit, filled=filled, folded=folded,
        task_classes=tuple(task.architecture for task in classes),
    )  # fmt: skip


def _body(model: Any) -> Any:
    """The model as the family knows it, without its text head."""
    return model.evolve(text_head=None, **({} if isinstance(model, Encoder) else {"lm_head": True}))


def _refused(model: Any, head: TaskHead, task: TaskClass) -> list[str]:
    """What of the model's heads the class has otherwise, a line each."""
    theirs, encoder = f"Hugging Face's {task.architecture}", isinstance(model, Encoder)
    own = "last" if not encoder else "pooler" if model.pooler else "cls"
    wants = {
        "text_head.pooling": (head.pooling or own, "pooler" if encoder else "last"),
        "text_head.bias": (head.bias, task.bias),
        "text_head.scale": (head.scale or IDENTITY, IDENTITY),
    }
    if encoder:
        wants |= {"masked_head": (model.masked_head, False), "next_sentence": (model.next_sentence, False)}
    else:
        wants |= {"lm_head": (model.lm_head, task.lm_head)}
    return [
        f"model.{name}: {quote(value)}; {theirs} has {quote(has)} only"
        for name, (value, has) in wants.items()
        if value != has
    ]


def _as_class(model: Any, task: TaskClass) -> Any:
    """The model that answers the same with the heads of the class alone, as far as that can be."""
    head = model.text_head
    movable = task.bias or shifts(model) is not None
    bias = task.bias if movable else head.bias
    scale = IDENTITY if head.scale and (movable or not head.scale[0]) else head.scale
    encoder = isinstance(model, Encoder)
    others = {"masked_head": False, "next_sentence": False} if encoder else {"lm_head": model.lm_head and task.lm_head}
    return model.evolve(text_head=head.evolve(bias=bias, scale=scale), **others)


def _named(names: NameMap, task: TaskClass) -> NameMap:
    rows, buffers = names.rows, names.buffers
    if task.pooler is not None:  # files of old hold the family's own too, which the class never reads
        rows = tuple(row for row in rows if not row.ours[0].startswith("pooler/"))
        rows += dense(task.pooler, "pooler/dense", bare=True)
        buffers = rf"{buffers}|pooler\.dense\.(weight|bias)"
    rows += dense(task.out, "text_head/out", bare=True)
    return names._replace(rows=rows, buffers=buffers, copies=names.copies if task.lm_head else {})
