"""One holder at a time whatever dies, stops or stalls; each unit is done once. Real processes, real signals."""

import contextlib
import errno
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
from rarely import rarely

from jaxgpt.lab.workers import liveness
from jaxgpt.lab.workers.claim import Claim, holders, take
from jaxgpt.lab.workers.liveness import dead, generations
from jaxgpt.spec import JaxgptError

WORK = """
import os, sys, time
from pathlib import Path
from jaxgpt.lab.workers.claim import take
root = Path(sys.argv[1])
(root / f"ready{os.getpid()}").touch()
while not (root / "go").exists():
    time.sleep(0.001)
for _ in range(2):
    for unit in range(40):
        with take(root / "claims", f"u{unit}") or open(os.devnull) as claim:
            if hasattr(claim, "lost") and not (root / f"done{unit}").exists():
                time.sleep(0.002)
                print(unit, flush=True)
                (root / f"done{unit}").touch()
"""

HOLD = """
import os, sys, time
from pathlib import Path
from jaxgpt.lab.workers.claim import take
claim = take(Path(sys.argv[1]), "unit", 1.0, on_lost=lambda: print("lost", flush=True))
if "fork" not in sys.argv or os.fork() == 0:  # a fork speaks for itself: by then it let go of what it inherited
    print(os.getpid(), flush=True)
while not claim.lost:
    time.sleep(0.02)
claim.release()
time.sleep(60)
"""

RACE = """
import multiprocessing, os, sys
from pathlib import Path
from jaxgpt.lab.workers.claim import take
folder, racers, rounds = Path(sys.argv[1]), 6, 25
fork = multiprocessing.get_context("fork")
start, tried = fork.Barrier(racers), fork.Barrier(racers)
for k in range(rounds):
    if os.fork() == 0:
        take(folder, f"r{k}")
        os._exit(0)  # dies without a word
    os.wait()
pids = []
for i in range(racers):
    pids.append(os.fork())
    if pids[-1] == 0:
        for k in range(rounds):
            start.wait()
            claim = take(folder, f"r{k}")
            tried.wait()
            if claim:
                os.write(1, f"{k} {claim.generation}\\n".encode())
                claim.release()
        os._exit(0)
for pid in pids:
    os.waitpid(pid, 0)
"""


@pytest.fixture
def holder(tmp_path):
    """Starts another process that holds `unit`; gives it and who spoke: its own id, or its fork's."""
    started = []

    def start(*options):
        child = subprocess.Popen([sys.executable, "-c", HOLD, tmp_path, *options], stdout=subprocess.PIPE, text=True)
        started.append(child)
        return child, int(child.stdout.readline())

    yield start
    for child in started:
        child.kill()
        child.communicate()


def wait_for(folder, stale=1.0):
    """Asks until the unit is ours; gives the claim and the seconds that it took."""
    began = time.monotonic()
    while (claim := take(folder, "unit", stale)) is None:
        assert time.monotonic() - began < 60
        time.sleep(0.02)
    return claim, time.monotonic() - began


def test_three_workers_do_each_of_forty_units_once(tmp_path):
    workers = [subprocess.Popen([sys.executable, "-c", WORK, tmp_path], stdout=subprocess.PIPE) for _ in range(3)]
    while len(list(tmp_path.glob("ready*"))) < 3:
        assert all(worker.poll() is None for worker in workers)
        time.sleep(0.01)
    (tmp_path / "go").touch()
    did = [worker.communicate()[0].split() for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0, 0]
    assert sorted(int(unit) for units in did for unit in units) == list(range(40))
    assert not list((tmp_path / "claims").iterdir())


def test_of_many_racers_for_a_dead_claim_exactly_one_wins(tmp_path):
    said = subprocess.run([sys.executable, "-c", RACE, tmp_path], capture_output=True, text=True, check=True).stdout
    assert sorted(line.split() for line in said.splitlines()) == sorted([str(k), "1"] for k in range(25))
    assert not list(tmp_path.iterdir())


def test_a_killed_holder_is_replaced_at_once_on_the_same_machine(tmp_path, holder):
    child, pid = holder()
    assert take(tmp_path, "unit") is None
    assert [(held.key, held.covers, held.pid, held.alive) for held in holders(tmp_path)] == [
        ("unit", ("unit",), pid, True)
    ]
    child.kill()
    child.wait()
    assert not holders(tmp_path)[0].alive
    with take(tmp_path, "unit") as claim:
        assert claim.generation == 1 and not claim.lost
        assert [(held.pid, held.alive) for held in holders(tmp_path)] == [(os.getpid(), True)]
    assert not holders(tmp_path)


def test_a_killed_holder_on_another_machine_is_replaced_after_its_silence(tmp_path, holder, monkeypatch):
    child, _ = holder()
    child.kill()
    child.wait()
    monkeypatch.setattr(liveness, "machine", lambda: "elsewhere")
    claim, seconds = wait_for(tmp_path, stale=50.0)  # the holder's own second counts
    assert seconds > 0.9
    claim.release()


