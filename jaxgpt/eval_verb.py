"""`jaxgpt eval`: a model measured by a task, or two models by one."""

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from jaxgpt import shipped
from jaxgpt.arguments import Json, Overrides, Source, before_jax, predictions_file
from jaxgpt.disk import resolve, strict, typed, write_json_atomic, write_json_lines
from jaxgpt.spec import ConfigError
from jaxgpt.spec.errors import did_you_mean, quote
from jaxgpt.terminal import say, standard_output
from jaxgpt.text.corpora.locate import locate

if TYPE_CHECKING:
    from jaxgpt.evals import EvalTask


def evaluate(
    run: Source,
    task: Annotated[
        str,
        typer.Argument(
            help="perplexity, cloze, choice, classify, generate; sts, retrieval; similarity, regress; a file "
            "eval/NAME of `jaxgpt list configs`; or a FILE.py:NAME of your own",
            metavar="TASK",
        ),
    ],
    overrides: Overrides = None,
    *,
    path: Annotated[
        str | None, typer.Option(help="the task's data, here or in JAXGPT_DATA", metavar="FILE|DIR")
    ] = None,
    shots: Annotated[int | None, typer.Option(help="demonstrations before each question", metavar="K")] = None,
    limit: Annotated[int | None, typer.Option(help="the first N items only", metavar="N")] = None,
    against: Annotated[
        Path | None, typer.Option(help="another model, compared on the same items", metavar="RUN", parser=resolve)
    ] = None,
    json_path: Json = None,
    pooling: Annotated[
        str | None, typer.Option(help="hidden states to a vector: mean, cls, ...", metavar="NAME")
    ] = None,
    batch_size: Annotated[int, typer.Option(help="texts at a time", metavar="N", min=1)] = 32,
    picture: Annotated[
        Path | None, typer.Option(help="a heat map of sixteen pairs' cosines", metavar="FILE", parser=resolve)
    ] = None,
    predictions: Annotated[
        Path | None,
        typer.Option(help="a task's answers, an object a row", metavar="FILE.jsonl", parser=predictions_file),
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="ask again what was answered before")] = False,
) -> None:
    """How good a model is at a task: foreseeing texts, choosing, answering in words, by embeddings, by its own head."""
    before_jax()
    if path is not None:
        locate(path, "--path")
    fields = {"path": path, "shots": shots, "limit": limit, "pooling": pooling}
    asked = task_named(task, overrides or [], fields, run)
    draw = None
    if picture is not None:
        from jaxgpt.plots.heat_alone import drawing

        draw = drawing(asked, picture)
    from jaxgpt.evals.measured import compared
    from jaxgpt.inference.asked import Asked
    from jaxgpt.inference.load import load
    from jaxgpt.inference.remembered import Remembered

    ask = asked.opened()

    def ready(source: Path) -> Asked:
        model = load(source)
        return Asked(model, batch_size, memory=None if fresh else Remembered(model.digest))

    model = ready(run)
    ours = ask(model)
    if predictions is not None:
        write_json_lines(predictions, ({"row": number, **row} for number, row in enumerate(ours.rows, 1)))
        say(f"predictions: {typed(predictions)}")
    if against is None:
        show(ours.figures, json_path, ours.intervals())
    else:
        theirs = ask(ready(against))
        show_both(ours.figures, theirs.figures, compared(ours, theirs), json_path)
    if picture is not None and draw is not None:
        draw(partial(model.encode, pooling=pooling), typed(run))
        say(f"heat map: {typed(picture)}")


TEXT = (str, str | None)
"""Types of fields whose value is taken as it is typed: a template may begin with a brace."""
IN_WORDS = ("choice", "classify")
"""Forms of answers that a model's head gives where it has one, and a language model in words."""


def by_head(run: Path) -> bool:
    """Whether a task that could be put in words is for the head that answers about texts: of a model that has such a
    head, or does not continue texts. Reads no weights."""
    from jaxgpt.runs.objective_run import ObjectiveRun
    from jaxgpt.spec import load_yaml

    if (run / "config.yaml").exists():
        model = load_yaml(ObjectiveRun, run / "config.yaml").model
    else:
        from jaxgpt.interop.recognize import read_source

        model = read_source(run).model
    return model.text_head is not None or not model.continues


