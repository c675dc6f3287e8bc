"""The identity of a run: what tells it from all others, in this version and the next."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from jaxgpt.runs import BatchRamp, ObjectiveRun
from jaxgpt.runs.identity import claim
from jaxgpt.spec import ConfigError, digest, dump_yaml

CHANGES = {
    "objective": {"kind": "language_model", "label_smoothing": 0.1},
    "data.val_fraction": 0.2,
    "start": "another",
    "batch_size": 16,
    "batch_ramp": {"start": 4, "tokens": 4000},
    "steps": 30,
    "optim.lr": 3e-3,
    "optim.b2": 0.99,
    "schedule": "wsd",
    "schedule.warmup": 5,
    "ema": 0.9,
    "eval.every": 10,
    "seed": 4,
    "dtype": "bfloat16",
    "model.position": "rotary",
    "model.dropout": 0.1,
    "model.pattern": [{"kind": "causal"}, {"kind": "banded", "window": 4}],
}


class Later(ObjectiveRun, kind="later_test"):
    """A run as a newer version may have it."""

    adapters: str | None = None
    tempo: float = 1.0
    inner: BatchRamp = BatchRamp(start=2, tokens=100)


Later.kind = ObjectiveRun.kind


@given(names=st.sets(st.sampled_from(sorted(CHANGES)), max_size=6), last=st.sampled_from(sorted(CHANGES)))
def test_a_new_field_changes_no_identity_and_any_change_does(tiny, names, last):
    before = tiny(**{name: CHANGES[name] for name in sorted(names - {last})})
    later = Later.model_validate(before.model_dump(mode="json"))
    assert digest(later.identity()) == digest(before.identity())
    assert digest(later.evolve(tempo=2.0).identity()) != digest(before.identity())
    after = tiny(**{name: CHANGES[name] for name in sorted(names | {last})})
    assert digest(after.identity()) != digest(before.identity())


def test_identity_leaves_out_how_it_is_computed(tiny):
    assert tiny(**{"exec.remat": "block"}).identity() == tiny().identity() != tiny(seed=1).identity()


def test_a_folder_of_before_a_field_was_added_is_the_runs_own(tiny, tmp_path):
    spec = tiny()
    fields = yaml.safe_load(dump_yaml(spec))
    for newer in ("trainable", "ema", "eval"):
        del fields[newer]
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(fields))
    claim(spec, tmp_path)
    with pytest.raises(ConfigError, match=r"ema: .* holds a run with None, this one has 0\.9"):
        claim(tiny(ema=0.9), tmp_path)
