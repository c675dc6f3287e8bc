"""One process dies, stops, hangs or raises: the other ends too, and says whose fault it is. Long work is no hang."""

import sys

import pytest
from pair import STOP, Pair
from rarely import rarely

CHILD = """
import sys, time
from jaxgpt.parallel.processes import watchdog
from jaxgpt.parallel.processes.joining import join
from jaxgpt.spec import JaxgptError
watchdog.BEAT, watchdog.SILENCE, watchdog.GRACE = 0.3, 3.0, 1.0
case, address, process = sys.argv[1], sys.argv[3], int(sys.argv[7])
join(address, 2, process)
with watchdog.Watchdog(hang_seconds=4 if case == "hang" else None) as dog:
    print("begun", flush=True)
    for step in range(60):
        dog.moved()
        time.sleep(0.05)
        if step == 3 and process == 1:
            if case == "raise": raise RuntimeError("out of luck")
            if case == "refuse": raise JaxgptError("text.txt: no such file")
            if case == "hang": time.sleep(1000)
            if case == "long work": time.sleep(5)
"""
AGAIN = "; the same command continues from the last checkpoint"


def pair(case, folder):
    return Pair([sys.executable, "-c", CHILD, case], folder)


@pytest.mark.often("hang")
@pytest.mark.parametrize(
    ("case", "statuses", "line"),
    [
        rarely("raise", [1, 1], "error: process 1 raised RuntimeError: out of luck" + AGAIN),
        ("refuse", [2, 2], "error: text.txt: no such file"),
        ("hang", [1, 1], "error: no step for 4 s (exec.hang_seconds); furthest behind: process 1" + AGAIN),
        rarely("long work", [0, 0], None),
    ],
)
def test_what_ends_one_ends_both(tmp_path, case, statuses, line):
    with pair(case, tmp_path) as both:
        assert both.wait() == statuses, both.said(0) + both.said(1)
        assert both.said(0).splitlines() == ([line] if line else [])


@pytest.mark.parametrize("victim", [rarely(0), 1])
def test_a_stopped_process_is_named(tmp_path, victim):
    with pair("stop", tmp_path) as both:
        for process in both.processes:
            assert process.stdout.readline() == b"begun\n", both.said(0) + both.said(1)
        both.signal(victim, STOP)
        assert both.wait([1 - victim]) == [1]
        who = "the coordinator in process 0 has not answered" if victim == 0 else "process 1 ("
        assert both.said(1 - victim).startswith(f"error: {who}")
