"""One torn file, or a stranger's, in a sweep's folder: status, why, report and workers name it, and do the rest."""

import json
import random
import shutil
import signal

import pytest
from rarely import mostly
from torn import spoil

from jaxgpt.lab.analysis.findings import analyse_sweep
from jaxgpt.lab.commands.status import show_status
from jaxgpt.lab.commands.why import explain
from jaxgpt.lab.report.csv import csv_text
from jaxgpt.lab.report.html.page import page
from jaxgpt.lab.report.latex import latex
from jaxgpt.lab.report.markdown import markdown
from jaxgpt.lab.run_files import read_result
from jaxgpt.lab.sweep.folder import from_file, from_folder
from jaxgpt.lab.workers.claim import CLAIMS, take
from jaxgpt.lab.workers.worker import join
from jaxgpt.runs import ObjectiveRun
from jaxgpt.runs.files.folder import RunDir
from jaxgpt.runs.files.lock import RunLock
from jaxgpt.runs.identity import claim
from jaxgpt.seal import read_result as read_sealed
from jaxgpt.spec import JaxgptError
from jaxgpt.terminal import say

TEXT = """
from jaxgpt.lab import Experiment

experiment = Experiment(
    question="q", base=BASE, arms={"learned": {}, "rotary": {"model.position": "rotary"}},
    baseline="learned", seeds=3,
)
"""
OF_RUNS = (
    *("config.yaml", "status.json", "metrics.jsonl", "events.jsonl", "result.json", "seal.json"),
    *("failure.json", "provenance.json", "similarity.json", "run.lock"),
)
OF_SWEEPS = "plan.json", "experiment.py", "fuse.json", "pace.json"
LIMIT = 10
"""Seconds that anything may take."""


def train(run, out, quiet, watch):
    """What the trainer does with a run's files, and nothing else: it claims, locks, logs, ends and seals."""
    with RunLock(out):
        claim(run, out)
        if (done := read_sealed(out)) is not None:
            return done
        with RunDir(out) as log:
            log.status(status="running", step=0, steps=run.steps)
            for step in range(1, run.steps + 1):
                row = {"step": step, "tokens": step * 64, "val/loss": 2 + run.seed / 10 + 1 / step}
                log.metrics(row)
                watch(row)
            result = row | {"seconds": 1.0, "status": "finished", "mode": "solo"}
            log.event("finished", step=run.steps)
            log.result(**result)
    return result


@pytest.fixture(scope="module")
def module_patch():
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="module")
def whole(tmp_path_factory, module_patch, tiny):
    """Six runs: four finished, one killed, one that failed; and a claim that somebody left."""
    module_patch.setattr(ObjectiveRun, "train", train)
    root = tmp_path_factory.mktemp("torn")
    base = tiny(steps=4, **{"data.corpus": "nowhere.txt"}).model_dump(mode="json")
    (root / "q.py").write_text(TEXT.replace("BASE", repr(base)))
    sweep = from_file(root / "q.py", ["lab.fuse=off", "lab.claim_seconds=0.2"], None, root / "q", "jaxgpt ablate q.py")
    sweep.write()
    assert join(sweep.folder) == 0
    cells = sweep.plan().cells
    killed, failed = sweep.folder / cells[4].path, sweep.folder / cells[5].path
    for folder in (killed, failed):
        (folder / "result.json").unlink()
        (folder / "seal.json").unlink()
    held = {"class": "bug", "attempts": 1, "time": 1.7e9, "where": "OSError a.py:3", "error": "OSError: x"}
    (failed / "failure.json").write_text(json.dumps(held))
    (sweep.folder / cells[0].path / "provenance.json").write_text('{"commit": "0123abc", "versions": {"jax": "1"}}')
    (sweep.folder / "pace.json").write_text('{"learned": {"program": "x", "seconds": 0.1}}')
    claim = take(sweep.folder / CLAIMS, cells[4].id, 0.2)
    left = claim.path.read_bytes()
    claim.release()
    (sweep.folder / CLAIMS).mkdir(exist_ok=True)
    claim.path.write_bytes(left)
    return sweep.folder


@pytest.fixture
def on_time():
    """What hangs fails: a pipe that nobody writes to, a device without an end."""

    def late(*_):
        raise AssertionError(f"took more than {LIMIT} s")

    old = signal.signal(signal.SIGALRM, late)
    yield lambda seconds: signal.setitimer(signal.ITIMER_REAL, seconds)
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, old)


