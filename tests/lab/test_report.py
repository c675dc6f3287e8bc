import csv
import re
import subprocess
import sys
from html.parser import HTMLParser

from jaxgpt.lab import analyse, execute, plan
from jaxgpt.lab.report import write
from jaxgpt.lab.report.html import page
from jaxgpt.lab.report.markdown import markdown
from jaxgpt.lab.verdict import verdict

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


def test_html_is_whole_linked_and_self_contained(swept):
    text = (swept.folder / "report.html").read_text()
    checker = Checker()
    checker.feed(text)
    assert not checker.open
    assert len(checker.ids) == len(set(checker.ids))
    inner = {link.removeprefix("#") for link in checker.links if link.startswith("#")}
    assert inner <= set(checker.ids)
    assert {f"run-{cell.id}" for cell in swept.plan.cells} <= set(checker.ids)
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


def test_a_clear_effect_is_claimed_with_its_size(swept):
    assert re.fullmatch(
        r"rotary is better than learned: its validation loss is lower by 0\.\d+ nats/token "
        r"\(95% interval 0\.\d+ to 0\.\d+, 6 paired seeds, p = 0\.\d+\)\.",
        verdict(swept),
    )


def test_no_effect_says_what_could_have_been_found(planned, trainer, tmp_path):
    trainer.effect = 0.0
    execute(planned, tmp_path, runner=trainer)
    text = verdict(analyse(planned, tmp_path))
    assert text.startswith("No difference between rotary and learned was shown: ")
    assert "would have been found four times in five" in text


def test_below_six_pairs_nothing_is_claimed(experiment, run_spec, trainer, tmp_path):
    trainer.effect = -1.0
    few = plan(experiment, "position", seeds=5, spec=run_spec)
    execute(few, tmp_path, runner=trainer)
    assert verdict(analyse(few, tmp_path)).startswith("Descriptive only, with 5 paired seeds where a claim needs 6")


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


def test_an_arm_with_too_few_pairs_is_left_open(experiment, run_spec, trainer, tmp_path):
    planned = plan(experiment.evolve(arms=experiment.arms | {"wide": {"model.d_model": 64}}), "position", spec=run_spec)
    trainer.status = lambda run: "diverged" if run.model.d_model == 64 and run.seed else "finished"
    execute(planned, tmp_path, runner=trainer)
    text = verdict(analyse(planned, tmp_path))
    assert "rotary by" in text and "wide is left open, having fewer than 6 pairs" in text
    assert text.endswith("of 18 runs 5 diverged.")


def test_importing_the_lab_loads_nothing_heavy():
    code = "import sys, jaxgpt.lab; print([m for m in ('jax', 'matplotlib', 'scipy', 'torch') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
