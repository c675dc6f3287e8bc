"""Stand-ins for the trackers' libraries: they note what they are told. Each is a module put into `sys.modules`."""

import sys
import types
from types import SimpleNamespace

import pytest

from jaxgpt.runs.sinks import Facts

CONFIG = {"model": {"kind": "gpt2"}, "optim": {"lr": 0.0625}, "seed": 3, "exec": {"sinks": []}}


@pytest.fixture
def directory(tmp_path):
    """The directory of a run in a sweep."""
    path = tmp_path / "heat" / "warm" / "s03-1f0c9a2b4d"
    path.mkdir(parents=True)
    return path


@pytest.fixture
def facts(directory):
    return Facts.of(CONFIG, directory)


@pytest.fixture
def module(monkeypatch):
    """`module("wandb", init=...)`: makes `import wandb` find a module with these names."""

    def put(name, **names):
        held = types.ModuleType(name)
        vars(held).update(names)
        monkeypatch.setitem(sys.modules, name, held)
        return held

    return put


@pytest.fixture
def wandb(module):
    """W&B; `wandb.runs` lists the calls of `init`, each with what its run was told."""
    runs = []

    def init(**asked):
        held = [step for one in runs if one.asked["id"] == asked["id"] for step, *_ in one.rows]
        run = SimpleNamespace(
            asked=asked, rows=[], summary={}, ends=[], preempting=0, offline=asked["mode"] == "offline"
        )
        run.starting_step = 0 if run.offline else max(held, default=-1) + 1
        run.log = lambda row, step, commit: run.rows.append((step, row, commit))
        run.finish = lambda exit_code: run.ends.append(exit_code)
        run.mark_preempting = lambda: setattr(run, "preempting", run.preempting + 1)
        runs.append(run)
        return run

    return module("wandb", init=init, Settings=dict, runs=runs)
