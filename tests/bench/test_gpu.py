"""bench/gpu.py keeps to its limits, keeps what it has measured, and goes on where it was cut."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest

from jaxgpt.ops.attention import Reference
from jaxgpt.ops.patterns import Causal

BENCH = Path(__file__).parents[2] / "bench"
PROBES = """
import os, subprocess, sys, time
from gpu.part import Skipped, Wrong


def right(report):
    print("a library's own words")
    report._say("device", os.environ.get("PROBE_DEVICE", "a card"))
    report.figure("ms", 1.25)
    report.note("twice")
    report.note("twice")


def hangs(report):
    peer = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    report.figure("pid", peer.pid)
    report.at("the second half")
    time.sleep(600)


def breaks(report):
    report.figure("ms", 2)
    raise ValueError("no such thing\\nand more")


def wrong(report):
    report.figure("error", float("nan"))


def skips(report):
    raise Skipped("no data here")


def dies(report):
    os._exit(7)
"""


@pytest.fixture
def budget(monkeypatch, tmp_path):
    (tmp_path / "probes").mkdir()
    (tmp_path / "probes/probes.py").write_text(PROBES)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "probes"))
    monkeypatch.syspath_prepend(str(BENCH))
    for name in [name for name in sys.modules if name == "gpu" or name.startswith("gpu.")]:
        monkeypatch.delitem(sys.modules, name)
    import gpu.budget

    return gpu.budget


def parts(budget, *names, limit=60):
    return [budget.Part(name, f"probes:{name}", 3 if name == "hangs" else limit, "a probe") for name in names]


def ended(pid):
    """Whether there is no such process, or only its entry, which nobody has asked for yet."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (ProcessLookupError, FileNotFoundError):
        return True


def test_a_part_that_hangs_is_killed_with_its_peer_and_the_others_are_measured(budget):
    saved = []
    record = budget.Record({}, lambda record: saved.append(dict(record.figures)))
    budget.run(parts(budget, "hangs", "breaks", "wrong", "skips", "dies", "right"), 120, record)
    assert {name: state["status"] for name, state in record.parts.items()} == {
        "hangs": "stopped at its limit of 3 s in the second half",
        "breaks": "failed: ValueError: no such thing",
        "wrong": "failed: Wrong: error is nan",
        "skips": "skipped: no data here",
        "dies": "failed: ended with status 7",
        "right": "done",
    }
    pid = record.figures.pop("hangs_pid")
    assert ended(int(pid))
    assert record.figures == {"breaks_ms": 2, "right_ms": 1.25} and record.parts["right"]["notes"] == ["twice"]
    assert record.device == "a card" and {"hangs_pid": pid} in saved, "each figure is on disk at once"


def test_what_is_done_stays_and_what_was_never_tried_comes_first(budget, capsys):
    before = {
        "device": "a card",
        "figures": {"right_ms": 7.0, "breaks_ms": 8.0, "breaks_old": 9.0},
        "parts": {"right": {"status": "done"}, "breaks": {"status": "stopped at its limit of 3 s"}},
    }
    record = budget.Record(before, lambda record: None)
    budget.run(parts(budget, "right", "breaks", "skips"), 60, record)
    begun = [line.split()[1] for line in capsys.readouterr().out.splitlines() if "(at most" in line]
    assert begun == ["skips:", "breaks:"] and record.figures == {"right_ms": 7.0, "breaks_ms": 2}
    budget.run(parts(budget, "right"), 60, record, again=True)
    assert record.figures["right_ms"] == 1.25


def test_without_time_nothing_is_begun_and_all_is_left(budget):
    record = budget.Record({}, lambda record: None)
    budget.run(parts(budget, "right"), 5, record)
    assert record.parts == {} and record.status("right") == "left"


def test_figures_of_another_device_are_not_mixed_in(budget, monkeypatch):
    monkeypatch.setenv("PROBE_DEVICE", "another card")
    saved = []
    record = budget.Record({"device": "a card", "figures": {"right_ms": 7.0}}, saved.append)
    with pytest.raises(budget.OtherDevice, match="of a card, and this is another card; give another --json"):
        budget.run(parts(budget, "right"), 60, record)
    assert not saved


def test_a_kernel_that_is_wrong_or_fails_is_named_and_the_others_are_checked(budget, monkeypatch):
    import gpu.cases
    import gpu.kernels
    import gpu.part

    class Halved:
        kind = "halved"

        def attend(self, *given):
            return Reference().attend(*given) / 2

    class Broken:
        kind = "broken"

        def attend(self, *given):
            raise RuntimeError("no such primitive")

    scores, rng = gpu.cases.row(Causal(), 7), np.random.default_rng(0)
    arrays = tuple(jnp.asarray(rng.standard_normal((1, 2, 7, 4)), jnp.float32) for _ in range(4))
    want = gpu.kernels.exact(scores, arrays)
    monkeypatch.setattr(
        gpu.kernels,
        "jobs",
        lambda small: [
            gpu.kernels.Job(kernel.kind, kernel, scores, arrays, lambda: want, 1e-4)
            for kernel in (Broken(), Halved(), Reference())
        ],
    )
    figures = {}
    report = SimpleNamespace(small=True, at=lambda what: None, note=lambda text: None, figure=figures.__setitem__)
    with pytest.raises(gpu.part.Wrong, match=r"(?s)(?=.*halved 0.5)(?=.*broken: RuntimeError: no such primitive)"):
        gpu.kernels.measure(report)
    assert figures["reference"] < 1e-5 and figures.keys() == {"reference", "halved"}


def script(*words, **environment):
    command = [sys.executable, BENCH / "gpu.py", *map(str, words)]
    return subprocess.run(command, env=os.environ | environment, capture_output=True, text=True)


@pytest.mark.slow
def test_the_script_runs_here_and_names_what_is_left(tmp_path):
    path = tmp_path / "gpu.json"
    done = script("--only", "scan", "shakespeare", "--minutes", "3", "--json", path, JAXGPT_DATA=str(tmp_path))
    report = json.loads(path.read_text())
    assert done.returncode == 0, done.stdout + done.stderr
    assert report["parts"]["scan"]["status"] == "done" and report["figures"]["scan_over_unrolled"] > 0
    assert report["parts"]["shakespeare"]["status"].startswith("skipped: no data at ")
    assert {"kernels", "shakespeare"} < set(report["left"]) and "scan" not in report["left"]
    assert report["device"].endswith(", tiny shapes") and report["command"].startswith("python ")


def test_the_kit_is_shell():
    assert subprocess.run(["bash", "-n", BENCH / "gpu_kit.sh"]).returncode == 0
