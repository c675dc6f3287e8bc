"""Which runs become one program, and that a sweep is all fused or all solo."""

import json

import pytest

from jaxgpt.lab import Experiment, Lab, Tune, analyse, execute, plan
from jaxgpt.lab.sweep import grouping as fuse
from jaxgpt.lab.sweep.grouping import Mode, Unit, decide, groups, halved, read_mode, units
from jaxgpt.lab.sweep.plan import tuning_plan
from jaxgpt.lab.sweep.timing import Pace
from jaxgpt.lab.workers import failure
from jaxgpt.seal import seal
from jaxgpt.spec import ConfigError

OOM = type("XlaRuntimeError", (RuntimeError,), {})("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes.")


@pytest.fixture(scope="module")
def asked(tiny):
    base = tiny(**{"data.corpus": "nowhere.txt"}).model_dump(mode="json")
    arms = {"high": {}, "low": {"optim.lr": 1e-3}, "wide": {"model.d_model": 32}}
    return Experiment(question="q", base=base, arms=arms, baseline="high", seeds=4)


@pytest.fixture(scope="module")
def rates(asked):
    return plan(asked, "rates")


@pytest.fixture
def timed(monkeypatch):
    """`timed(solo=..., fused=...)`: what a step takes, or the error it ends in; the runs that were timed."""
    asked = []

    def set_(solo, fused):
        def pace(kind, held):
            def measure(runs):
                asked.append((kind, len(runs) if isinstance(runs, list) else 1))
                answer = held(runs) if callable(held) else held
                if isinstance(answer, Exception):
                    raise answer
                return Pace(1.0, answer)

            return measure

        monkeypatch.setattr(fuse, "solo_pace", pace("solo", solo))
        monkeypatch.setattr(fuse, "fused_pace", pace("fused", fused))
        return asked

    return set_


def test_a_group_shares_its_program_and_its_own_code(rates, monkeypatch):
    assert [[cell.arm for cell in group] for group in groups(rates.cells)] == [["high", "low"] * 4, ["wide"] * 4]
    monkeypatch.setattr(fuse, "own_code", lambda run: [str(run.optim.lr)])
    assert [{cell.arm for cell in group} for group in groups(rates.cells)] == [
        {"high"},
        {"low"},
        {"wide"},
    ]


def test_units_keep_the_plans_order_and_hold_every_run_once(rates):
    found = units(rates, Mode(True, 3, ""))
    assert [len(unit.cells) for unit in found] == [3, 3, 3, 2, 1]
    assert [unit.cells[0].arm for unit in found] == ["high", "wide", "low", "high", "wide"]
    assert sorted(cell.id for unit in found for cell in unit.cells) == sorted(cell.id for cell in rates.cells)
    assert len({unit.key for unit in found}) == 5
    assert [unit.cells for unit in units(rates, Mode(False, 1, ""))] == [(cell,) for cell in rates.cells]


def test_more_seeds_leave_full_groups_as_they_are(asked, rates):
    first, more = units(rates, Mode(True, 4, "")), units(plan(asked, "rates", seeds=6), Mode(True, 4, ""))
    assert {unit.key for unit in first} <= {unit.key for unit in more}


def test_all_learning_rates_of_an_arm_tune_in_one_program(asked):
    tuning = tuning_plan(
        asked.evolve(arms={"a": {}, "b": {"model.d_model": 32}}, baseline="a", tune=Tune(lr=(1e-4, 1e-3, 1e-2))), "q"
    )
    assert [(len(group), {cell.arm for cell in group}) for group in groups(tuning.cells)] == [(6, {"a"}), (6, {"b"})]


@pytest.mark.parametrize(("solo", "fused", "chosen"), [(0.1, 0.3, True), (0.1, 0.9, False)])
def test_auto_times_both_records_both_and_keeps_to_its_choice(rates, tmp_path, timed, solo, fused, chosen):
    """8 runs of 20 steps: (1 + 160 * 0.1) s alone, (1 + 40 * fused) s as two groups of 4."""
    asked = timed(solo=solo, fused=fused)
    mode = decide(rates, tmp_path, Lab(lanes=4))
    assert asked == [("solo", 1), ("fused", 4)]
    assert mode == read_mode(tmp_path) and (mode.fused, mode.lanes) == ((True, 4) if chosen else (False, 1))
    held = json.loads((tmp_path / "fuse.json").read_text())["measured"]
    assert held["solo"] == {"compile": 1.0, "step": solo, "all": pytest.approx(17.0)}
    assert held["fused"] == {"compile": 1.0, "step": fused, "all": pytest.approx(1 + 40 * fused)}
    assert (held["runs"], held["lanes"]) == (8, 4)
    assert decide(rates, tmp_path, Lab()) == mode and len(asked) == 2


def test_too_many_lanes_for_the_memory_are_halved_while_timing(rates, tmp_path, timed):
    asked = timed(solo=0.1, fused=lambda runs: OOM if len(runs) > 2 else 0.01)
    assert decide(rates, tmp_path, Lab(lanes=8))[:2] == (True, 2)
    assert asked == [("solo", 1), ("fused", 8), ("fused", 4), ("fused", 2)]


