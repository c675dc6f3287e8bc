"""Epochs become steps once the data are read: rounded up, over ramps, sources and balanced classes alike."""

import pytest

from jaxgpt import run
from jaxgpt.runs import Run
from jaxgpt.runs.batch_rows import Rows
from jaxgpt.spec import ConfigError, load_yaml
from jaxgpt.train.summary import summarize

pytestmark = pytest.mark.usefixtures("one_device")
GIVEN = {"steps": None, "model.vocab_size": None, "tokenizer": "byte", "data.val_fraction": 0}


@pytest.fixture
def rows(tmp_path):
    """`rows(20)`: a corpus of so many short texts, one a line."""

    def write(count, name="rows.tsv"):
        path = tmp_path / name
        path.write_text("".join(f"text {i}\t{i % 5 == 0}\n" for i in range(count)))
        return str(path)

    return write


@pytest.mark.parametrize("ramp", [None, {"start": 2, "tokens": 200, "stairs": 3}])
def test_the_fewest_steps_that_take_so_many_rows(tiny, ramp):
    rows = Rows(tiny(batch_size=8, batch_ramp=ramp))
    for count in range(1, 200):
        steps = rows.steps(count)
        assert rows.span(steps - 1)[1] >= count and (steps == 1 or rows.span(steps - 2)[1] < count)


@pytest.mark.parametrize(("epochs", "steps"), [(1, 3), (3, 8), (0.1, 1), (0.35, 1), (0.45, 2), (2.0, 5)])
def test_epochs_of_labelled_rows(tiny, rows, epochs, steps):
    """20 rows, 8 a batch."""
    head = {"model.text_head": {"kind": "task"}, "objective": "classify"}
    given = {**GIVEN, **head, "data.corpus": rows(20), "data.columns": ["1"], "data.label": "2", "epochs": epochs}
    spec = tiny(**given)
    assert not spec.complete and spec.remarks() == []
    done = spec.completed()
    assert (done.steps, done.epochs) == (steps, None) and spec.sized() == spec.evolve(steps=steps, epochs=None)
    assert summarize(spec)["steps"] == steps
    more = tiny(**{**given, "data.balance": "over"}).completed()
    assert more.steps == -(-round(epochs * 32) // 8) if epochs >= 1 else True


def test_epochs_of_windows_and_of_several_sources(tiny, rows):
    corpora = [{"corpus": rows(40, "a.txt")}, {"corpus": rows(30, "b.txt"), "weight": 0.5}]
    spec = tiny(**GIVEN, **{"data.corpus": corpora, "epochs": 2})
    data = spec.prepare(True)
    assert spec.settled(data).steps == -(-2 * data.epoch_rows // 8) and data.epoch_rows > 60


def test_a_share_of_the_steps_warms_up(tiny, rows):
    spec = tiny(**GIVEN, **{"data.corpus": rows(40), "epochs": 8, "schedule.warmup": 0.25}).completed()
    assert spec.steps >= 8 and spec.schedule.warmup == 0.25
    lr = [float(spec.schedule(step, spec.steps)) for step in range(spec.steps)]
    top = round(0.25 * spec.steps)
    assert lr[:top] == sorted(lr[:top]) and lr[top - 1] > 0.9 and lr[top:] == sorted(lr[top:], reverse=True)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"steps": None}, "steps or epochs: missing; give one"),
        ({"epochs": 2}, "steps or epochs: both set; give one"),
        ({"steps": None, "epochs": 0}, "epochs"),
        ({"steps": None, "epochs": -1}, "epochs"),
        ({"schedule.warmup": 1.5}, "schedule.warmup: .*1.5 is neither a whole number of steps nor, below 1, a share"),
        ({"schedule.warmup": -0.5}, "schedule.warmup"),
    ],
)
def test_one_of_both_in_one_line(tiny, fields, message):
    with pytest.raises(ConfigError, match=message) as refusal:
        tiny(**fields)
    assert len(refusal.value.problems) == 1 and "\n" not in str(refusal.value)


@pytest.mark.slow
def test_a_run_of_epochs_goes_on_as_one_of_steps(little, tmp_path):
    """Its config names the steps, so that either repeats it; other data, which make another number, are refused."""
    fields = {"steps": None, "data.val_tokens": None, "data.seq_len": 8, "batch_size": 64, "epochs": 1}
    spec = little(**fields)
    steps = spec.completed().steps
    result = run(spec, tmp_path / "run", quiet=True)
    assert result["step"] == steps > 1
    config = load_yaml(Run, tmp_path / "run" / "config.yaml")
    assert (config.steps, config.epochs) == (steps, None)
    assert run(spec, tmp_path / "run", quiet=True) == run(config, tmp_path / "run", quiet=True) == result
    with pytest.raises(ConfigError, match=f"steps: .* holds a run with {steps}, this one has"):
        run(spec.evolve(epochs=0.5), tmp_path / "run", quiet=True)