def test_a_stopped_holder_is_replaced_after_its_silence_and_finds_itself_lost(tmp_path, holder):
    child, pid = holder()
    os.kill(pid, signal.SIGSTOP)
    claim, seconds = wait_for(tmp_path)
    assert seconds > 0.9 and claim.generation == 1
    os.kill(pid, signal.SIGCONT)
    assert child.stdout.readline() == "lost\n"
    time.sleep(0.1)
    assert not claim.lost and generations(tmp_path, "unit").keys() == {1}  # it took its own file away, not ours
    claim.release()


def test_a_holder_that_was_stopped_until_all_was_over_finds_itself_lost(tmp_path, holder):
    child, pid = holder()
    os.kill(pid, signal.SIGSTOP)
    wait_for(tmp_path)[0].release()
    with take(tmp_path, "unit") as claim:  # generation 0 again
        os.kill(pid, signal.SIGCONT)
        assert child.stdout.readline() == "lost\n"
        time.sleep(0.1)
        assert claim.generation == 0 and not claim.lost and generations(tmp_path, "unit").keys() == {0}


def test_lost_is_known_before_the_first_late_heartbeat(tmp_path):
    told = []
    claim = take(tmp_path, "unit", 60.0, on_lost=lambda: told.append(True))
    (tmp_path / "unit.1.json").write_text("")
    assert not claim.lost
    claim._looked -= 31  # as after 31 s of SIGSTOP: no heartbeat came by yet
    assert claim.lost and claim.lost and told == [True]
    claim.release()
    assert generations(tmp_path, "unit").keys() == {1}


def test_who_judged_long_ago_withdraws(tmp_path, holder):
    """Saw a dead claim, stalled; meanwhile another took over and finished, and a third began anew."""
    child, _ = holder()
    child.kill()
    child.wait()
    before = generations(tmp_path, "unit")
    take(tmp_path, "unit").release()
    with take(tmp_path, "unit") as third:
        assert third.generation == 0
        assert not Claim(tmp_path, "unit", 1, 60.0, (), lambda: None)._create(before)
        assert not third.lost and generations(tmp_path, "unit").keys() == {0}


def test_who_listed_before_anyone_was_there_withdraws(tmp_path):
    (tmp_path / "unit.1.json").write_text("")  # a take-over in the making
    assert not Claim(tmp_path, "unit", 0, 60.0, (), lambda: None)._create({})
    assert generations(tmp_path, "unit").keys() == {1}


def test_a_holder_killed_before_it_wrote_is_replaced_after_silence(tmp_path):
    (tmp_path / "unit.0.json").touch()
    claim, seconds = wait_for(tmp_path, stale=0.3)
    assert seconds >= 0.3
    claim.release()


def test_a_forked_child_does_not_keep_a_killed_holders_claim(tmp_path, holder):
    child, grandchild = holder("fork")
    assert take(tmp_path, "unit") is None
    child.kill()
    child.wait()
    os.kill(grandchild, 0)
    try:
        take(tmp_path, "unit").release()
    finally:
        os.kill(grandchild, signal.SIGKILL)


def unsupported(*_):
    raise OSError(errno.ENOTSUP, "Operation not supported")


@pytest.mark.parametrize(
    "flock", [rarely(unsupported, id="refused"), pytest.param(lambda *_: None, id="without effect")]
)
def test_without_flock_the_heartbeat_decides(tmp_path, monkeypatch, flock):
    monkeypatch.setattr(fcntl, "flock", flock)
    claim = take(tmp_path, "unit", 1.0)
    until = time.monotonic() + 1.5
    while time.monotonic() < until:
        assert take(tmp_path, "unit", 1.0) is None
        time.sleep(0.02)
    claim._released.set()  # the heart stops, the file stays
    second, seconds = wait_for(tmp_path, 1.0)
    assert seconds > 0.8 and second.generation == 1
    second.release()
    claim.drop()


def test_an_observer_that_was_stopped_itself_does_not_think_all_others_were(tmp_path, monkeypatch):
    claim = take(tmp_path, "unit", 60.0)
    monkeypatch.setattr(liveness, "machine", lambda: "elsewhere")
    looks = iter([0.0, 1000.0, 1010.0, 1020.0, 1035.0])
    monkeypatch.setattr(liveness.time, "monotonic", lambda: next(looks))
    file = generations(tmp_path, "unit")[0]
    assert [dead(file, 60.0) for _ in range(5)] == [False, False, False, False, False]
    monkeypatch.undo()
    claim.release()


