"""kill -9 at random moments, then the same command: nothing tells the run from one that was never killed."""

import json

import pytest

from jaxgpt.runs.checkpoint.manifest import verify
from jaxgpt.runs.checkpoint.retention import steps as checkpoints
from jaxgpt.runs.files.folder import read_metrics

TIMES = {"tokens_per_second", "mfu", "seconds"}
"""Figures that tell how fast it went."""


@pytest.fixture(scope="module")
def whole(trainer, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole")
    trainer.finish(out)
    return out


def outcome(out):
    """Rows, result, and the SHA-256 of the stored arrays of the last step."""
    rows = [{name: held for name, held in row.items() if name not in TIMES} for row in read_metrics(out)]
    result = json.loads((out / "result.json").read_text())
    newest = max(checkpoints(out / "ckpt"))
    return rows, {name: held for name, held in result.items() if name not in TIMES}, newest


def arrays(out, step):
    """Every array's bytes by name."""
    import tensorstore

    folder = out / "ckpt" / f"step_{step:08d}" / "arrays"
    manifest = verify(folder.parent)
    context = {"driver": "ocdbt", "base": f"file://{folder}/"}
    held = {}
    for name in manifest.leaves:
        spec = {"driver": "zarr3", "kvstore": {**context, "path": f"{name}/"}}
        held[name] = tensorstore.open(spec).result().read().result().tobytes()
    return held


def check(trainer, whole, out, seeds):
    moments = [trainer.kill(out, seed) for seed in seeds]
    said = "\n".join(moments)
    trainer.finish(out)
    (rows, result, step), (want_rows, want_result, want_step) = outcome(out), outcome(whole)
    assert (step, result) == (want_step, want_result), said
    assert rows == want_rows, said
    got, want = arrays(out, step), arrays(whole, want_step)
    assert got.keys() == want.keys() and len(got) > 10
    assert [name for name in want if got[name] != want[name]] == [], said
    assert not list((out / "ckpt").glob(".draft_*")), said


@pytest.mark.slow
def test_one_kill_changes_nothing(trainer, whole, tmp_path):
    check(trainer, whole, tmp_path, [0])


@pytest.mark.slow
@pytest.mark.parametrize("round_", range(4))
def test_five_kills_change_nothing(trainer, whole, tmp_path, round_):
    check(trainer, whole, tmp_path, range(100 * round_ + 1, 100 * round_ + 6))
