import os
import signal
import sys
import time

import pytest

from jaxgpt.lab.workers.engines import Engine, Here, Processes, Ray, Slurm, worker_command
from jaxgpt.lab.workers.engines.slurm import SlurmCrew
from jaxgpt.spec import ConfigError, Spec, members, parse


class Lab(Spec):
    engine: Engine = Here()


def wait_for(there):
    deadline = time.monotonic() + 60
    while not there():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("kind", members("engine"))
def test_every_kind_is_named_by_a_word_and_hashes(kind):
    engine = parse(Lab, {"engine": kind}).engine
    assert engine.kind == kind and hash(engine) == hash(type(engine)())
    assert parse(Lab, {"engine": engine.model_dump()}).engine == engine


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"kind": "slurms"}, "engine: unknown engine kind 'slurms'; did you mean 'slurm'?"),
        ({"kind": "slurm", "partion": "a"}, "engine.partion.*did you mean 'partition'"),
        ({"kind": "processes", "workers": 0}, "engine.workers.*greater than 0"),
        ({"kind": "here", "workers": 2}, "engine.workers"),
    ],
)
def test_a_wrong_field_is_named(fields, line):
    with pytest.raises(ConfigError, match=line):
        parse(Lab, {"engine": fields})


def test_a_worker_is_this_interpreter_on_an_absolute_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "runs"
    assert worker_command(folder.relative_to(tmp_path)) == [
        sys.executable,
        "-m",
        "jaxgpt",
        "lab",
        "work",
        str(folder),
    ]


def test_here_starts_nobody(tmp_path):
    crew = Here().start(tmp_path)
    assert (crew.alive(), crew.describe()) == (0, [])
    assert not list(tmp_path.iterdir())


def test_processes_share_a_sweep_and_leave_logs(sweep):
    for name in "abcd":
        sweep.add(name, 1)
    crew = Processes(workers=2).start(sweep.folder)
    wait_for(lambda: crew.alive() == 0)
    assert sweep.finished() == dict.fromkeys("abcd", 1)
    logs = sorted((sweep.folder / "workers").iterdir())
    assert [log.name for log in logs] == ["process-0.log", "process-1.log"]
    assert all(log.read_text() == "working on 4 units\n" for log in logs)
    assert [line.split(", log ")[1] for line in crew.describe()] == list(map(str, logs))


@pytest.mark.parametrize("end", ["dies", "loses"])
def test_a_process_that_was_killed_or_lost_its_claim_is_started_again(sweep, end):
    (sweep.add("a", 2) / end).touch()
    crew = Processes(workers=1).start(sweep.folder)
    wait_for(lambda: crew.alive() == 0)
    assert sweep.finished() == {"a": 1}
    assert (sweep.folder / "workers" / "process-0.log").read_text() == "working on 1 units\n" * 2


def test_a_process_that_keeps_dying_is_given_up(sweep):
    (sweep.add("a", 2) / "dies").touch()
    crew = Processes(workers=1, restarts=0).start(sweep.folder)
    wait_for(lambda: crew.alive() == 0)
    assert not sweep.finished()


def test_stopped_processes_save_and_are_not_started_again(sweep):
    unit = sweep.add("a", 10_000)
    crew = Processes(workers=2).start(sweep.folder)
    wait_for((unit / "done").exists)
    crew.workers[1].process.send_signal(signal.SIGKILL)  # it waits for the unit, and could not hear
    crew.stop()
    assert crew.alive() == 0
    assert sorted(worker.process.returncode for worker in crew.workers) == [-signal.SIGKILL, 75]


def test_threads_reach_the_worker(sweep):
    sweep.add("a", 0)
    (worker,) = Processes(workers=1, threads=3).start(sweep.folder).workers
    worker.process.wait()
    assert worker.environment == {"NPROC": "3", "OMP_NUM_THREADS": "3"}


def test_gpus_are_shared_out(monkeypatch):
    def visible(engine):
        return [share["CUDA_VISIBLE_DEVICES"] for share in engine.shares()]

    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert visible(Processes(workers=2, gpus=2)) == ["0,1", "2,3"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7,GPU-a")
    assert visible(Processes(workers=3, gpus=1)) == ["5", "7", "GPU-a"]
    with pytest.raises(ConfigError, match=r"engine.gpus: 2 workers with 2 each need 4, .* names 3; lower"):
        visible(Processes(workers=2, gpus=2))


def test_slurm_says_what_is_missing(sweep, monkeypatch):
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(ConfigError, match=r"engine: slurm needs submitit; pip install 'jaxgpt\[engines\]'"):
        Slurm().start(sweep.folder)
    assert not sweep.folder.exists()


def test_slurm_says_that_this_is_no_cluster(sweep, monkeypatch):
    pytest.importorskip("submitit")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ConfigError, match=r"no 'sbatch' on this machine; run on the cluster's login node"):
        Slurm().start(sweep.folder)
    assert not sweep.folder.exists()


def test_ray_says_what_is_missing(sweep, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"engine: ray needs Ray; pip install 'jaxgpt\[engines\]'"):
        Ray().start(sweep.folder)
    assert not sweep.folder.exists()


def test_slurm_fields_become_sbatch_parameters(tmp_path):
    engine = Slurm(partition="gpu", minutes=90, gpus=1, cpus=8, memory_gb=1.5, extra={"qos": "low"}, setup=("a", "b"))
    parameters = engine.parameters(tmp_path / "position")
    assert parameters.pop("additional_parameters") == {"requeue": True, "qos": "low"}
    assert parameters == {
        "job_name": "jaxgpt-position",
        "time": 90,
        "cpus_per_task": 8,
        "srun_args": ["--cpus-per-task=8"],
        "stderr_to_stdout": True,
        "partition": "gpu",
        "gpus_per_node": 1,
        "mem": "1536MB",
        "setup": ["a", "b"],
    }


def test_sbatch_takes_the_parameters(tmp_path):
    slurm = pytest.importorskip("submitit.slurm.slurm")
    script = slurm._make_sbatch_string("work", tmp_path, **Slurm(gpus=1, memory_gb=2, cpus=3).parameters(tmp_path))
    lines = script.splitlines()
    for flag in ("requeue", "gpus-per-node=1", "mem=2048MB", "cpus-per-task=3", "open-mode=append"):
        assert f"#SBATCH --{flag}" in lines
    assert "srun" in script and "--cpus-per-task=3 work" in script


def test_the_slurm_crew_trusts_its_last_count_while_squeue_fails(tmp_path, monkeypatch):
    squeue = tmp_path / "squeue"
    squeue.write_text("#!/bin/sh\nprintf '7\\n71\\n7\\n'\n")
    squeue.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    crew = SlurmCrew("7", ["a.log", "b.log", "c.log"])
    assert crew.alive() == 2
    squeue.write_text("#!/bin/sh\nexit 1\n")
    assert crew.alive() == 2
