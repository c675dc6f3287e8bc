import csv
import io
import json
import re
import subprocess
import sys
from html.parser import HTMLParser

import pytest
from rarely import rarely

from jaxgpt.lab import analyse, execute, plan
from jaxgpt.lab.analysis.costs import per_run
from jaxgpt.lab.analysis.verdict import verdict
from jaxgpt.lab.report import write
from jaxgpt.lab.report.csv import csv_text
from jaxgpt.lab.report.figures.figure import panels
from jaxgpt.lab.report.html.page import page
from jaxgpt.lab.report.markdown import markdown
from jaxgpt.lab.report.tables.arms import arm_table
from jaxgpt.lab.report.tables.contrasts import behind
from jaxgpt.lab.report.tables.costs import cost_table, edge_lines, rate_table, tuning_note
from jaxgpt.lab.report.tables.how_computed import ONE, computed

VOID = {"meta", "br", "img", "link", "input", "hr"}


class Checker(HTMLParser):
    """Tags must close in order, ids be unique, and links within the page lead somewhere."""

    def __init__(self):
        super().__init__()
        self.open, self.ids, self.links, self.text = [], [], [], []

    def handle_starttag(self, tag, attrs):
        held = dict(attrs)
        self.ids += [held["id"]] if "id" in held else []
        self.links += [held["href"]] if "href" in held else []
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.mark.often("laddered")
@pytest.mark.parametrize("which", ["swept", rarely("factored"), "laddered", rarely("budgeted")])
def test_html_is_whole_linked_and_self_contained(which, request):
    swept = request.getfixturevalue(which)
    text = write(swept).read_text()
    checker = Checker()
    checker.feed(text)
    assert not checker.open
    assert len(checker.ids) == len(set(checker.ids))
    inner = {link.removeprefix("#") for link in checker.links if link.startswith("#")}
    assert inner <= set(checker.ids)
    assert {f"run-{cell.id}" for cell in swept.plan.cells} <= set(checker.ids)
    assert {f"run-{cell.id}" for cell in swept.plan.cells if cell.run.seed == 0} <= inner, "some figures lead nowhere"
    assert "://" not in text and "src=" not in text and "@import" not in text
    assert all((swept.folder / link).is_dir() for link in checker.links if not link.startswith("#"))


def test_the_verdict_comes_before_every_table_and_picture(swept):
    text = (swept.folder / "report.html").read_text()
    assert 0 < text.index(verdict(swept)) < min(text.index("<table"), text.index("<svg"))


def test_words_from_the_experiment_are_escaped(experiment, run_spec, trainer, tmp_path):
    planned = plan(experiment.evolve(question="Is a<b & 'c'?"), "position", spec=run_spec)
    execute(planned, tmp_path, runner=trainer)
    assert "<h1>Is a&lt;b &amp; &#x27;c&#x27;?</h1>" in page(analyse(planned, tmp_path))


def test_csv_and_markdown_hold_every_run(swept):
    folder, ids = swept.folder, {cell.id for cell in swept.plan.cells}
    with (folder / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["run"] for row in rows} == ids
    assert {row["run"]: float(row["val/loss"]) for row in rows} == {o.cell.id: o.value for o in swept.outcomes}
    assert all(held in (folder / "report.md").read_text() for held in ids)
    assert (folder / "figure.png").read_bytes()[:4] == b"\x89PNG" and (folder / "figure.pdf").read_bytes()[
        :4
    ] == b"%PDF"


def test_diverged_runs_are_named_and_not_averaged(planned, trainer, tmp_path):
    trainer.status = lambda run: "diverged" if run.seed == 1 and run.model.position.kind == "rotary" else "finished"
    execute(planned, tmp_path, runner=trainer)
    found = analyse(planned, tmp_path)
    assert found.contrasts[0].seeds == (0, 2, 3, 4, 5) and found.arms[0].summary.n == 6
    assert verdict(found).endswith("; of 12 runs 1 diverged.")
    assert f"{found.excluded[0].cell.id} (rotary, seed 1): diverged" in markdown(found)


