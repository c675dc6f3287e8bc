"""`jaxgpt lab plan`: what a sweep takes is told before anything starts, and a refusal before anything is told."""

import json

import numpy as np
import pytest

from jaxgpt.lab.commands.preview import preview
from jaxgpt.lab.statistics.power import pairs_needed
from jaxgpt.lab.sweep import folder as module
from jaxgpt.lab.sweep.folder import from_file
from jaxgpt.seal import seal
from jaxgpt.spec import ConfigError

TEXT = """
from jaxgpt.lab import Experiment

experiment = Experiment(
    question="Is a lower rate better?",
    base={base},
    arms={{"high": {{}}, "low": {{"optim.lr": 1e-3}}, "wide": {{"model.d_model": 32}}}},
    baseline="high",
    seeds=4,
)
"""


@pytest.fixture(autouse=True)
def nothing_trains(monkeypatch):
    """Neither timing nor training; and the cores of this process stay as they are."""

    def never(*args, **kwargs):
        raise AssertionError("trained")

    monkeypatch.setattr(module, "solo_pace", never)
    monkeypatch.setattr("jaxgpt.train.loop.train", never)
    monkeypatch.setattr("jaxgpt.parallel.split_cpu", lambda: None)


@pytest.fixture
def path(tmp_path, tiny):
    path = tmp_path / "rate.py"
    path.write_text(TEXT.format(base=tiny(**{"data.corpus": "nowhere.txt"}).model_dump(mode="json")))
    return path


@pytest.fixture
def planned(path, tmp_path, capsys):
    """`planned("a.b=c", seeds=..., detect=...)`: the lines of standard output."""

    def call(*overrides, seeds=None, detect=None):
        preview(path, list(overrides), seeds, tmp_path / "out", detect)
        return capsys.readouterr().out.splitlines()

    return call


@pytest.fixture
def finish(path, tmp_path):
    """Writes results: of each arm the values of its seeds."""

    def write(**values):
        sweep = from_file(path, [], None, tmp_path / "out", "")
        sweep.write()
        for cell in sweep.plan().cells:
            if cell.run.seed < len(values.get(cell.arm, ())):
                result = {"status": "finished", "step": 20, "seconds": 5.0, "val/loss": values[cell.arm][cell.run.seed]}
                (sweep.folder / cell.path).mkdir(parents=True, exist_ok=True)
                (sweep.folder / cell.path / "result.json").write_text(json.dumps(result))
                seal(sweep.folder / cell.path)

    return write


def test_arms_runs_and_cost_are_told_and_the_plan_is_written(planned, finish, tmp_path, tiny):
    lines = planned()
    assert lines[0] == "Is a lower rate better?"
    high = next(line for line in lines if line.startswith("high")).split()
    flops = 20 * 64 * tiny().model.flops_per_token(8, dense=False)
    assert high[1:7] == ["configured", "4", "0", "20", f"{20 * 64:,}", f"{flops:.3g}"]
    assert any(line.startswith("12 runs, ") for line in lines)
    assert lines[-1] == (
        f"to start: jaxgpt ablate {tmp_path}/rate.py --out {tmp_path}/out   "
        f"or on each of several machines: jaxgpt lab work {tmp_path}/out"
    )
    assert len(json.loads((tmp_path / "out/plan.json").read_text())["cells"]) == 12
    finish(high=[1.0, 1.0, 1.0, 1.0], low=[1.0])
    lines = planned()
    high, low, wide = (next(line for line in lines if line.startswith(a)).split() for a in ("high", "low", "wide"))
    assert (high[3], low[3], wide[3]) == ("4", "1", "0")
    assert (high[-1], low[-1], wide[-1]) == ("0:00", "0:15", "~0:20")
    assert "12 runs, about 0:35 left on one worker" in "\n".join(lines)


def test_a_pilot_tells_how_many_seeds_find_a_difference(planned, finish):
    high, low, wide = [2.0, 2.1, 1.9, 2.06], [1.9, 2.02, 1.84, 1.93], [2.3, 2.1, 2.2, 2.25]
    finish(high=high, low=low, wide=wide)
    lines = "\n".join(planned(detect=0.02))
    for name, values in (("low", low), ("wide", wide)):
        sd = np.sqrt((np.var(high, ddof=1) + np.var(values, ddof=1)) / 2)
        need = pairs_needed(float(sd), float(np.corrcoef(high, values)[0, 1]), 0.02)
        assert need > 2 and f"{name}: {need} seeds (" in lines.replace("low - high", "low")


@pytest.mark.parametrize(
    ("words", "detect", "line"),
    [
        (["model.d_modle=3"], None, "model.d_modle: unknown field; did you mean 'd_model'"),
        (["lab.fuse=perhaps"], None, "lab.fuse: "),
        (["lab.engine=clowd"], None, "lab.engine: unknown engine kind 'clowd'"),
        (["model.num_heads=3"], None, "model: d_model 16 is not a multiple of num_heads 3"),
        (["model.vocab_size=null"], None, "data.corpus: 'nowhere.txt' is not there"),
        ([], 0.0, "--detect: expected a difference above 0, got 0.0"),
        ([], 0.1, "--detect: .* holds no pilot; run 3 or more seeds first, as jaxgpt ablate .* --seeds 3"),
    ],
)
def test_a_refusal_comes_before_everything(planned, tmp_path, capsys, words, detect, line):
    with pytest.raises(ConfigError, match=f"^{line}") as caught:
        planned(*words, detect=detect)
    assert "\n" not in str(caught.value)
    assert capsys.readouterr().out == "" and not (tmp_path / "out").exists()


def test_a_budget_of_seconds_is_refused_before_it_is_measured(planned, path, tmp_path):
    path.write_text(path.read_text().replace("seeds=4", 'seeds=4, budget=("seconds",)'))
    for word, line in (("stepz=1", "stepz"), ("batch_ramp={start: 2, tokens: 64}", "budget: seconds cannot be equal")):
        with pytest.raises(ConfigError, match=line):
            planned(word)
    with pytest.raises(AssertionError, match="trained"):
        planned()
    assert not (tmp_path / "out").exists()


def test_a_kind_of_run_that_knows_its_cost_alone_is_planned(tmp_path, capsys):
    (tmp_path / "q.py").write_text(
        TEXT.format(base={"kind": "lab_test", "optim": {"lr": 0.01}, "model": {"d_model": 16}})
    )
    preview(tmp_path / "q.py", [], None, tmp_path / "other", None)
    out = capsys.readouterr().out
    assert "12 runs" in out and "high" in out
    with pytest.raises(ConfigError, match=r"^kind: unknown run kind 'lab_tset'; did you mean 'lab_test'\?$"):
        preview(tmp_path / "q.py", ["kind=lab_tset"], None, tmp_path / "third", None)
