"""Every metrics sink keeps a run's config and rows in its tracker, through a stop, beside other runs of the process.

With the real trackers, offline: `make trackers`. tests/train/sinks has what needs none of them.
"""

import json
import struct
import time

import pytest

from jaxgpt.runs.sinks import Facts

SEAM = "sink"
EXAMPLES = {"wandb": [{"mode": "offline"}]}
pytestmark = [pytest.mark.trackers, pytest.mark.filterwarnings("ignore")]

ROWS = [
    {"step": 10, "tokens": 640, "train/loss": 3.25, "lr": 1e-3, "grad_norm": 0.5},
    {"step": 20, "tokens": 1280, "train/loss": 2.5, "lr": 5e-4, "mfu": None, "val/loss": 2.75},
    {"step": 30, "tokens": 1920, "train/loss": 2.25, "lr": 2e-4, "grad_norm": 0.25},
]
CONFIG = {"model": {"kind": "gpt2", "num_layers": 2}, "optim": {"lr": 0.0625}, "seed": 3}


def tensorboard(directory, facts):
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    files = sorted((directory / "tensorboard").iterdir())
    values = [
        (event.step, v) for file in files for event in EventFileLoader(str(file)).Load() for v in event.summary.value
    ]
    rows = [(step, v.tag, v.tensor.float_val[0]) for step, v in values if v.tensor.float_val]
    return rows, [v.tensor.string_val[0].decode() for _, v in values if v.tag == "config"]


def wandb(directory, facts):
    from wandb.proto.wandb_internal_pb2 import Record

    rows, seen = [], []
    for file in sorted((directory / "wandb").glob("offline-run-*/*.wandb")):
        for data in wandb_records(file.read_bytes()):
            record = Record.FromString(data)
            if record.HasField("run"):
                seen.append((record.run.run_id, record.run.run_group, tuple(record.run.tags)))
                config = {item.key: item.value_json for item in record.run.config.update}
                assert json.loads(config["optim"]) == CONFIG["optim"]
            if record.HasField("history"):
                items = {(item.key or item.nested_key[0]): json.loads(item.value_json) for item in record.history.item}
                rows += [(items["_step"], name, held) for name, held in items.items() if name[0] != "_"]
    assert seen[0][1:] == (facts.group, ("model:gpt2", "seed:3", "experiment:heat", "arm:warm"))
    return rows, set(seen)


def wandb_records(data):
    """The records of W&B's offline file: LevelDB's log format, behind 7 bytes of its own."""
    at, whole = 7, b""
    while at + 7 <= len(data):
        if 2**15 - at % 2**15 < 7:  # a block's end too short for a header
            at += 2**15 - at % 2**15
            continue
        _, size, part = struct.unpack("<IHB", data[at : at + 7])
        whole += data[at + 7 : at + 7 + size]
        at += 7 + size
        if part in (1, 4):  # whole, or the last part
            yield whole
            whole = b""


def mlflow(directory, facts):
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{facts.folder / 'mlflow.db'}")
    found = client.search_runs([client.get_experiment_by_name("heat").experiment_id])
    (run,) = [run for run in found if run.info.run_name == facts.name]
    assert (run.data.tags["arm"], run.data.tags["status"], run.info.status) == ("warm", "finished", "FINISHED")
    rows = [
        (point.step, name, point.value)
        for name in run.data.metrics
        for point in client.get_metric_history(run.info.run_id, name)
    ]
    return rows, [run.data.params["optim.lr"]]


def trackio(directory, facts):
    from trackio.sqlite_storage import SQLiteStorage

    (name,) = json.loads((directory / "trackio.json").read_text()).values()
    logs = SQLiteStorage.get_logs("jaxgpt", name)
    rows = [(log["step"], key, held) for log in logs for key, held in log.items() if key not in ("step", "timestamp")]
    return rows, [SQLiteStorage.get_run_config("jaxgpt", name)["optim"]["lr"]]


READ = {read.__name__: read for read in (tensorboard, wandb, mlflow, trackio)}


def triples(rows):
    return [(r["step"], name, held) for r in rows for name, held in r.items() if name != "step" and held is not None]


@pytest.fixture(scope="module", autouse=True)
def offline(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRACKIO_DIR", str(tmp_path_factory.mktemp("trackio")))
        patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        patch.setenv("WANDB_ERROR_REPORTING", "false")
        yield


@pytest.fixture
def directories(tmp_path):
    found = [tmp_path / "heat" / "warm" / f"s0{i}-1f0c9a2b4d" for i in range(2)]
    for directory in found:
        directory.mkdir(parents=True)
    return found


def test_two_runs_at_once_stay_apart_and_go_on_after_a_stop(member, by_kind, directories, capsys):
    read = by_kind(READ)
    member.check()
    facts = [Facts.of(CONFIG, directory) for directory in directories]
    shifted = [ROWS, [row | {"train/loss": row["train/loss"] + 8} for row in ROWS]]
    for rows, status in ((slice(0, 2), "stopped"), (slice(2, 3), "finished")):
        writers = [member.open(directory, known) for directory, known in zip(directories, facts, strict=True)]
        for pair in zip(*(mine[rows] for mine in shifted), strict=True):
            for writer, row in zip(writers, pair, strict=True):
                writer.write(row)
        for writer in writers:
            writer.close(status)
        time.sleep(1.1)  # W&B names the offline file of each start by the second
    for directory, known, rows in zip(directories, facts, shifted, strict=True):
        found, once = read(directory, known)
        assert sorted(found) == [pytest.approx(row) for row in sorted(triples(rows))]
        assert len(once) == 1, "the config, once: a second run of the tracker has begun"
        assert "0.0625" in str(once) or member.kind == "wandb"
    assert capsys.readouterr().out == ""
