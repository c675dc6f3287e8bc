"""Every page of docs/howto does what it says: its code runs, top to bottom, as one file."""

import re
from pathlib import Path

import pytest

import jaxgpt.lab
import jaxgpt.train  # noqa: F401  every seam's own members are there before a page adds to them
from jaxgpt.spec import seams

ROOT = Path(__file__).parent.parent
PAGES = sorted((ROOT / "docs" / "howto").glob("*.md"))


@pytest.fixture
def fresh_seams(monkeypatch):
    """What a page declares is gone after it: contract suites and `jaxgpt list` shall not meet it."""
    for seam in seams().values():
        monkeypatch.setattr(seam, "_members", dict(seam._members))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_code_runs(page, fresh_seams):
    blocks = re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S)
    assert blocks
    exec(compile("\n".join(blocks), str(page), "exec"), {"__name__": "howto"})
