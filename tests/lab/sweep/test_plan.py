import pytest

from jaxgpt.lab import Experiment, load, plan
from jaxgpt.spec import ConfigError, diff

HEAD = "from jaxgpt.lab import Experiment\n"
GOOD = (
    "experiment = Experiment(question='q', base='base.yaml', arms={'a': {}, 'b': {'model.d_model': 64}}, baseline='a')"
)


def write(tmp_path, text, name="question.py"):
    path = tmp_path / name
    path.write_text(text)
    return path


def test_seeds_pair_and_ids_are_distinct(planned):
    assert [cell.run.seed for cell in planned.of("learned")] == [cell.run.seed for cell in planned.of("rotary")]
    assert [cell.run.seed for cell in planned.of("learned")] == list(range(6))
    assert len({cell.id for cell in planned.cells}) == len({cell.path for cell in planned.cells}) == 12
    assert {cell.arm for cell in planned.cells[:2]} == {"learned", "rotary"}


def test_arms_differ_in_their_overrides_only(planned):
    for a, b in zip(planned.of("learned"), planned.of("rotary"), strict=True):
        assert set(diff(a.run, b.run)) == {"model.position.kind", "model.position.theta"}


def test_id_leaves_out_how_it_is_computed(experiment, planned, run_spec):
    elsewhere = plan(experiment.evolve(base=experiment.base | {"exec": "gpu"}), "position", spec=run_spec)
    assert [cell.id for cell in elsewhere.cells] == [cell.id for cell in planned.cells]


def test_base_seed_moves_every_arm_and_more_seeds_keep_the_first(experiment, planned, run_spec):
    moved = plan(experiment.evolve(base=experiment.base | {"seed": 3}), "position", seeds=2, spec=run_spec)
    assert [cell.run.seed for cell in moved.cells] == [3, 3, 4, 4]
    more = plan(experiment, "position", seeds=9, spec=run_spec)
    assert more.cells[:12] == planned.cells


def test_typos_of_all_arms_are_reported_at_once(experiment, run_spec):
    bad = experiment.evolve(arms={"learned": {}, "x": {"model.positon": "rotary"}, "y": {"model.position": "rotarry"}})
    with pytest.raises(ConfigError) as caught:
        plan(bad, "position", spec=run_spec)
    assert caught.value.problems == [
        "arms.x: model.positon: unknown field; did you mean 'position'?",
        "arms.y: model.position: unknown lab_test_place kind 'rotarry'; did you mean 'rotary'?",
    ]


def test_an_arm_equal_to_another_is_refused(experiment, run_spec):
    same = experiment.evolve(arms={"learned": {}, "again": {"model.position": "learned"}})
    with pytest.raises(ConfigError, match=r"arms\.again: resolves to the same run as arms\.learned"):
        plan(same, "position", spec=run_spec)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"baseline": "learnt"}, "did you mean 'learned'"),
        ({"arms": {"learned": {}, "a/b": {"model.d_model": 1}}}, "becomes a folder"),
        ({"arms": {"learned": {}, "b": {"seed": 1}}}, "seeds are shared by all arms"),
        ({"seeds": 0}, "greater than or equal to 1"),
    ],
)
def test_experiments_that_cannot_be_answered(experiment, change, message):
    with pytest.raises(ConfigError, match=message):
        experiment.evolve(**change)


def test_overrides_may_be_specs(experiment, run_spec):
    position = run_spec().model.position
    held = experiment.evolve(arms={"learned": {"model.position": position}, "rotary": {"model.position": "rotary"}})
    assert held.arms["learned"] == {"model.position": {"kind": "learned"}}
    assert hash(held) != hash(experiment)


def test_base_is_found_in_a_parent_of_the_experiment(tmp_path, run_spec):
    (tmp_path / "base.yaml").write_text("steps: 7\n")
    (tmp_path / "experiments").mkdir()
    path = write(tmp_path / "experiments", HEAD + GOOD)
    assert plan(load(path), "q", path.parent, spec=run_spec).cells[0].run.steps == 7
    (tmp_path / "base.yaml").rename(tmp_path / "bass.yaml")
    with pytest.raises(ConfigError, match=r"base: no file 'base.yaml'.*did you mean 'bass.yaml'"):
        plan(load(path), "q", path.parent, spec=run_spec)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"expected one Experiment at the top level, found none$"),
        (f"{HEAD}{GOOD}\nother = experiment.evolve(seeds=3)\n", r"found 2 \(experiment, other\)$"),
        (f"{HEAD}x = nope\n", r"question\.py:2: NameError: name 'nope' is not defined$"),
        (f"{HEAD}x = (\n", r"question\.py:2: SyntaxError"),
        (f"{HEAD}{GOOD.replace('baseline', 'basline')}\n", r"basline: unknown field; did you mean 'baseline'\?"),
    ],
)
def test_a_file_that_is_no_experiment_gives_one_clear_line(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message) as caught:
        load(write(tmp_path, text))
    assert all("\n" not in problem and "question.py" in problem for problem in caught.value.problems)


def test_missing_file_suggests_a_near_name(tmp_path):
    write(tmp_path, HEAD + GOOD)
    with pytest.raises(ConfigError, match=r"no such experiment file; did you mean 'question\.py'"):
        load(tmp_path / "questoin.py")


def test_code_of_the_experiment_file_counts_for_the_arms_that_use_it(tmp_path, run_spec):
    seam = run_spec.model_fields["model"].annotation.model_fields["position"].annotation.seam
    text = f"""{HEAD}
from jaxgpt.spec.seam import seams

TURNS = 3

class Coil(seams()["{seam}"]):
    def turns(self):
        return TURNS

experiment = Experiment(
    question="q", base={{}}, arms={{"learned": {{}}, "coil": {{"model.position": "coil"}}}}, baseline="learned"
)
"""

    def ids(changed):
        found = plan(load(write(tmp_path, changed)), "q", spec=run_spec)
        return {arm: [cell.id for cell in found.of(arm)] for arm in ("learned", "coil")}

    first, asked, coded = (
        ids(text),
        ids(text.replace('"q"', '"why"') + "# so\n"),
        ids(text.replace("TURNS = 3", "TURNS = 4")),
    )
    assert asked == first
    assert coded["learned"] == first["learned"] and not set(coded["coil"]) & set(first["coil"])


def test_a_seam_member_of_the_experiment_file_is_usable(tmp_path, run_spec):
    base = run_spec.model_fields["model"].annotation.model_fields["position"].annotation
    text = f"""{HEAD}
from jaxgpt.spec.seam import seams

class ZigZag(seams()["{base.seam}"]):
    period: int = 3

experiment = Experiment(
    question="q", base={{}}, arms={{"learned": {{}}, "zigzag": {{"model.position": "zig_zag"}}}}, baseline="learned"
)
"""
    path = write(tmp_path, text)
    for _ in range(2):  # a file may be loaded again
        found = plan(load(path), "q", spec=run_spec).of("zigzag")[0].run.model.position
        assert (found.kind, found.period) == ("zig_zag", 3)
    assert isinstance(load(path), Experiment)
