"""The MLflow sink, against a stand-in for its library."""

from collections import namedtuple
from types import SimpleNamespace

import pytest

from jaxgpt.runs.sinks import Facts, Mlflow

Metric = namedtuple("Metric", "key value timestamp step")
Param = namedtuple("Param", "key value")
RunTag = namedtuple("RunTag", "key value")


class MlflowException(Exception):
    pass


@pytest.fixture
def server(module):
    """What the servers hold, by URI: experiments by name, and each run's name, metrics, params, tags and status."""
    held = {}

    class MlflowClient:
        def __init__(self, tracking_uri):
            self.held = held.setdefault(tracking_uri, SimpleNamespace(experiments={}, runs={}, raced=False))

        def get_experiment_by_name(self, name):
            found = self.held.experiments.get(name)
            return found and SimpleNamespace(experiment_id=found)

        def create_experiment(self, name):
            self.held.experiments[name] = f"e{len(self.held.experiments)}"
            if self.held.raced:
                raise MlflowException("RESOURCE_ALREADY_EXISTS")
            return self.held.experiments[name]

        def create_run(self, experiment_id, run_name):
            name = f"r{len(self.held.runs)}"
            run = SimpleNamespace(experiment=experiment_id, name=run_name, metrics=[], params={}, tags={})
            run.status = ["RUNNING"]
            self.held.runs[name] = run
            return SimpleNamespace(info=SimpleNamespace(run_id=name))

        def log_batch(self, run_id, metrics=(), params=(), tags=()):
            assert len(params) <= 100, "more than MLflow takes"
            self.held.runs[run_id].metrics += [(m.step, m.key, m.value) for m in metrics]
            self.held.runs[run_id].params.update(params)
            self.held.runs[run_id].tags.update(tags)

        def set_tag(self, run_id, key, value):
            self.held.runs[run_id].tags[key] = value

        def update_run(self, run_id, status):
            self.held.runs[run_id].status.append(status)

        set_terminated = update_run

    module("mlflow", MlflowClient=MlflowClient)
    module("mlflow.entities", Metric=Metric, Param=Param, RunTag=RunTag)
    module("mlflow.exceptions", MlflowException=MlflowException)
    return held


def test_a_run_carries_config_tags_and_rows(server, directory, facts):
    write, close, _ = Mlflow(tracking_uri="http://there").open(directory, facts)
    write({"step": 10, "train/loss": 2.5, "mfu": None})
    close("finished")
    held = server["http://there"]
    (run,) = held.runs.values()
    assert held.experiments == {"heat": run.experiment}
    assert run.name == "warm/s03-1f0c9a2b4d"
    assert run.params["optim.lr"] == "0.0625"
    assert run.tags.items() >= {"arm": "warm", "seed": "3", "status": "finished"}.items()
    assert run.metrics == [(10, "train/loss", 2.5)]


def test_a_second_start_resumes_the_same_run(server, directory, facts):
    sink = Mlflow(tracking_uri="http://there")
    for step, status in ((10, "stopped"), (20, "diverged")):
        write, close, _ = sink.open(directory, facts)
        write({"step": step, "train/loss": 2.5})
        close(status)
    (run,) = server["http://there"].runs.values()
    assert [step for step, *_ in run.metrics] == [10, 20]
    assert run.status == ["RUNNING", "KILLED", "RUNNING", "FAILED"]
    assert run.tags["status"] == "diverged"


def test_another_server_gets_a_run_of_its_own(server, directory, facts):
    for uri in ("http://here", "http://there", "http://here"):
        Mlflow(tracking_uri=uri).open(directory, facts)
    assert {uri: len(held.runs) for uri, held in server.items()} == {"http://here": 1, "http://there": 1}


def test_a_sweep_shares_a_store_and_a_lone_run_has_its_own(server, directory, facts, tmp_path):
    Mlflow().open(directory, facts)
    (tmp_path / "lone").mkdir()
    Mlflow().open(tmp_path / "lone", Facts.of(facts.config, tmp_path / "lone"))
    assert list(server) == [f"sqlite:///{tmp_path}/heat/mlflow.db", f"sqlite:///{tmp_path}/lone/mlflow.db"]
    assert list(server[f"sqlite:///{tmp_path}/lone/mlflow.db"].experiments) == ["jaxgpt"]


def test_two_runs_may_make_the_experiment_at_once(server, directory, facts):
    server["http://there"] = SimpleNamespace(experiments={}, runs={}, raced=True)
    Mlflow(tracking_uri="http://there").open(directory, facts)
    assert len(server["http://there"].runs) == 1


def test_a_large_config_is_sent_in_parts(server, directory, facts):
    config = dict(facts.config) | {"many": {f"f{i}": i for i in range(250)}}
    Mlflow(tracking_uri="http://there").open(directory, Facts.of(config, directory))
    (run,) = server["http://there"].runs.values()
    assert run.params["many.f249"] == "249"