def test_nothing_finished_is_said_plainly(planned, tmp_path):
    found = analyse(planned, tmp_path)
    assert verdict(found).startswith("Nothing can be said") and verdict(found).endswith("12 missing.")
    assert write(found).is_file()


def test_several_arms_are_adjusted_by_holm(experiment, run_spec, trainer, tmp_path):
    arms = experiment.arms | {
        "fast": {"model.position": {"kind": "rotary", "theta": 99.0}},
        "wide": {"model.d_model": 64},
    }
    planned = plan(experiment.evolve(arms=arms), "position", spec=run_spec)
    execute(planned, tmp_path, runner=trainer)
    found = analyse(planned, tmp_path)
    assert all(contrast.adjusted >= contrast.paired.p for contrast in found.contrasts)
    assert "Holm's adjustment over 3 contrasts" in verdict(found)
    assert "p (Holm)" in markdown(found)


def test_importing_the_lab_loads_nothing_heavy():
    code = "import sys, jaxgpt.lab; print([m for m in ('jax', 'matplotlib', 'scipy', 'torch') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def test_explicit_contrasts_stand_apart_from_the_arms_and_from_what_was_explored(factored):
    text = markdown(factored)
    arms, rest = text.split("## Planned comparisons")
    planned, explored = rest.split("## Explored comparisons")
    assert "difference" not in arms and "p (Holm)" in planned.split("Planned before")[0]
    assert all(name in planned for name in ("rotary - learned", "wide - thin", "rotary x wide"))
    assert "q (BH)" in explored.split("Explored:")[0] and "learned+wide − learned+thin" in explored


def test_every_comparison_tells_the_runs_that_it_is_made_of(factored):
    contrast = factored.planned[0]
    pairs = behind(factored, contrast)
    values = {outcome.cell.id: outcome.value for outcome in factored.outcomes}
    assert [seed for seed, _, _ in pairs] == list(contrast.seeds)
    for _, difference, ids in pairs:
        assert sum(w * values[run] for w, run in zip(contrast.weights.values(), ids, strict=True)) == pytest.approx(
            difference
        )
    text = page(factored)
    assert all(f'href="#run-{run}"' in text for _, _, ids in pairs for run in ids)


def test_each_budget_has_a_table_with_what_its_runs_really_spent(budgeted):
    under = {
        found.budget: {row[0]: row[-4:] for row in arm_table(found).rows} for found in (budgeted, *budgeted.others)
    }
    assert under["tokens"]["thin"][1] == under["tokens"]["wide"][1] == "81,920"
    assert under["tokens"]["thin"][2] != under["tokens"]["wide"][2]
    spent = {arm: per_run(budgeted.others[0], arm) for arm in ("thin", "wide")}
    assert spent["wide"].steps < spent["thin"].steps == 20
    assert spent["wide"].flops == pytest.approx(spent["thin"].flops, rel=0.1)
    table = arm_table(budgeted)
    wide = dict(zip(table.columns, table.rows[1], strict=True))
    assert wide["trained"] == f"{budgeted.plan.of('wide')[0].run.model.count():,}"
    assert "trained" not in arm_table(budgeted, full=False).columns, "the terminal is narrow"
    assert "## At equal FLOPs" in markdown(budgeted) and "<h2>At equal FLOPs</h2>" in page(budgeted)


def test_runs_that_serve_two_budgets_are_listed_and_paid_once(budgeted):
    rows = list(csv.DictReader(io.StringIO(csv_text(budgeted))))
    assert len({row["run"] for row in rows}) == len(rows) == 7 + 7 + 7
    assert {row["budget"] for row in rows if row["arm"] == "thin"} == {"tokens+flops"}
    assert cost_table(budgeted).rows[-1][1] == "21"


