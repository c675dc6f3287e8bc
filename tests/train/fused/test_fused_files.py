"""What runs that train as one program leave on disk: enough to go on from, and nothing touched that is done."""

import json

import pytest

from jaxgpt.runs.checkpoint.retention import steps
from jaxgpt.train.fused.loop import run_fused
from jaxgpt.train.run_writer import RunWriter


@pytest.fixture(scope="module")
def spec(tiny, tmp_path_factory):
    """`spec(seed, **overrides)`: a run of 12 steps that measures every second one."""
    text = tmp_path_factory.mktemp("text") / "text.txt"
    text.write_text("".join(f"line {i} of a text about nothing, with number {i * i % 97}\n" for i in range(400)))
    base = {"data.corpus": str(text), "steps": 12, "model.num_layers": 1, "model.vocab_size": 257, "eval.every": 2}
    base |= {"exec.log_every": 1, "exec.save_every": None}
    return lambda seed, **overrides: tiny(**base | {"seed": seed} | overrides)


def killed(runs, folders, step):
    """A group that is killed at the last lane's row of a step."""

    def kill(i, row):
        if i == len(runs) - 1 and row["step"] == step:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_fused(runs, folders, quiet=True, watch=kill)


def resumed(folder):
    rows = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    return [row["step"] for row in rows if row["event"] == "resume"]


@pytest.mark.slow
def test_a_group_goes_on_where_one_lane_only_improves(spec, tmp_path):
    """The best of each are kept, at different steps; still there is one that all have."""
    runs, folders = [spec(0), spec(1, **{"optim.lr": 1e-30})], [tmp_path / "better", tmp_path / "same"]
    killed(runs, folders, 9)
    assert set(steps(folders[0] / "ckpt")) & set(steps(folders[1] / "ckpt"))
    run_fused(runs, folders, quiet=True)
    assert resumed(folders[0]) == resumed(folders[1]) == [8]


@pytest.mark.slow
def test_a_group_killed_while_it_saves_goes_on_from_the_save_before(spec, tmp_path, monkeypatch):
    runs = [spec(i, **{"exec.keep": 1, "exec.keep_best": False, "exec.save_every": 3}) for i in (0, 1)]
    folders = [tmp_path / "first", tmp_path / "second"]
    save = RunWriter.save

    def dies(lane, step, *what):
        if lane.out == folders[1] and step == 6:
            raise KeyboardInterrupt
        save(lane, step, *what)

    with monkeypatch.context() as patch:
        patch.setattr(RunWriter, "save", dies)
        with pytest.raises(KeyboardInterrupt):
            run_fused(runs, folders, quiet=True)
    run_fused(runs, folders, quiet=True)
    assert resumed(folders[0]) == resumed(folders[1]) == [3]


def test_the_files_of_a_lane_that_has_ended_are_not_touched(spec, tmp_path):
    runs, folders = [spec(0, **{"optim.lr": 1e30}), spec(1)], [tmp_path / "diverges", tmp_path / "goes_on"]
    killed(runs, folders, 11)
    assert json.loads((folders[0] / "result.json").read_text())["status"] == "diverged"
    before = {path: path.stat().st_mtime_ns for path in folders[0].rglob("*")}
    assert [result["status"] for result in run_fused(runs, folders, quiet=True)] == ["diverged", "finished"]
    assert {path: path.stat().st_mtime_ns for path in folders[0].rglob("*")} == before
