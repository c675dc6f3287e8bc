"""`make ray`: a real sweep on two raylets of this machine, each with room for one worker."""

import contextlib
import os
import signal
from pathlib import Path

import pytest
from ablation import Ablation, wait_for

from jaxgpt.lab.workers.engines import Ray
from jaxgpt.spec import ConfigError

pytestmark = [pytest.mark.ray, pytest.mark.filterwarnings("default")]  # Ray leaves sockets and processes to the end
ROOM = {"num_cpus": 1, "object_store_memory": 80_000_000}


@pytest.fixture
def cluster(monkeypatch):
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    import ray
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args=ROOM)
    try:
        yield cluster
    finally:
        ray.shutdown()
        cluster.shutdown()


def descendants(process: int) -> list[int]:
    """The processes that a process has started, and those that they have."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(entry.name))
    found = children.get(process, [])
    return [*found, *(child for one in found for child in descendants(one))]


def lose(cluster, node):
    """As when a machine loses power: its raylet and all that ran on it are gone at once."""
    (raylet,) = node.all_processes["raylet"]
    ran = descendants(raylet.process.pid)
    cluster.remove_node(node, allow_graceful=False)
    for process in ran:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    return ran


def test_a_killed_raylet_changes_nothing(cluster, tmp_path, undisturbed):
    node = cluster.add_node(**ROOM)
    ablation = Ablation(
        tmp_path, "lab.engine.kind=ray", "lab.engine.workers=2", f"lab.engine.address={cluster.address}"
    )
    wait_for("two runs under way", ablation.both_at_work)
    assert lose(cluster, node)
    ablation.finish()
    assert ablation.events("finished") == [1, 1, 1, 1], ablation.said()
    assert sum(ablation.events("resume")) == 1, ablation.said()
    assert ablation.results() == undisturbed


def test_a_worker_that_saved_and_stopped_is_started_again(cluster, sweep):
    unit = sweep.add("a", 30)
    crew = Ray(workers=1, address=cluster.address).start(sweep.folder)
    wait_for("step", (unit / "done").exists)
    os.kill(int((unit / "lock").read_text()), signal.SIGTERM)
    wait_for("end of the tasks", lambda: crew.alive() == 0)
    assert sweep.finished() == {"a": 1}
    (log,) = (sweep.folder / "workers").iterdir()
    assert log.read_text() == "working on 1 units\n" * 2


def test_stopped_tasks_save_and_end(cluster, sweep):
    unit = sweep.add("a", 10_000)
    crew = Ray(workers=2, address=cluster.address).start(sweep.folder)  # one more than there is room for
    wait_for("step", (unit / "done").exists)
    assert crew.alive() == 2 and len(crew.describe()) == 2
    crew.stop()
    assert crew.alive() == 0 and not sweep.finished()
    assert (unit / "saved").exists()


@pytest.mark.parametrize("address", ["auto", "127.0.0.1:1"])
def test_a_cluster_that_is_not_there_is_one_line(sweep, address):
    with pytest.raises(ConfigError, match=f"no Ray cluster at '{address}'; start one with 'ray start --head'"):
        Ray(address=address).start(sweep.folder)