def test_what_fails_only_as_one_program_runs_alone(rates, tmp_path, timed):
    timed(solo=0.1, fused=RuntimeError("no vmap of this"))
    mode = decide(rates, tmp_path, Lab(lanes=4))
    assert mode == read_mode(tmp_path) == Mode(False, 1, "as one program they fail: RuntimeError: no vmap of this")


def test_an_arm_with_a_bug_settles_nothing(rates, tmp_path, timed):
    """It is passed over where another can be timed; where none can, the mode waits for runs that work."""
    timed(solo=lambda run: RuntimeError("a bug") if run.model.d_model == 16 else 0.1, fused=0.1)
    assert decide(rates, tmp_path / "one", Lab(lanes=4)).fused
    timed(solo=RuntimeError("a bug"), fused=0.1)
    assert not decide(rates, tmp_path / "all", Lab(lanes=4)).fused and read_mode(tmp_path / "all") is None


def test_a_wrong_field_is_told(rates, tmp_path, timed):
    timed(solo=ConfigError("data.corpus: 'nowhere.txt' is not there"), fused=0.1)
    with pytest.raises(ConfigError, match="nowhere"):
        decide(rates, tmp_path, Lab(lanes=4))
    assert read_mode(tmp_path) is None


@pytest.mark.parametrize(("first", "then", "made"), [("on", "off", "fused"), ("off", "on", "solo")])
def test_a_settled_folder_refuses_the_other_mode(rates, tmp_path, first, then, made):
    settled = decide(rates, tmp_path, Lab(fuse=first))
    with pytest.raises(
        ConfigError, match=f"^lab.fuse: {then}, but the runs in .* are {made}, .* another --out"
    ) as caught:
        decide(rates, tmp_path, Lab(fuse=then))
    assert "\n" not in str(caught.value)
    assert decide(rates, tmp_path, Lab()) == decide(rates, tmp_path, Lab(fuse=first)) == settled


RAMP = {"batch_ramp": {"start": 2, "tokens": 64}}


def test_obstacles_are_named(asked, rates, tmp_path):
    ramped = plan(asked.evolve(arms={"plain": {}, "ramped": RAMP}, baseline="plain"), "q")
    with pytest.raises(ConfigError, match=r"^lab\.fuse: on, but arm 'ramped' cannot be fused: batch_ramp changes"):
        decide(ramped, tmp_path / "on", Lab(fuse="on"))
    assert decide(ramped, tmp_path / "auto", Lab())[:2] == (False, 1)
    assert "arm 'ramped' cannot be fused" in read_mode(tmp_path / "auto").why
    single = plan(asked.evolve(arms={"high": {}, "wide": {"model.d_model": 32}}), "q", seeds=1)
    with pytest.raises(ConfigError, match="on, but no two runs share a program"):
        decide(single, tmp_path / "single", Lab(fuse="on"))
    decide(rates, tmp_path / "grown", Lab(fuse="on"))
    with pytest.raises(ConfigError, match=r"are fused, but arm 'ramped' cannot be fused.*choose another --out"):
        decide(ramped, tmp_path / "grown", Lab())


def test_a_group_is_halved_where_it_was_too_large_and_nowhere_else(rates, tmp_path):
    (whole, *_) = units(rates, Mode(True, 8, ""))

    def fail(cells, attempts, cls="oom"):
        for cell in cells:
            error = RuntimeError("x")
            failure.record(tmp_path / cell.path, error, failure.describe(error, cls, attempts))

    def sizes():
        return [(len(unit.cells), unit.halvings) for unit in halved(whole, tmp_path)]

    assert halved(whole, tmp_path) == [whole]
    fail(whole.cells, 1, "bug")
    assert halved(whole, tmp_path) == [whole]
    fail(whole.cells, 1)
    assert sizes() == [(4, 1), (4, 1)]
    fail(whole.cells[4:], 2)
    assert sizes() == [(4, 1), (2, 2), (2, 2)]
    fail(whole.cells[4:6], 3)
    assert sizes() == [(4, 1), (1, 3), (1, 3), (2, 2)]
    fail(whole.cells[4:5], 9)
    assert sizes() == [(4, 1), (1, 3), (1, 3), (2, 2)]
    assert sum((unit.cells for unit in halved(whole, tmp_path)), ()) == whole.cells
    odd = Unit("odd", whole.cells[:3])
    assert [len(unit.cells) for unit in halved(odd, tmp_path)] == [2, 1]


def test_fused_and_solo_runs_are_never_paired(planned, trainer, tmp_path):
    trainer.mode = lambda run: (
        "fused" if run.seed in (1, 2) or (run.seed, run.model.position.kind) == (4, "rotary") else "solo"
    )
    execute(planned, tmp_path, runner=trainer)
    assert analyse(planned, tmp_path).contrasts[0].seeds == (0, 1, 2, 3, 5)


def test_a_folder_of_solo_runs_stays_solo(rates, tmp_path):
    """Also where nothing says what was settled: its runs would pair with no fused one."""
    done = tmp_path / rates.cells[0].path
    done.mkdir(parents=True)
    (done / "result.json").write_text(json.dumps({"status": "finished", "val/loss": 2.0}))
    seal(done)
    with pytest.raises(ConfigError, match=r"lab\.fuse: on, but runs that have finished are solo; use lab\.fuse=off"):
        decide(rates, tmp_path, Lab(fuse="on"))
    assert decide(rates, tmp_path, Lab()) == Mode(False, 1, "runs that have finished are solo")
