"""How processes find each other: bad words are refused in one line, and nobody waits for ever."""

import os
import subprocess
import sys

import jax
import pytest
from rarely import rarely

from jaxgpt.parallel.processes.joining import join
from jaxgpt.spec import ConfigError

SOUND = {"coordinator": "localhost:1234", "processes": 2, "process": 1}


@pytest.fixture
def joined(monkeypatch):
    """What `jax.distributed.initialize` was called with."""
    calls = []
    monkeypatch.setattr(jax.distributed, "initialize", lambda **arguments: calls.append(arguments))
    for name in list(os.environ):
        if name.startswith(("SLURM_", "OMPI_", "TPU_ML", "CUDA_VISIBLE")):
            monkeypatch.delenv(name)
    return calls


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"coordinator": None}, r"--coordinator: missing; by hand it takes"),
        ({"coordinator": None, "process": None}, r"--coordinator, --process: missing"),
        ({"coordinator": "localhost"}, r"--coordinator: localhost is not HOST:PORT"),
        ({"coordinator": "localhost:port"}, r"--coordinator: localhost:port is not HOST:PORT"),
        ({"coordinator": ":1234"}, r"--coordinator: :1234 is not HOST:PORT"),
        ({"coordinator": "localhost:70000"}, r"--coordinator: localhost:70000 is not HOST:PORT"),
        ({"processes": 0}, r"--processes: 0 is not a number of processes"),
        ({"process": 2}, r"--process: 2 of 2 processes; they count from 0 to 1"),
        ({"process": -1}, r"--process: -1 of 2 processes"),
    ],
    ids=str,
)
def test_bad_words_are_refused_before_anything_starts(joined, fields, says):
    with pytest.raises(ConfigError, match=says) as caught:
        join(**(SOUND | fields))
    assert len(caught.value.problems) == 1 and not joined


def test_by_hand_nothing_else_is_asked(joined, monkeypatch):
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "8")
    join(**SOUND)
    (call,) = joined
    assert (call["coordinator_address"], call["num_processes"], call["process_id"]) == ("localhost:1234", 2, 1)
    assert call["cluster_detection_method"] == "deactivate"


def test_a_process_by_itself_stays_so(joined, monkeypatch):
    join(None, None, None)
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "1")
    join(None, None, None)
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "4")
    join(None, 1, None)  # tasks that should not join
    assert not joined


@pytest.mark.parametrize(
    ("environment", "devices"),
    [
        ({"SLURM_STEP_NUM_TASKS": "4", "SLURM_STEP_TASKS_PER_NODE": "1(x4)"}, []),
        ({"SLURM_STEP_NUM_TASKS": "16", "SLURM_STEP_TASKS_PER_NODE": "8(x2)"}, None),
        ({"SLURM_STEP_NUM_TASKS": "16", "SLURM_STEP_TASKS_PER_NODE": "8(x2)", "CUDA_VISIBLE_DEVICES": "3"}, []),
        ({"SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_TASKS_PER_NODE": "2", "CUDA_VISIBLE_DEVICES": "0,1"}, None),
        ({"OMPI_COMM_WORLD_SIZE": "2"}, None),
        ({"TPU_ML_PLATFORM": "JAX"}, None),
    ],
    ids=str,
)
def test_a_launcher_is_noticed_and_jax_finds_the_rest(joined, monkeypatch, environment, devices):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    join(None, None, None)
    (call,) = joined
    assert call["local_device_ids"] == devices and "coordinator_address" not in call


@pytest.mark.parametrize(("name", "launcher"), [("SLURM_STEP_NUM_TASKS", "srun"), ("OMPI_COMM_WORLD_SIZE", "mpirun")])
def test_a_shell_among_tasks_is_told_the_way_out_at_once(joined, monkeypatch, name, launcher):
    """What `srun --pty bash` or tmux hand on: the variables of a task, in a terminal."""
    first, second = os.openpty()
    with os.fdopen(second) as terminal, monkeypatch.context() as patch:
        patch.setattr(sys, "stdin", terminal)
        patch.setenv(name, "4")
        with pytest.raises(ConfigError, match=rf"{name}=4, but this is a shell.*--processes 1.*{launcher}$"):
            join(None, None, None)
        join(None, 1, None)
        assert not joined
        patch.setenv(name, "1")
        join(None, None, None)
        assert not joined
    os.close(first)


def test_who_waits_says_for_whom_and_the_way_out(monkeypatch):
    environment = {
        "SLURM_JOB_ID": "77",
        "SLURM_NTASKS": "4",
        "SLURM_STEP_NUM_TASKS": "4",
        "SLURM_STEP_NODELIST": "localhost",
        "SLURM_PROCID": "0",
        "SLURM_LOCALID": "0",
        "JAX_COORDINATOR_PORT": "40002",
    }
    words = [sys.executable, "-c", "from jaxgpt.parallel.processes.joining import join; join(None, None, None, wait=5)"]
    environment = os.environ | environment
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, env=environment, stdin=subprocess.DEVNULL)
    waits, ends = done.stderr.splitlines()
    assert waits == (
        "waiting up to 5 s for the other processes, announced by SLURM_STEP_NUM_TASKS=4; "
        "a process by itself takes --processes 1"
    )
    assert done.returncode == 75 and ends.startswith("error: --coordinator: no word from") and "--processes 1" in ends


def test_a_tpu_machine_without_others_trains_by_itself(joined, monkeypatch):
    def nothing_found(**arguments):
        raise ValueError("coordinator_address should be defined.")

    monkeypatch.setattr(jax.distributed, "initialize", nothing_found)
    monkeypatch.setenv("TPU_ML_PLATFORM", "JAX")
    join(None, None, None)
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "2")
    with pytest.raises(ConfigError, match="jax cannot join the processes: coordinator_address should be defined"):
        join(None, None, None)


def test_auto_where_nothing_is_found_is_one_line(monkeypatch):
    words = [sys.executable, "-c", "from jaxgpt.parallel.processes.joining import join; join('auto', None, None)"]
    environment = {name: held for name, held in os.environ.items() if not name.startswith(("SLURM_", "KUBERNETES_"))}
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, env=environment)
    assert "ConfigError: --coordinator: jax cannot join the processes: coordinator_address" in done.stderr


@pytest.mark.parametrize("process", [rarely(0), 1])
def test_nobody_waits_for_ever(process):
    code = (
        f"from jaxgpt.parallel.processes.joining import join; join('127.0.0.1:{40000 + process}', 2, {process}, wait=2)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 75, done.stderr
    assert "error: --coordinator: no word from" in done.stderr and "for 2 s" in done.stderr