def test_one_process_holds_many_and_each_once(tmp_path):
    with take(tmp_path / "new" / "claims", "a", covers=["x", "y"]), take(tmp_path / "new" / "claims", "b") as b:
        assert take(tmp_path / "new" / "claims", "a") is None
        assert [(held.key, held.covers) for held in holders(tmp_path / "new" / "claims")] == [
            ("a", ("x", "y")),
            ("b", ("b",)),
        ]
        b.release()
        take(tmp_path / "new" / "claims", "b").release()
    assert holders(tmp_path / "nowhere") == []


def test_it_is_released_when_the_work_fails(tmp_path):
    with contextlib.suppress(ZeroDivisionError), take(tmp_path, "unit"):
        raise ZeroDivisionError
    with take(tmp_path, "unit") as claim:
        assert claim.generation == 0


def test_a_folder_that_cannot_be_used_is_told(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(JaxgptError, match=r"file: cannot be claimed in: Not a directory"):
        take(tmp_path / "file", "unit")


def test_a_claim_that_somebody_removed_is_made_again(tmp_path):
    lost = []
    with take(tmp_path, "unit", 0.6, on_lost=lambda: lost.append(1)) as claim:
        for _ in range(3):
            owner = generations(tmp_path, "unit")[0].owner
            claim.path.unlink()
            until = time.monotonic() + 20
            while not generations(tmp_path, "unit"):
                assert time.monotonic() < until
                time.sleep(0.01)
            time.sleep(0.02)
            assert generations(tmp_path, "unit")[0].owner == owner and take(tmp_path, "unit", 60.0) is None
        shutil.rmtree(tmp_path)
        while not generations(tmp_path, "unit"):
            time.sleep(0.01)
        assert not claim.lost and not lost
    assert not generations(tmp_path, "unit")


def test_a_claim_that_somebody_removed_and_another_took_is_lost(tmp_path):
    lost = []
    first = take(tmp_path, "unit", 60.0, on_lost=lambda: lost.append(1))
    first.path.unlink()
    with take(tmp_path, "unit", 60.0) as second:
        first._beat()
        assert first.lost and lost == [1] and not second.lost
    first.release()


def test_a_claim_that_was_removed_during_a_silence_is_lost(tmp_path):
    """Another may have done the unit and gone."""
    claim = take(tmp_path, "unit", 60.0)
    claim.path.unlink()
    claim._looked -= 31
    assert claim.lost and not generations(tmp_path, "unit")
    claim.release()


def strange(path, kind):
    path.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "circle":
        path.symlink_to(path)
    else:
        path.write_bytes(kind)


@pytest.mark.parametrize(
    "kind", ["pipe", "folder", "circle", b"", b"\0" * 99, b"[]", b"{}", b'{"owner": 3}', b"[" * 10**5]
)
def test_what_is_no_claim_is_waited_for_once_and_passed_over(tmp_path, kind):
    strange(tmp_path / "unit.0.json", kind)
    strange(tmp_path / "other.0.json", kind)
    (tmp_path / f"unit.{10**40}.json").touch()
    assert holders(tmp_path) == []
    claim, seconds = wait_for(tmp_path, 0.3)
    assert seconds >= 0.3 and claim.generation == 1 and [held.key for held in holders(tmp_path)] == ["unit"]
    claim.release()
    assert 1 not in generations(tmp_path, "unit")


def test_a_claim_may_not_ask_for_patience_without_end(tmp_path, monkeypatch):
    facts = '{"owner": "x", "host": "h", "pid": 1, "since": 1, "stale": 1e12, "covers": ["unit"]}'
    (tmp_path / "unit.0.json").write_text(facts)
    claim, seconds = wait_for(tmp_path, 0.05)
    assert seconds >= 0.5 and claim.generation == 1
    claim.release()


def test_a_clock_that_is_off_does_not_make_a_holder_look_dead_or_alive(tmp_path, monkeypatch):
    """To who looks twice: the file's time is of another machine."""
    monkeypatch.setattr(liveness, "machine", lambda: "elsewhere")
    with take(tmp_path, "unit", 60.0) as claim:
        monkeypatch.setattr(liveness, "machine", lambda: "here")
        os.utime(claim.path, (1e9, 1e9))
        assert [held.alive for held in holders(tmp_path)] == [False]  # by its time
        claim._beat()
        os.utime(claim.path, (1e9, 1e9))
        assert [held.alive for held in holders(tmp_path)] == [True] == [held.alive for held in holders(tmp_path)]


@pytest.mark.parametrize("text", [b"", b"{", b"\0" * 50, b"x" * 5000])
def test_a_claim_whose_file_is_torn_is_mended_by_its_holder(tmp_path, text):
    with take(tmp_path, "unit", 60.0) as claim:
        owner = generations(tmp_path, "unit")[0].owner
        claim.path.write_bytes(text)
        assert take(tmp_path, "unit", 60.0) is None
        claim._beat()
        assert not claim.lost and generations(tmp_path, "unit")[0].owner == owner
    assert not generations(tmp_path, "unit")
