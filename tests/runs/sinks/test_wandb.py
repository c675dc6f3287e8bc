"""The W&B sink, against a stand-in for its library."""

from jaxgpt.runs.sinks import Wandb


def test_a_run_carries_config_group_and_tags(wandb, directory, facts):
    Wandb(project="gpt", entity="lab", mode="offline").open(directory, facts)
    (run,) = wandb.runs
    asked = run.asked
    assert (asked["project"], asked["entity"], asked["mode"]) == ("gpt", "lab", "offline")
    assert (asked["name"], asked["group"]) == ("warm/s03-1f0c9a2b4d", "heat/warm")
    assert asked["config"] == facts.config and asked["dir"] == str(directory)
    assert asked["tags"] == ["model:gpt2", "seed:3", "experiment:heat", "arm:warm"]
    assert asked["reinit"] == "create_new"  # no other run of the process ends


def test_rows_keep_their_step(wandb, directory, facts):
    write, *_ = Wandb().open(directory, facts)
    write({"step": 10, "train/loss": 2.5, "mfu": None})
    assert wandb.runs[0].rows == [(10, {"train/loss": 2.5}, True)]


def test_a_second_start_resumes_the_same_run(wandb, directory, facts):
    for project in ("gpt", "gpt", "other"):
        Wandb(project=project).open(directory, facts)
    one, two, other = (run.asked for run in wandb.runs)
    assert one["id"] == two["id"] != other["id"]
    assert one["resume"] == two["resume"] == "allow"


def test_the_end_is_told(wandb, directory, facts):
    for status in ("finished", "stopped", "diverged", "failed"):
        _, close, _ = Wandb().open(directory, facts)
        close(status)
    assert [(run.summary["status"], run.ends, run.preempting) for run in wandb.runs] == [
        ("finished", [0], 0),
        ("stopped", [1], 1),
        ("diverged", [1], 0),
        ("failed", [1], 0),
    ]