def task_named(word: str, overrides: list[str], options: dict[str, Any], run: Path) -> "EvalTask":
    """The task that a word of the command line means of the model at `run`, with its fields. Raises ConfigError."""
    from jaxgpt.evals import EvalTask
    from jaxgpt.evals.labelled import KNOWN
    from jaxgpt.evals.tasks import Choice  # noqa: F401  declares all
    from jaxgpt.lab.question.file import import_file
    from jaxgpt.spec import members, parse
    from jaxgpt.spec.overrides import apply_overrides
    from jaxgpt.spec.yamlio import read_yaml

    given = {name: value for name, value in options.items() if value is not None}
    file, colon, name = word.rpartition(":")
    known = members("evaluation_task")
    tree: dict[str, Any]
    if word.endswith(".py") or (colon and file.endswith(".py")):
        before = set(known)
        module = import_file(resolve(file if colon and file.endswith(".py") else word))
        own = [
            kind
            for kind, member in members("evaluation_task").items()
            if kind not in before or member.__module__ == module.__name__
        ]
        wanted = name if colon and file.endswith(".py") else own[0] if len(own) == 1 else ""
        if wanted not in own:
            raise ConfigError(f"{word}: declares {', '.join(own) or 'no task'}; name one of them as FILE.py:NAME")
        tree = {"kind": wanted}
    elif word in IN_WORDS and "path" in given and not (overrides or "shots" in given) and by_head(run):
        tree = {"kind": "text_head", "form": word}
    elif word in known:
        tree = {"kind": word}
    elif word in KNOWN:
        tree = {"kind": "text_head", "form": word}
    elif shipped.by_name(word, "config") is not None or word.endswith(".yaml"):
        tree = read_yaml(shipped.find(word, "config"))
    else:
        names = sorted({*known, *KNOWN, *(n for n in shipped.names("config") if n.startswith("eval/"))})
        raise ConfigError(f"task: unknown {quote(word)}{did_you_mean(word, names)}")
    member: Any = EvalTask.class_of(tree)
    for override in overrides:
        field, sign, text = override.partition("=")
        literal = sign and field in member.model_fields and member.model_fields[field].annotation in TEXT
        tree = apply_overrides(tree, {field: text} if literal and text != "null" else [override], EvalTask)
    for option in given:
        if option != "path" and option not in member.model_fields:
            having = [kind for kind, other in sorted(known.items()) if option in other.model_fields]
            raise ConfigError(f"--{option}: task '{word}' takes none; leave it out (it is for {', '.join(having)})")
    tree |= given
    if "path" not in tree:
        raise ConfigError(f"--path: is missing; task '{word}' needs data")
    task: EvalTask = parse(EvalTask, tree)
    return task


def show(
    figures: dict[str, float], json_path: Path | None, intervals: dict[str, tuple[float, float]] | None = None
) -> None:
    """A table on standard output; with a path the figures as JSON there too, or, for `-`, there instead. The ends of a
    figure's interval are NAME/low and NAME/high there."""
    flat: dict[str, float] = dict(figures)
    for name, (low, high) in (intervals or {}).items():
        flat |= {f"{name}/low": low, f"{name}/high": high}
    if _as_json(flat, json_path):
        return
    table = Table("figure", "value", *(["95% interval"] if intervals else []), box=None)
    for column in table.columns[1:]:
        column.justify = "right"
    for name, value in figures.items():
        ends = (intervals or {}).get(name)
        both = [] if not intervals else [f"{_number(ends[0])} to {_number(ends[1])}" if ends else ""]
        table.add_row(name, _number(value), *both)
    standard_output(120).print(table)


def show_both(
    ours: dict[str, float], theirs: dict[str, float], differences: dict[str, Any], json_path: Path | None
) -> None:
    """Two models side by side: NAME, NAME/against, NAME/difference with /low, /high and /p."""
    flat = dict(ours) | {f"{name}/against": value for name, value in theirs.items()}
    for name, difference in differences.items():
        flat |= {f"{name}/difference": difference.value, f"{name}/difference/low": difference.low}
        flat |= {f"{name}/difference/high": difference.high, f"{name}/difference/p": difference.p}
    if _as_json(flat, json_path):
        return
    table = Table("figure", "value", "against", "difference", "95% interval", "p", box=None)
    for column in table.columns[1:]:
        column.justify = "right"
    for name, value in ours.items():
        cells = [name, _number(value), _number(theirs.get(name, float("nan")))]
        if (d := differences.get(name)) is not None:
            cells += [_number(d.value), f"{_number(d.low)} to {_number(d.high)}", f"{d.p:.2g}" if d.p == d.p else "n/a"]
        table.add_row(*cells)
    standard_output(140).print(table)


def _as_json(figures: dict[str, float], path: Path | None) -> bool:
    """Writes the figures where they are wanted; whether that is standard output."""
    if str(path) == "-":
        print(json.dumps(strict(figures)[0]))
        return True
    if path is not None:
        write_json_atomic(path, figures)
    return False


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:#.4g}" if value == value else "n/a"
