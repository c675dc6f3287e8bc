"""An override reaches every field of every shipped config, whether the YAML names it or leaves it at its default."""

import json
from pathlib import Path

import pytest

from jaxgpt.runs import Run
from jaxgpt.spec import ConfigError, apply_overrides, digest, load_yaml, parse
from jaxgpt.spec.yamlio import read_yaml

FOLDER = Path(__file__).parents[2] / "configs"
NAMES = sorted(path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*.yaml") if path.parent.name != "eval")
DEMO = FOLDER / "gpt2/demo.yaml"


def leaves(value, path=""):
    """Every dotted path of a dumped spec that holds no mapping; lists as a whole and by item."""
    if isinstance(value, dict) and value:
        for name, below in value.items():
            yield from leaves(below, f"{path}.{name}" if path else name)
        return
    yield path, value
    for index, item in enumerate(value if isinstance(value, list) else ()):
        yield from leaves(item, f"{path}.{index}")


def at(value, path):
    for part in path.split("."):
        value = value[int(part)] if isinstance(value, list) else value[part]
    return value


@pytest.mark.parametrize("name", NAMES)
def test_every_field_can_be_overridden_with_its_own_value(name):
    tree = read_yaml(FOLDER / name)
    run = parse(Run, tree)
    dumped = run.model_dump(mode="json")
    for path, value in leaves(dumped):
        again = parse(Run, apply_overrides(tree, [f"{path}={json.dumps(value)}"], Run))
        assert digest(again) == digest(run), path


@pytest.mark.parametrize("name", ["gpt2/demo.yaml", "bert/small_cpu.yaml", "simcse/demo.yaml", "moe/demo.yaml"])
def test_another_value_arrives_or_is_refused_in_words(name):
    tree = read_yaml(FOLDER / name)
    for path, value in leaves(parse(Run, tree).model_dump(mode="json")):
        if not isinstance(value, int | float) and value is not None:
            continue
        other = (not value) if isinstance(value, bool) else 1 if value is None else 2 * value
        try:
            again = parse(Run, apply_overrides(tree, {path: other}, Run))
        except ConfigError as error:
            assert all(problem.isprintable() for problem in error.problems)
        else:
            assert at(again.model_dump(mode="json"), path) == other, path


@pytest.mark.parametrize(
    ("override", "read"),
    [
        ("objective.label_smoothing=0.1", lambda run: run.objective.label_smoothing == 0.1),
        ("model.norm.eps=1e-6", lambda run: run.model.norm.eps == 1e-6 and run.model.norm.kind == "layer"),
        ("model.feed_forward.d_ff=128", lambda run: run.model.feed_forward.d_ff == 128),
        ("model.feed_forward.activation.kind=relu", lambda run: run.model.feed_forward.activation.kind == "relu"),
        ("exec.mesh.fsdp=2", lambda run: run.exec.mesh.fsdp == 2),
        ("steps=1e4", lambda run: run.steps == 10_000),
    ],
)
def test_a_seam_left_at_its_default_is_reached(override, read):
    assert read(load_yaml(Run, DEMO, [override]))


def test_defaults_are_those_of_the_family_that_is_named():
    model = {"kind": "qwen2", "num_layers": 1, "d_model": 32, "num_heads": 2, "context": 8}
    tree = read_yaml(DEMO) | {"model": model}
    run = parse(Run, apply_overrides(tree, ["model.norm.zero_centered=true", "model.position.width=4"], Run))
    assert (run.model.norm.kind, run.model.norm.eps, run.model.norm.zero_centered) == ("rms", 1e-6, True)
    assert (run.model.position.theta, run.model.position.pairing) == (1e6, "half")
    gpt3 = tree | {"model": model | {"kind": "gpt3", "context": 512}}
    run = parse(Run, apply_overrides(gpt3, ["model.pattern.1.window=64"], Run))
    assert [pattern.kind for pattern in run.model.pattern] == ["causal", "banded"] and run.model.pattern[1].window == 64
    with pytest.raises(ConfigError, match="'9' is not an index into a list of 2"):
        apply_overrides(gpt3, ["model.pattern.9.window=64"], Run)


def test_one_value_that_stands_for_a_list_is_its_first_item():
    tree = read_yaml(DEMO)
    tree["model"] = tree["model"] | {"pattern": {"kind": "banded", "window": 8}}
    assert parse(Run, apply_overrides(tree, ["model.pattern.0.window=4"], Run)).model.pattern[0].window == 4


def test_another_kind_drops_the_fields_of_the_default():
    run = load_yaml(Run, DEMO, ["model.norm.eps=1e-6", "model.norm.kind=rms"])
    assert run.model.norm.kind == "rms" and run.model.norm.eps == 1e-5
    run = load_yaml(Run, DEMO, ["model.norm.kind=layer", "model.norm.bias=false"])
    assert not run.model.norm.bias


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("objective.label_smothing=0.1", "objective.label_smothing: unknown field; did you mean 'label_smoothing'?"),
        ("objectiv.label_smoothing=1", "objectiv: unknown field; did you mean 'objective'?"),
        ("model.qk_norm.eps=1", "model.qk_norm: 'kind' is missing; known: layer, rms"),
        ("batch_ramp.start=2", "batch_ramp.tokens: a value is required"),
        ("seed.x=3", "seed.x: 'x' reaches into 0, which has no fields"),
        ("batch-size=24", "'batch-size': unknown field; did you mean 'batch_size'?"),
        ("batch size=24", "'batch size': unknown field; did you mean 'batch_size'?"),
        ("model.n-layers=3", "model.'n-layers': unknown field; did you mean 'num_layers'?"),
        ("steps=true", "steps: expected a number, got true"),
        ("model.norm.eps=1e39", "model.norm.eps: input should be less than or equal to 1000000000, got 1e+39"),
        ("steps=yes", "steps: expected a number, got the text 'yes'"),
        ("steps='300'", "steps: expected a number, got the text '300'; write it without quotes"),
        ("steps=1_000", "steps: expected a number, got the text '1_000'; write digits alone, without '_'"),
        ("steps=10.5", "steps: input should be a valid integer"),
        ("steps=1:30", "steps: expected a number, got the text '1:30'"),
        ("steps=null", "steps or epochs: missing; give one of them and leave the other null"),
        ("start=None", "start: 'None' is a word in YAML; write null for none"),
        ("eval.every=None", "eval.every: 'None' is a word in YAML; write null for none"),
        ("exec.keep_best=1", "exec.keep_best: expected true or false, got 1"),
        ("exec.keep_best=yes", "exec.keep_best: expected true or false, got 'yes'"),
        ("data.val_fraction=.nan", "data.val_fraction: input should be a finite number, got nan"),
        ("model.position=None", "model.position: unknown position kind 'None'; did you mean 'none'?"),
        ("model.position=[1]", "model.position: expected a position: a kind or a mapping with 'kind', got [1]"),
    ],
)
def test_what_cannot_be_is_one_line(override, line):
    with pytest.raises(ConfigError) as caught:
        load_yaml(Run, DEMO, [override])
    assert str(caught.value).startswith(line) and len(caught.value.problems) == 1


@pytest.mark.parametrize(
    "override",
    [
        "a" * 10**6 + "=1",
        "model." + "a" * 10**6 + "=1",
        ".".join("a" * 5000) + "=1",
        "steps=" + "9" * 5000,
        "steps=" + "[" * 10**5,
        "steps=" + "x" * 10**6,
        "data.corpus=[" + "x" * 10**5 + ", 1]",
        "model.kind=" + "x" * 10**5,
        "model.position={kind: [" + "1, " * 1000 + "]}",
        "model.pattern." + "9" * 5000 + ".x=1",
        "dtype=" + "x" * 10**5,
        "model.text_head={kind: contrastive, pooling: " + "x" * 10**5 + "}",
        "model.a\x1b[31m=1",
        "data.corpus=[" + "{a: 1}, " * 3000 + "]",
    ],
    ids=range(14),
)
def test_a_strangers_override_is_quoted_in_short(override):
    with pytest.raises(ConfigError) as caught:
        load_yaml(Run, DEMO, [override])
    assert len(caught.value.problems) <= 21
    assert all(len(line) < 700 and line.isprintable() for line in caught.value.problems)