def looks(folder):
    """Status, why and the report's texts; what they say."""
    show_status(folder)
    explain(folder, [], None, None)
    findings = analyse_sweep(from_folder(folder))
    for line in findings.troubles:
        say(line)
    return [*(write(findings) for write in (markdown, csv_text, latex)), page(findings) if draws(findings) else ""]


def draws(findings):
    """A page takes a second: of one case in twenty."""
    return random.random() < 0.05


def values(folder, cells):
    return {cell.id: (read_result(folder / cell.path) or {}).get("val/loss") for cell in cells}


def attack(whole, folder, seed, name, capsys, on_time):
    """Spoils one file of one run; everything still answers, every other run is done, and this one is done or named."""
    draw = random.Random(f"{name} {seed}")
    random.seed(seed)
    shutil.copytree(whole, folder, symlinks=True)
    cells = from_folder(folder).plan().cells
    cell = draw.choice(cells) if name != "failure.json" else cells[5]
    path = folder / CLAIMS / f"{cells[4].id}.0.json" if name == CLAIMS else folder / cell.path / name
    cell = cells[4] if name == CLAIMS else cell
    before = values(folder, cells)
    how = f"{path.relative_to(folder)} {spoil(path, draw)}, seed {seed}"
    on_time(LIMIT)
    looks(folder)
    capsys.readouterr()
    left = join(folder)
    said = "".join(capsys.readouterr())
    on_time(LIMIT)
    texts = looks(folder)
    shown = "".join(capsys.readouterr())
    on_time(0)
    after = values(folder, cells)
    done = after[cell.id] is not None
    assert left == (0 if done else 1), how
    assert all(after[other.id] is not None for other in cells if other is not cell), how
    want = {other.id: before[other.id] for other in cells if before[other.id] is not None}
    assert {run: value for run, value in after.items() if run in want and value is not None} == {
        run: value for run, value in want.items() if after[run] is not None
    }, f"{how}: another result"
    if not done:
        for text in (said, shown, texts[0]):
            assert str(cell.path) in text or cell.id in text, f"{how}: not named in {text}"
    assert "Traceback" not in said + shown


@pytest.mark.often("config.yaml", "claims")
@pytest.mark.parametrize(
    "name", mostly([*OF_RUNS, CLAIMS], "config.yaml", "result.json", "metrics.jsonl", "status.json", CLAIMS)
)
def test_a_torn_file_of_a_run_stops_that_run_only(whole, tmp_path, capsys, on_time, name):
    for seed in range(6):
        attack(whole, tmp_path / str(seed), seed, name, capsys, on_time)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*OF_RUNS, CLAIMS])
def test_many_torn_files_of_a_run_stop_that_run_only(whole, tmp_path, capsys, on_time, name):
    for seed in range(100, 300):
        attack(whole, tmp_path / "x", seed, name, capsys, on_time)
        shutil.rmtree(tmp_path / "x")


def attack_sweep(whole, folder, seed, name, capsys, on_time):
    """Spoils one file of the sweep itself: each verb answers, or says in a line what is wrong with that file."""
    draw = random.Random(f"{name} {seed}")
    random.seed(seed)
    shutil.copytree(whole, folder, symlinks=True)
    how = f"{name} {spoil(folder / name, draw)}, seed {seed}"
    for act in (looks, show_status, lambda folder: small(folder) and join(folder)):
        on_time(LIMIT)
        try:
            act(folder)
        except JaxgptError as error:
            for line in error.problems:
                assert str(folder) in line or "lab." in line or "metric" in line, f"{how}: {line}"
                assert "\n" not in line and len(line) < 1000, f"{how}: {line}"
        on_time(0)
    capsys.readouterr()


def small(folder):
    """Whether a worker would end in a moment: a plan may be changed into a larger one that is as good."""
    return sum(cell.run.steps for cell in from_folder(folder).plan().cells) < 1000


@pytest.mark.parametrize("name", OF_SWEEPS)
def test_a_torn_file_of_the_sweep_is_told_in_a_line(whole, tmp_path, capsys, on_time, name):
    for seed in range(10):
        attack_sweep(whole, tmp_path / str(seed), seed, name, capsys, on_time)


@pytest.mark.slow
@pytest.mark.parametrize("name", OF_SWEEPS)
def test_many_torn_files_of_the_sweep_are_told_in_a_line(whole, tmp_path, capsys, on_time, name):
    for seed in range(100, 300):
        attack_sweep(whole, tmp_path / "x", seed, name, capsys, on_time)
        shutil.rmtree(tmp_path / "x")
