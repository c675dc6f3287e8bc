"""No figure is reported from a busy machine, neither one that was so before nor one that became so meanwhile."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "bench"


@pytest.fixture
def harness(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCH))
    import busy
    import harness

    monkeypatch.setattr(sys, "argv", ["some.py"])
    monkeypatch.setattr(harness, "watched", lambda: 0.1)
    monkeypatch.setattr(busy.Others, "cores", lambda self: 0.1)
    return harness


def refused(capsys, call):
    with pytest.raises(SystemExit) as caught:
        call()
    out, err = capsys.readouterr()
    assert caught.value.code == 2 and out == "" and err.count("\n") == 1
    return err


def test_a_machine_that_is_busy_before(harness, monkeypatch, capsys):
    monkeypatch.setattr(harness, "watched", lambda: 1.4)
    line = refused(capsys, lambda: harness.arguments("times"))
    assert line == "error: other programs keep 1.4 cores busy; nothing is reported: wait, or add --busy\n"


def test_a_machine_that_becomes_busy(harness, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(sys, "argv", ["some.py", "--json", str(tmp_path / "some.json")])
    options = harness.arguments("times")
    monkeypatch.setattr(type(options.others), "cores", lambda self: 0.6)
    line = refused(capsys, lambda: harness.write(options, {"ratio": 1.0}, "a processor"))
    assert "other programs kept 0.6 cores busy" in line and not list(tmp_path.iterdir())


def test_figures_take_the_place_of_earlier_figures_alone(harness, monkeypatch, capsys, tmp_path):
    figures, own = tmp_path / "figures.json", tmp_path / "config.json"
    own.write_text('{"model_type": "bert"}')
    for path in (figures, figures, own):
        monkeypatch.setattr(sys, "argv", ["some.py", "--busy", "--json", str(path)])
        if path == own:
            with pytest.raises(SystemExit) as caught:
                harness.arguments("times")
            assert caught.value.code == 2 and "config.json is there already" in capsys.readouterr().err
        else:
            harness.write(harness.arguments("times"), {"ratio": 1.0}, "a processor")
    assert own.read_text() == '{"model_type": "bert"}'


@pytest.mark.parametrize(("words", "how"), [(["--busy"], {}), ([], {"timed": False})], ids=["asked for", "a count"])
def test_figures_where_asked_for_or_where_nothing_is_timed(harness, monkeypatch, capsys, tmp_path, words, how):
    monkeypatch.setattr(harness, "watched", lambda: 9.0)
    monkeypatch.setattr(sys, "argv", ["some.py", *words, "--json", str(tmp_path / "some.json")])
    harness.write(harness.arguments("times", **how), {"ratio": 1.0}, "a processor")
    report = json.loads((tmp_path / "some.json").read_text())
    assert report["figures"] == {"ratio": 1.0} and report["command"].startswith("python some.py")
    assert json.loads(capsys.readouterr().out) == report


def test_an_idle_machine_reports(harness, capsys):
    options = harness.arguments("times")
    assert options.others is not None
    harness.write(options, {"ratio": 1.0}, "a processor")
    assert json.loads(capsys.readouterr().out)["figures"] == {"ratio": 1.0}


def test_what_counts_is_the_time_of_others(monkeypatch, tmp_path):
    """Of 5 cores' worth of ticks in 2 seconds, 3 seconds were ours."""
    monkeypatch.syspath_prepend(str(BENCH))
    import busy

    per_second = os.sysconf("SC_CLK_TCK")
    times = iter([(100.0, 1.0), (102.0, 4.0)])
    ticks = iter([0, 5 * 2 * per_second])

    def now():
        elapsed, own = next(times)
        user = next(ticks)
        busy.STAT.write_text(f"cpu  {user} 0 0 123456 99 0 0 0 0 0\ncpu0 1 2 3\n")
        return os.times_result((own, 0.0, 0.0, 0.0, elapsed))

    monkeypatch.setattr(busy, "STAT", tmp_path / "stat")
    busy.STAT.touch()
    monkeypatch.setattr(busy.os, "times", now)
    assert busy.Others().cores() == pytest.approx((10 - 3) / 2)


@pytest.mark.parametrize("script", sorted(path.name for path in BENCH.glob("*.py")))
def test_every_script_asks(script):
    """All that write figures take their options from the harness, where the machine is watched."""
    text = (BENCH / script).read_text()
    if "write(options, " in text and script != "harness.py":
        assert "arguments(" in text


def test_it_can_be_run(tmp_path):
    """The real thing, which says no or gives figures according to what this machine is doing."""
    script = tmp_path / "nothing.py"
    script.write_text("from harness import arguments, write\nwrite(arguments('nothing'), {'ratio': 1}, 'x')\n")
    environment = os.environ | {"PYTHONPATH": str(BENCH)}
    done = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout == "") in ((0, False), (2, True))