def test_tuning_says_its_grid_choice_cost_and_that_its_seeds_are_its_own(budgeted):
    assert rate_table(budgeted).columns == ["arm", "0.001", "0.002", "0.004", "chosen"]
    assert [row[-1] for row in rate_table(budgeted).rows] == ["0.004", "0.004"]
    assert edge_lines(budgeted) == [
        f"{arm}: its best learning rate, 0.004, is the highest tried; a better one may lie above"
        for arm in ("thin", "wide")
    ]
    assert "seeds 1000 to 1001, the report uses 0 to 6" in tuning_note(budgeted)
    thin = cost_table(budgeted).rows[0]
    assert thin[5:7] == ["6", f"{6 * 81920:,}"]
    text = page(budgeted)
    assert "the highest tried" in text[: text.index("<table")]


def test_how_runs_were_computed_is_told_with_its_reason(budgeted, planned, complete, trainer, tmp_path):
    assert computed(budgeted, []) == f"Solo: 21 runs, each on its own. {ONE}"
    trainer.mode = lambda run: "fused"
    found = complete(planned.experiment, tmp_path / "fused", trainer)
    pace = {"runs": 6, "solo": {"all": 90.0}, "fused": {"all": 45.0}}
    held = {"fused": True, "lanes": 6, "why": "0.50 of the solo time", "measured": pace}
    (found.folder / "fuse.json").write_text(json.dumps(held))
    assert computed(found, ["drift"]).startswith(
        "Fused: 12 runs, 6 to a program (0.50 of the solo time: 6 runs take 0:45 fused and 1:30 solo"
    )
    assert ONE not in computed(found, ["drift"])


def test_drift_is_a_remark_above_the_table(planned, complete, trainer, tmp_path):
    found = complete(planned.experiment, tmp_path / "drifted", trainer)
    (found.folder / found.outcomes[0].cell.path / "provenance.json").write_text('{"commit": "fedcba9"}')
    text = page(found)
    assert "commit differs" in text[: text.index("<table")] and "commit differs" in markdown(found)
    assert ONE not in text


def test_a_ladder_shows_its_law_and_no_comparison_of_sizes(laddered):
    text, picture = markdown(laddered), [panel.name for panel in panels(laddered)]
    assert picture == ["ladder", "curves"]
    assert "## The law" in text and "rotary − learned" in text and "comparisons" not in text
    assert 'aria-label="validation loss against size' in page(laddered)


def test_a_long_list_of_runs_is_folded(planned, complete, trainer, tmp_path):
    assert "<summary>All" not in page(complete(planned.experiment, tmp_path / "few", trainer))
    many = planned.experiment.evolve(seeds=31, base={"steps": 4})
    assert "<summary>All 62 runs</summary>" in page(complete(many, tmp_path / "many", trainer))


@pytest.mark.often("swept")
@pytest.mark.parametrize("which", ["swept", rarely("factored"), "laddered", rarely("budgeted")])
def test_a_sweep_of_which_nothing_has_finished_has_a_report(which, request, tmp_path):
    found = analyse(request.getfixturevalue(which).plan, tmp_path)
    text = write(found).read_text()
    assert "Nothing can be said" in text or "No law can be fitted" in text
    assert "nan" not in re.sub(r"<svg.*?</svg>", "", text, flags=re.DOTALL)
    assert "nan" not in (found.folder / "report.tex").read_text()


def test_a_ladder_with_planned_contrasts_says_and_shows_both(ladder_experiment, complete, climber, tmp_path):
    asked = {"rotary at d64": {"rotary-d64": 1.0, "learned-d64": -1.0}}
    found = complete(ladder_experiment.evolve(contrasts=asked), tmp_path / "both", climber)
    assert [panel.name for panel in panels(found)] == ["ladder", "curves", "forest"]
    text = verdict(found)
    assert text.startswith("Validation loss over 4 sizes") and "rotary at d64: validation loss is lower" in text
    assert write(found).is_file()
