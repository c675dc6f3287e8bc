"""`make slurm`: a real sweep on a private Slurm cluster of two nodes, each with room for one worker."""

import pytest
from ablation import Ablation, wait_for
from slurm_cluster import SlurmCluster, missing

from jaxgpt.lab.workers.engines.slurm import Slurm
from jaxgpt.spec import ConfigError

pytestmark = pytest.mark.slurm


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    assert not missing(), f"no {missing()} on this machine; on Debian: apt-get install slurm-wlm munge"
    with SlurmCluster(tmp_path / "cluster") as cluster:
        monkeypatch.setenv("SLURM_CONF", cluster.environment["SLURM_CONF"])
        yield cluster


def ablate(cluster, out):
    out.mkdir()
    return Ablation(out, "lab.engine.kind=slurm", "lab.engine.workers=2", environment=cluster.environment)


def check(ablation, undisturbed, cut):
    """Each run ended once, `cut` of them in more than one go, and the table holds the same bytes."""
    ablation.finish()
    assert ablation.events("finished") == [1, 1, 1, 1], ablation.said()
    assert sum(ablation.events("resume")) == cut, ablation.said()
    assert ablation.results() == undisturbed


def running(cluster):
    return sorted(cluster.ask("squeue", "--noheader", "--array", "--states=RUNNING", "--format=%i").split())


def test_a_requeued_job_changes_nothing(cluster, tmp_path, undisturbed):
    ablation = ablate(cluster, tmp_path / "out")
    wait_for("two runs under way", ablation.both_at_work)
    first, _ = running(cluster)
    assert cluster.ask("scontrol", "requeue", first) == ""
    check(ablation, undisturbed, cut=1)


def test_a_lost_node_changes_nothing(cluster, tmp_path, undisturbed):
    ablation = ablate(cluster, tmp_path / "out")
    wait_for("two runs under way", ablation.both_at_work)
    cluster.lose_node("n2")
    wait_for("requeued job", lambda: len(running(cluster)) == 1)
    check(ablation, undisturbed, cut=1)


def test_a_job_that_is_asked_to_end_saves_and_goes_back_into_the_queue(cluster, sweep):
    """As in the grace time of a preemption, when Slurm has not yet taken the job back."""
    unit = sweep.add("a", 60)
    crew = Slurm(workers=1).start(sweep.folder)
    wait_for("step", (unit / "done").exists)
    cluster.ask("scancel", "--signal=TERM", crew.job)
    wait_for("end of the jobs", lambda: crew.alive() == 0)
    assert sweep.finished() == {"a": 1}
    (log,) = (sweep.folder / "workers" / "slurm").glob("*.out")
    assert log.read_text().count("working on 1 units") == 2


def test_stopped_jobs_save_and_leave_the_queue(cluster, sweep):
    unit = sweep.add("a", 10_000)
    crew = Slurm(workers=3).start(sweep.folder)  # one more than there is room for
    wait_for("step", (unit / "done").exists)
    assert crew.alive() == 3 and len(crew.describe()) == 3
    crew.stop()
    wait_for("end of the jobs", lambda: crew.alive() == 0)
    assert not sweep.finished()
    assert any("Exited with exit code 75" in log.read_text() for log in (sweep.folder / "workers").rglob("*.out"))


def test_what_sbatch_refuses_is_one_line(cluster, sweep):
    with pytest.raises(ConfigError, match=r"sbatch refused: .* Invalid partition name specified; change engine\.\*"):
        Slurm(partition="none").start(sweep.folder)
