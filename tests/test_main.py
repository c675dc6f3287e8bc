"""The process around the verbs: Ctrl-C at any moment, streams that are closed, full, or not UTF-8."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jaxgpt.cli import main
from jaxgpt.spec import ConfigError

ENDED = (-signal.SIGINT, 128 + signal.SIGINT)
"""What ended by Ctrl-C: killed by it, which shells count as 130, or 130 outright."""


def start(*words, **options):
    """On one device: a shipped config's rows need not divide over the tests' eight."""
    flags = os.environ["XLA_FLAGS"].replace("device_count=8", "device_count=1")
    given = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    given |= {"env": os.environ | {"XLA_FLAGS": flags}} | options
    return subprocess.Popen([sys.executable, "-m", "jaxgpt", *map(str, words)], **given)


def shell(line, **environment):
    """Exit status, standard output and standard error of a line of bash, in which $J is our command."""
    environment = os.environ | {"J": f"{sys.executable} -m jaxgpt"} | environment
    done = subprocess.run(["bash", "-c", line], capture_output=True, env=environment, timeout=120)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


@pytest.mark.often("list configs", "/dev/full-", "show nothing 2>&-", "ascii $J show", "--help")
@pytest.mark.parametrize(
    ("line", "status", "out", "err"),
    [
        ("$J list configs | head -1; exit ${PIPESTATUS[0]}", (0, 141), "bert/base", ""),
        ("$J show gpt2/demo | true; exit ${PIPESTATUS[0]}", (141,), "", ""),
        ("$J list experiments > /dev/full", (2,), "", "error: standard output cannot be written: No space left"),
        ("$J list experiments >&-", (0,), "", ""),
        ("$J show nothing 2>&-", (2,), "", ""),
        ("$J show nothing 2> /dev/full", (2,), "", ""),
        ("PYTHONIOENCODING=ascii $J list experiments", (0,), "smaller by ?(2?layers)", ""),
        ("PYTHONIOENCODING=ascii $J show naïve", (2,), "", r"error: na\xefve: no such config file"),
        ("LC_ALL=C PYTHONUTF8=0 PYTHONCOERCECLOCALE=0 $J list experiments", (0,), "position", ""),
        ("LC_ALL=C PYTHONUTF8=0 PYTHONCOERCECLOCALE=0 $J --help", (0,), "train", ""),
        ("$J show $'\\xff\\xfe'", (2,), "", "error: "),
    ],
)
def test_streams_of_any_kind_end_in_a_status_and_no_traceback(line, status, out, err):
    code, said, told = shell(line)
    assert code in status, (code, told)
    assert out in said and told.startswith(err) and len(told.splitlines()) == (1 if err else 0), told


def test_what_a_terminal_would_obey_is_spelled_out(monkeypatch, capsys):
    for word in ("\x1b[31mred", "two\nlines", "\u202ereversed", "\x07", "tab\there"):
        monkeypatch.setattr(sys, "argv", ["jaxgpt", "show", word])
        with pytest.raises(SystemExit):
            main()
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("error: ") and line.isprintable()


def test_every_problem_is_one_line(monkeypatch, capsys):
    def problems(*_):
        raise ConfigError(["one\nline", "two\r"])

    monkeypatch.setattr("jaxgpt.shipped.find", problems)
    monkeypatch.setattr(sys, "argv", ["jaxgpt", "show", "x"])
    with pytest.raises(SystemExit):
        main()
    assert capsys.readouterr().err == "error: one\\nline\nerror: two\\r\n"


def test_a_background_job_keeps_ignoring_the_interrupt():
    code = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.SIG_IGN); sys.argv = ['jaxgpt', '--version']\n"
        "from jaxgpt.__main__ import main\n"
        "try:\n    main()\n"
        "finally:\n    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN"
    )
    assert subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL).returncode == 0


def begin(process):
    """Waits until Python's own start is over: it catches the interrupt first, and we leave it to the system then."""
    caught, until = False, time.monotonic() + 10
    while process.poll() is None and time.monotonic() < until:
        (mask,) = (line for line in Path(f"/proc/{process.pid}/status").read_text().splitlines() if "SigCgt" in line)
        now = int(mask.split()[1], 16) >> (signal.SIGINT - 1) & 1
        if caught and not now:
            return
        caught = caught or bool(now)
        time.sleep(0.002)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("verb", ["show", "train", "ablate"])
def test_ctrl_c_ends_a_verb_at_once_and_quietly(verb, seed, tmp_path):
    """Ten moments of each, from the moment on that Python itself has started, which takes some 30 ms."""
    draw = random.Random(f"{verb} {seed}")
    words = {
        "show": ["gpt3/175b"],
        "train": ["gpt2/demo", "--out", tmp_path / "run"],
        "ablate": ["position", "--out", tmp_path / "sweep", "lab.fuse=off"],
    }[verb]
    for _ in range(10):
        process = start(verb, *words, cwd=tmp_path)
        begin(process)
        time.sleep(draw.uniform(0, 6))
        running = process.poll() is None
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        assert "Traceback" not in err and "KeyboardInterrupt" not in err, err
        assert process.returncode in (*ENDED, 75) if running else process.returncode == 0, err
        assert time.monotonic() - began < 20
