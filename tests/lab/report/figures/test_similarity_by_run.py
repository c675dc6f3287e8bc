"""Run by run: every finished run's map, leading to its row of the page; why others have none."""

import re

import numpy as np
import pytest

from jaxgpt.disk import write_json_atomic
from jaxgpt.evals.heat import Heat
from jaxgpt.lab import analyse, execute
from jaxgpt.lab.report.figures.figure import panels
from jaxgpt.lab.report.figures.similarity_by_arm import FILE
from jaxgpt.lab.report.figures.similarity_by_run import every_run
from jaxgpt.lab.report.html.page import page
from jaxgpt.lab.report.html.svg import inline


@pytest.fixture
def mapped(planned, trainer, tmp_path):
    """All runs left a map but the first; the last diverged."""
    trainer.status = lambda run: "diverged" if run.seed == 5 and run.model.position.kind == "rotary" else "finished"
    execute(planned, tmp_path, runner=trainer)
    found = analyse(planned, tmp_path)
    held = Heat(("a", "b"), ("c", "d"), np.array([5.0, 0]), np.array([[0.9, 0.1], [np.nan, 0.2]])).as_json()
    for one in found.outcomes[1:]:
        write_json_atomic(found.folder / one.cell.path / FILE, held)
    return found


def test_a_map_for_each_run_that_leads_to_its_row(mapped):
    drawn, inches = every_run(mapped)
    ids = [one.cell.id for one in mapped.outcomes]
    assert re.findall(r'href="#run-([0-9a-f]+)"', drawn) == ids[1:-1]
    assert inches > 6 * 0.8
    assert "<!-- no map -->" in drawn and "<!-- diverged -->" in drawn
    assert all(f"<!-- {word} -->" in drawn for word in ("learned", "rotary", "seed 0", "seed 5"))


def test_the_page_folds_them_away_and_every_link_arrives(mapped):
    text = page(mapped)
    fold = text[text.index("<summary>Similarity, run by run") :]
    fold = fold[: fold.index("</details>")]
    ids = set(re.findall(r'\bid="([^"]*)"', text))
    assert set(re.findall(r'href="#([^"]*)"', fold)) <= ids
    assert fold.count('href="#run-') == len(mapped.outcomes) - 2
    assert "Heat maps: rows are first texts" in text and 'aria-label="Heat maps of the cosines' in text


def test_links_within_a_picture_are_its_own():
    document = '<svg width="1" height="1"><use href="#a"/><a href="#run-12"><g id="a"/></a></svg>'
    held = inline(document, "p", "words")
    assert 'href="#p-a"' in held and 'id="p-a"' in held and 'href="#run-12"' in held


def test_none_where_there_are_none(swept):
    assert every_run(swept) == ("", 0.0)
    assert "heat" not in [panel.name for panel in panels(swept)]
