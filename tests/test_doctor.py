"""`jaxgpt doctor`: a line for everything, exit status 2 for what is broken, and an answer whatever jax does."""

import json
import subprocess
import sys

import pytest

from jaxgpt import doctor
from jaxgpt.cli import main
from jaxgpt.spec import members


@pytest.fixture(scope="module")
def answered():
    """What jax says, asked once for all tests."""
    return list(doctor._jax())


@pytest.fixture
def examined(monkeypatch, capsys, answered):
    """`examined()`: exit status and the checks by name; jax is asked only with `jax=True`."""

    def call(jax=False):
        with monkeypatch.context() as patch:
            if not jax:
                patch.setattr(doctor, "_jax", lambda: answered)
            patch.setattr(sys, "argv", ["jaxgpt", "doctor", "--json"])
            with pytest.raises(SystemExit) as caught:
                main()
        checks = json.loads(capsys.readouterr().out)["checks"]
        assert all(
            check["state"] in ("ok", "note", "broken") and len(check["says"].splitlines()) == 1 for check in checks
        )
        return caught.value.code or 0, {check["name"]: check for check in checks}

    return call


def test_a_sound_machine_is_told_as_one(examined, monkeypatch, capsys, answered):
    status, checks = examined()
    assert status == 0 and not [check for check in checks.values() if check["state"] == "broken"]
    assert checks.keys() >= {"python", *doctor.LIBRARIES, "memory", "cache", "current folder", "JAXGPT_DATA", "devices"}
    assert {name for name in checks if name.startswith("kernel ")} == {f"kernel {kind}" for kind in members("kernel")}
    assert checks["devices"]["says"] == "8 x cpu (cpu)"
    assert checks["kernel reference"]["says"].startswith("runs") and checks["kernel reference"]["state"] == "ok"
    assert checks["kernel cudnn"] == {
        "name": "kernel cudnn",
        "state": "note",
        "says": "cannot run on a cpu; use chunked",
    }
    monkeypatch.setattr(doctor, "_jax", lambda: answered)
    assert doctor.report(False)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(checks) and all(line.split()[0] in ("ok", "note") for line in lines)


@pytest.mark.parametrize(
    ("variables", "name", "says"),
    [
        ({"JAXGPT_DATA": "/no/such/folder"}, "JAXGPT_DATA", "/no/such/folder: is no folder that can be read"),
        ({"JAXGPT_DATA": "~nobody-of-that-name"}, "JAXGPT_DATA", "JAXGPT_DATA: '~nobody-of-that-name': not a path"),
        ({"JAXGPT_CACHE": "/dev/null/cache"}, "cache", "/dev/null/cache: cannot be written"),
        ({"JAXGPT_CACHE": "/proc/cache"}, "cache", "/proc/cache: cannot be written"),
        ({"JAXGPT_CACHE": "~nobody-of-that-name"}, "cache", "JAXGPT_CACHE: '~nobody-of-that-name': not a path"),
    ],
)
def test_what_is_broken_is_told_with_a_remedy(examined, monkeypatch, variables, name, says):
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)
    status, checks = examined()
    assert status == 2 and checks[name]["state"] == "broken" and checks[name]["says"].startswith(says)
    assert "; " in checks[name]["says"]
    assert [check["name"] for check in checks.values() if check["state"] == "broken"] == [name]


def test_a_library_that_is_too_old_or_missing_is_told(examined, monkeypatch):
    from packaging.requirements import Requirement

    monkeypatch.setattr(doctor, "_needed", lambda: {"jax": Requirement("jax>=99")})
    status, checks = examined()
    assert status == 2 and checks["jax"]["says"].endswith("but jax>=99 is needed; pip install 'jax>=99'")
    monkeypatch.setattr(doctor, "LIBRARIES", ("no-such-library",))
    status, checks = examined()
    assert status == 2 and checks["no-such-library"]["says"] == "is not installed; pip install 'no-such-library'"


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"JAX_PLATFORMS": "nonsense"}, "JAX_PLATFORMS=nonsense: jax cannot start: "),
        ({"XLA_FLAGS": "--nonsense"}, "XLA_FLAGS=--nonsense: Unknown flag"),
        ({"PYTHONPATH": "/nowhere", "PYTHONHOME": "/nowhere"}, "jax ends the process: "),
    ],
)
def test_jax_that_does_not_start_is_one_line(examined, monkeypatch, variables, says):
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)
    status, checks = examined(jax=True)
    assert status == 2 and checks["devices"]["state"] == "broken" and checks["devices"]["says"].startswith(says)


def test_jax_that_does_not_answer_keeps_nobody_waiting(examined, monkeypatch):
    monkeypatch.setattr(doctor, "PATIENCE", 0.1)
    status, checks = examined(jax=True)
    assert status == 2 and checks["devices"]["says"].startswith("jax found no devices within 0 s")


def test_it_runs_by_itself():
    done = subprocess.run([sys.executable, "-m", "jaxgpt.doctor"], capture_output=True, text=True, timeout=120)
    assert json.loads(done.stdout)["devices"]
