"""Which run a folder belongs to: config.yaml and every checkpoint name their run and what it reads."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxgpt.disk import atomic
from jaxgpt.evals.sts import read_subsets
from jaxgpt.runs.checkpoint.retention import steps
from jaxgpt.runs.objective_run import ObjectiveRun
from jaxgpt.runs.run import Run
from jaxgpt.seal import RESULT, read_result, unseal
from jaxgpt.spec import ConfigError, canonical, diff, digest, dump_yaml, parse
from jaxgpt.spec.errors import quote
from jaxgpt.spec.yamlio import read_yaml
from jaxgpt.text import TrainingData
from jaxgpt.text.corpora.locate import locate


def sources(run: ObjectiveRun, prepared: TrainingData) -> dict[str, str]:
    """SHA-256 of what a run reads, by the field that names it."""
    hashes = {"data.corpus": prepared.corpus_hash, "tokenizer": prepared.codec.digest}
    if run.eval.sts is not None:
        subsets = read_subsets(locate(run.eval.sts, "eval.sts"))
        pairs = {name: [list(s.first), list(s.second), s.scores.tolist()] for name, s in subsets.items()}
        hashes["eval.sts"] = digest(canonical(pairs), 64)
    for task in run.eval.tasks:
        for number, path in enumerate(task.files()):
            name = f"eval.tasks: {task.title}" + (f", file {number + 1}" if number else "")
            hashes[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return hashes


def stamp(run: Run, hashes: Mapping[str, str]) -> dict[str, Any]:
    """The part of a checkpoint's `meta` that names its run: the settings, and the hashes of what it reads."""
    return {"run": run.settings(), "sources": dict(hashes)}


def suits(run: Run, out: Path, hashes: Mapping[str, str], step: int, meta: Mapping[str, Any]) -> bool:
    """Whether `run` goes on from a checkpoint of `step`; not where it is a longer run that had parted from it by then.

    Raises ConfigError when the checkpoint is of another run, or what it read has changed since.
    """
    check_sources(run, out, meta.get("sources", {}), hashes)
    return "run" not in meta or step <= shared_steps(meta["run"], run, out)


def check_sources(run: Run, out: Path, before: Mapping[str, Any], now: Mapping[str, str]) -> None:
    """Raises ConfigError, naming both hashes, when what a run reads has changed, unless `exec.accept_data` is set."""
    changed = {name: before[name] for name in now if name in before and before[name] != now[name]}
    if changed and not run.exec.accept_data:
        raise ConfigError(
            f"{name}: has changed since {out} began: SHA-256 {str(old)[:16]}... then, {now[name][:16]}... now; put it "
            "back, choose another --out, or set exec.accept_data=true to go on with what is there now"
            for name, old in changed.items()
        )


def shared_steps(settings: Mapping[str, Any], run: Run, out: Path) -> int:
    """Steps that a run of these settings and `run` have in common: all, or where `run` is longer those before which
    the schedule looks at the length. Raises ConfigError naming what else differs."""
    try:  # what a newer jaxgpt has as a field more reads as its default
        old = parse(type(run), {**settings, "exec": run.exec})
        differs = diff(old.settings(), run.settings())
    except ConfigError:
        old, differs = run, diff(dict(settings), run.settings())
    if not differs:
        return run.steps
    if differs.keys() == {"steps"} and run.steps > old.steps:
        return run.shared_steps(old.steps)
    raise ConfigError(
        f"{name}: {out} holds a run with {quote(theirs)}, this one has {quote(ours)}; choose another --out"
        for name, (theirs, ours) in differs.items()
    )


def claim(run: Run, out: Path) -> None:
    """Writes config.yaml, or checks that it names the same run, or a shorter one that `run` extends, whose result is
    taken back. The config of a run that has ended stays as it is.

    Raises ConfigError listing what differs, ChangedError where the run has ended and its files are not what they were.
    """
    path, result = out / "config.yaml", read_result(out)
    if path.exists():
        before = {name: value for name, value in read_yaml(path).items() if name != "exec"}
        shared = shared_steps(before, run, out)
        if before.get("steps") != run.steps:
            _check_extends(before["steps"], shared, result, run, out)
            unseal(out)
            (out / RESULT).unlink(missing_ok=True)
            result = None
    elif (out / "plan.json").exists():
        raise ConfigError(f"{out}: holds a sweep, whose runs have folders of their own in it; choose another --out")
    if result is not None:
        return
    unseal(out)
    with atomic(path) as file:
        file.write(dump_yaml(run.without_consent()).encode())


def _check_extends(old: int, shared: int, result: Mapping[str, Any] | None, run: Run, out: Path) -> None:
    if result is not None and result["status"] == "diverged":
        raise ConfigError(
            f"steps: {out} diverged at step {result.get('step')}; more steps do not help, another --out may"
        )
    saved = steps(out / "ckpt")
    if saved and min(saved) > shared:
        raise ConfigError(
            f"steps: {out} was planned for {old} steps, and a schedule over {run.steps} makes another run of it from "
            f"step {shared} on, of before which no checkpoint is left; to go on from its weights with a schedule of "
            f"their own, begin a run elsewhere with start={out}"
        )
