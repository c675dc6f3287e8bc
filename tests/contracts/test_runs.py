"""Every kind of run can be told from others, says what it costs, and is read back from its config."""

from jaxgpt.runs import Run
from jaxgpt.spec import digest, dump_yaml, load_yaml

SEAM = "run"
EXAMPLES = {
    "objective": [
        {
            "model": {"kind": "gpt2", "num_layers": 1, "d_model": 16, "num_heads": 2, "context": 8, "vocab_size": 32},
            "tokenizer": "byte",
            "batch_size": 2,
            "steps": 4,
            "optim": {"kind": "adamw", "lr": 1e-3},
        }
    ]
}


def test_the_config_repeats_the_run(member, tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(dump_yaml(member), encoding="utf-8")
    assert load_yaml(Run, path) == member


def test_how_it_is_computed_is_no_part_of_what_it_is(member):
    other = member.evolve(exec=member.exec.evolve(log_every=7))
    assert other.settings() == member.settings() and digest(other.identity()) == digest(member.identity())
    assert digest(member.evolve(seed=member.seed + 1).identity()) != digest(member.identity())


def test_runs_that_differ_in_their_seed_have_one_signature(member):
    assert member.evolve(seed=member.seed + 1).signature() == member.signature() == member.signature().signature()


def test_a_step_costs_something(member):
    complete = member.completed()
    assert complete.complete and complete.completed() == complete
    assert complete.cost().flops > 0 and complete.cost().tokens > 0


def test_a_longer_run_shares_no_more_steps_than_there_are(member):
    assert 0 <= member.evolve(steps=2 * member.steps).shared_steps(member.steps) <= member.steps
