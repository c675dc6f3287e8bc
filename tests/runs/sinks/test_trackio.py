"""The trackio sink, against a stand-in for its library."""

import contextvars
from types import SimpleNamespace

import pytest

from jaxgpt.runs.sinks import Trackio


@pytest.fixture
def trackio(module):
    """As trackio does, `init` ends the run that its context variable names, and prints."""
    current = contextvars.ContextVar("current", default=None)
    runs = []

    def init(**asked):
        if (before := current.get()) is not None:
            before.finish()
        run = SimpleNamespace(asked=asked, rows=[], ends=0)
        run._next_step = max((step for one in runs for step, _ in one.rows), default=-1) + 1
        run.log = lambda row, step: run.rows.append((step, row))
        run.finish = lambda: (print("finished"), setattr(run, "ends", run.ends + 1))
        current.set(run)
        runs.append(run)
        print("created")
        return run

    return module("trackio", init=init, runs=runs)


def test_a_run_carries_config_group_and_rows(trackio, directory, facts, capsys):
    write, close, _ = Trackio(project="gpt").open(directory, facts)
    write({"step": 10, "train/loss": 2.5, "mfu": None})
    close("finished")
    (run,) = trackio.runs
    assert (run.asked["project"], run.asked["group"]) == ("gpt", "heat/warm")
    assert run.asked["config"] == facts.config
    assert (run.rows, run.ends) == ([(10, {"train/loss": 2.5})], 1)
    assert capsys.readouterr().out == ""


def test_a_second_start_resumes_by_a_name_that_no_other_run_has(trackio, directory, facts, tmp_path):
    Trackio().open(directory, facts)
    Trackio().open(directory, facts)
    Trackio().open(tmp_path, facts)  # the same sweep elsewhere
    one, two, other = (run.asked for run in trackio.runs)
    assert one["name"] == two["name"] != other["name"]
    assert one["name"].startswith("warm/s03-1f0c9a2b4d-")
    assert two["resume"] == "allow"


def test_opening_a_run_ends_no_other(trackio, directory, facts, tmp_path):
    Trackio().open(directory, facts)
    Trackio().open(tmp_path, facts)
    assert [run.ends for run in trackio.runs] == [0, 0]
