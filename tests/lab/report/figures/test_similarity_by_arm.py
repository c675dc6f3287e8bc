"""Maps by arm: which runs an arm's mean is made of, and a panel that only stands where there is something to show."""

import json

import matplotlib.figure
import numpy as np
import pytest

from jaxgpt.disk import write_json_atomic
from jaxgpt.evals.heat import Heat
from jaxgpt.lab import analyse, execute, plan
from jaxgpt.lab.report import write
from jaxgpt.lab.report.figures.figure import panels, svg
from jaxgpt.lab.report.figures.similarity_by_arm import FILE, by_arm, draw_heat, grid, height
from jaxgpt.plots.heatmap import fold

PAIRS = 4


def leave(found, arm, seed, value, first=("a", "b", "c", "d")):
    """A map of one value in a run's folder."""
    where = next(one.cell.path for one in found.outcomes if (one.cell.arm, one.cell.run.seed) == (arm, seed))
    cosines = np.full((PAIRS, PAIRS), float(value))
    held = Heat(first, ("e", "f", "g", "h"), np.array([5.0, 3, 2, 0]), cosines).as_json()
    write_json_atomic(found.folder / where / FILE, held)


@pytest.fixture
def found(planned, trainer, tmp_path):
    """Two arms of six runs, of which rotary's last has diverged; no maps yet."""
    trainer.status = lambda run: "diverged" if run.seed == 5 and run.model.position.kind == "rotary" else "finished"
    execute(planned, tmp_path, runner=trainer)
    return analyse(planned, tmp_path)


def test_the_file_is_the_trainers():
    from jaxgpt.train import val_sts as similarity

    assert similarity.FILE == FILE


def test_the_mean_is_over_finished_runs_that_left_a_map(found):
    for seed, value in ((0, 0.1), (2, 0.3), (5, 0.9)):
        leave(found, "rotary", seed, value)
    means = by_arm(found)
    assert list(means) == ["rotary"]
    np.testing.assert_allclose(means["rotary"].cosines, 0.2)
    leave(found, "learned", 4, 0.7)
    np.testing.assert_allclose(by_arm(found)["learned"].cosines, 0.7)
    assert list(by_arm(found)) == ["learned", "rotary"]


def test_other_texts_have_no_part(found):
    leave(found, "learned", 0, 0.2)
    leave(found, "learned", 1, 0.8, first=("a", "b", "c", "other"))
    leave(found, "learned", 2, 0.4)
    np.testing.assert_allclose(by_arm(found)["learned"].cosines, 0.3)


def test_what_is_no_number_in_one_run_is_none_in_the_mean(found):
    for seed in range(3):
        leave(found, "learned", seed, 0.5)
    path = found.folder / found.outcomes[1].cell.path / FILE
    held = json.loads(path.read_text())
    held["cosines"][0][3] = None
    path.write_text(json.dumps(held))
    cosines = by_arm(found)["learned"].cosines
    assert np.isnan(cosines[0, 3]) and np.isnan(cosines).sum() == 1
    leave(found, "rotary", 0, np.nan)
    assert "–" in _captions(found)[1] and write(found).is_file()


def test_no_maps_no_panel(found):
    assert by_arm(found) == {} and "heat" not in [panel.name for panel in panels(found)]
    leave(found, "rotary", 5, 0.5)  # diverged
    text = write(found).read_text()
    assert "heat map" not in text.lower() and "run by run" not in text


def test_the_panel_shows_each_arm_in_order(found):
    leave(found, "rotary", 0, 0.25)
    leave(found, "learned", 0, 0.75)
    panel = panels(found)[-1]
    assert panel.name == "heat" and "rotary" in svg(found, panel)
    figure = matplotlib.figure.Figure(layout="constrained")
    draw_heat(figure.subplots(), found)
    first, second, bar = figure.subfigs[0].axes
    assert [ax.get_title(loc="left") for ax in (first, second)] == ["learned", "rotary"]
    assert [float(ax.images[0].get_array().mean()) for ax in (first, second)] == [0.75, 0.25]
    assert bar.get_xlabel() == "cosine" and first.get_yticks().size and not second.get_yticks().size
    assert _captions(found) == ["pairs 0.75, rest 0.75", "pairs 0.25, rest 0.25"]


def _captions(found):
    figure = matplotlib.figure.Figure(layout="constrained")
    draw_heat(figure.subplots(), found)
    return [ax.get_xlabel() for ax in figure.subfigs[0].axes if ax.images]


@pytest.mark.parametrize("count", range(1, 10))
def test_every_arm_has_a_place(count, experiment, run_spec, trainer, tmp_path):
    rows, columns = grid(count)
    assert rows * columns >= count > (rows - 1) * columns and columns <= 3
    assert height(count) <= height(count + 3)
    arms = {f"arm-{i}": {"model.d_model": 32 + 8 * i} for i in range(max(count, 2))}
    planned = plan(experiment.evolve(arms=arms, baseline="arm-0", seeds=1), "many", spec=run_spec)
    execute(planned, tmp_path, runner=trainer)
    found = analyse(planned, tmp_path)
    for i in range(count):
        leave(found, f"arm-{i}", 0, i / 10)
    figure = matplotlib.figure.Figure(layout="constrained")
    draw_heat(figure.subplots(), found)
    shown = [ax for ax in figure.subfigs[0].axes if ax.images]
    assert [float(ax.images[0].get_array().mean()) for ax in shown] == pytest.approx([i / 10 for i in range(count)])


def test_long_names_are_cut_where_their_parts_join():
    assert fold("cls", 5) == "cls" and fold("cls_before_pooler", 20) == "cls_before_pooler"
    assert fold("cls_before_pooler", 12) == "cls_before_\npooler"
    assert fold("mean+mlp-2048", 6) == "mean+\nmlp-\n2048" and fold("unbreakable", 3) == "unbreakable"
    for name in ("/runs/simcse/s0", "_a_", "a+-b", ""):
        assert fold(name, 2).replace("\n", "") == name
