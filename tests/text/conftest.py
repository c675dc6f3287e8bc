import string
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("text", deadline=None, database=None, max_examples=50)
settings.load_profile("text")

WORDS = [
    "don't",
    "stop",
    "the",
    "banana",
    "café",
    "naïve",
    "x=1;",
    "1234",
    "state_of_the_art",
    "日本語",
    "🙂",
    "Ünïcode",
]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A folder of 40 documents over a small alphabet, lengths 1 to 79."""
    folder = tmp_path / "corpus"
    folder.mkdir()
    for index in range(40):
        (folder / f"{index:02d}.txt").write_text(string.ascii_lowercase[index % 26] * (1 + 2 * index))
    return folder


@pytest.fixture
def texts() -> list[str]:
    """Text to learn vocabularies from."""
    return [" ".join(WORDS[start:] + WORDS[:start]) + "\n" for start in range(len(WORDS))] * 4
