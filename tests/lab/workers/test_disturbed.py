"""Three workers that are killed, whose claims are removed and torn, whose files are garbled: nothing tells it after."""

import random
import signal
import time

import pytest
from test_sweep_kill import LICENCE, TEXT, ended, events, finish, outcome, reached, start

from jaxgpt.lab.commands.status_files import read_status
from jaxgpt.lab.sweep.folder import from_file
from jaxgpt.lab.workers.claim import CLAIMS
from jaxgpt.lab.workers.engines import LOST
from jaxgpt.lab.workers.failure import FILE

WORKERS, DEEDS = 3, 24
GARBAGE = b"", b"{", b"\0" * 100, b'{"status": 3}', b"[" * 10_000


def unended(folder):
    """The folders of runs that have begun and not ended."""
    return [folder / run.path for run in read_status(folder).runs if run.state in ("running", "stopped")]


def again(folder, worker):
    """The worker, or another in the place of one whose claim was removed, as engines start one."""
    if worker.poll() != LOST:
        return worker
    worker.communicate()
    return start("work", folder)


def kill(folder, draw, workers):
    at = draw.randrange(WORKERS)
    workers[at].send_signal(signal.SIGKILL)
    _, err = workers[at].communicate()
    assert workers[at].returncode in (-signal.SIGKILL, LOST, 0), err
    if workers[at].returncode == 0:
        return "came too late to kill"
    workers[at] = start("work", folder)
    return f"killed worker {at}"


def remove_claim(folder, draw, workers):
    claims = sorted((folder / CLAIMS).glob("*.json"))
    if not claims:
        return "no claim to remove"
    draw.choice(claims).unlink(missing_ok=True)
    return "removed a claim"


def remove_claims(folder, draw, workers):
    for claim in (folder / CLAIMS).glob("*.json"):
        claim.unlink(missing_ok=True)
    return "removed all claims"


def tear_claim(folder, draw, workers):
    claims = sorted((folder / CLAIMS).glob("*.json"))
    if claims:
        draw.choice(claims).write_bytes(draw.choice(GARBAGE))
    return "tore a claim"


def tear_file(folder, draw, workers):
    """Of those that a run does not need to go on."""
    runs = unended(folder)
    if not runs:
        return "no run to tear"
    name = draw.choice(["status.json", FILE, "provenance.json", "result.json"])
    (draw.choice(runs) / name).write_bytes(draw.choice(GARBAGE))
    return f"tore {name}"


@pytest.mark.slow
@pytest.mark.parametrize("fuse", ["off", "on"])
def test_what_befalls_three_workers_leaves_no_trace(tmp_path, fuse):
    path = tmp_path / "rate.py"
    path.write_text(TEXT.replace("CORPUS", str(LICENCE)))
    settings = [f"lab.fuse={fuse}", "lab.claim_seconds=6", "lab.lanes=2"]
    folders = [tmp_path / name for name in ("whole", "disturbed")]
    for folder in folders:
        from_file(path, settings, None, folder, "jaxgpt ablate rate.py").write()
    whole, disturbed = folders
    finish("work", whole)
    draw = random.Random(11)
    workers = [start("work", disturbed) for _ in range(WORKERS)]
    deeds, total = [], 6 * 300
    for number in range(DEEDS):
        goal, deadline = (number + 1) / (DEEDS + 2) * total, time.monotonic() + 300
        while reached(disturbed) < goal and any(worker.poll() is None for worker in workers):
            assert time.monotonic() < deadline, deeds
            time.sleep(0.01)
        time.sleep(draw.uniform(0, 0.1))
        workers = [again(disturbed, worker) for worker in workers]
        before = ended(disturbed)
        deed = draw.choice([kill, kill, remove_claim, remove_claims, tear_claim, tear_file])
        deeds.append(f"{deed(disturbed, draw, workers)} at {reached(disturbed)} of {total} steps")
        assert before.items() <= ended(disturbed).items(), deeds
    said, lost = [], 0
    while workers:
        worker = workers.pop()
        said.append(worker.communicate(timeout=600)[1])
        if worker.returncode == LOST and (lost := lost + 1) < DEEDS:  # its claim was removed: engines start another
            workers.append(start("work", disturbed))
        else:
            assert worker.returncode == 0, f"{deeds}\n{said}"
    moments = "\n".join([*deeds, f"{lost} workers lost their claims"])
    print("", moments, f"starts {events(disturbed, 'start')}, resumes {events(disturbed, 'resume')}", sep="\n")
    assert events(disturbed, "finished") == [1] * 6, moments
    for folder in folders:
        finish("report", folder)
    assert outcome(disturbed) == outcome(whole) and len(outcome(whole)[1]) == 6, moments
    status = read_status(disturbed)
    assert status.counts == {"finished": 6} and not status.troubles and status.orphans == 0
    changed_digit(disturbed)


def changed_digit(folder):
    """Afterwards: a worker neither believes the run nor does it again, and says so by its exit status."""
    result = next(folder.glob("*/s*/result.json"))
    text = result.read_text()
    result.write_text(text.replace("3", "4", 1))
    before = ended(folder)
    worker = start("work", folder)
    _, err = worker.communicate(timeout=600)
    assert worker.returncode == 4 and f"{result}: changed since the run ended" in err
    assert before == ended(folder) and read_status(folder).counts == {"finished": 5, "damaged": 1}
    result.write_text(text)
    finish("work", folder)
