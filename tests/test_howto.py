"""Pages of docs do what they say: their code runs, top to bottom, as one file."""

import re
from pathlib import Path

import pytest

from jaxgpt.seams import seams  # every seam's own members are there before a page adds to them

ROOT = Path(__file__).parent.parent
PAGES = sorted((ROOT / "docs" / "howto").glob("*.md"))


@pytest.fixture
def fresh_seams(monkeypatch):
    """What a page declares is gone after it: contract suites and `jaxgpt list` shall not meet it."""
    for seam in seams().values():
        monkeypatch.setattr(seam, "_members", dict(seam._members))


@pytest.mark.often("data_format", "norm]", "objective", "optimizer", "run_kind", "sharding_rule")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_code_runs(page, fresh_seams):
    run(page, blocks(page))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["generation", "text"])
def test_the_code_on_real_models_and_text_runs(name, data_folder, monkeypatch):
    """But for what needs a download."""
    folder, page = data_folder / "stories260K", ROOT / "docs" / f"{name}.md"
    if not folder.is_dir():
        pytest.skip(f"no data at {folder}")
    monkeypatch.setenv("JAXGPT_DATA", str(data_folder))
    monkeypatch.chdir(folder)
    run(page, [block for block in blocks(page) if "SmolLM2" not in block])


def blocks(page):
    found = re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S)
    assert found
    return found


def run(page, code):
    exec(compile("\n".join(code), str(page), "exec"), {"__name__": "page"})
