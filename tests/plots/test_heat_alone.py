"""One run's map: its texts and scores beside it, and words for what cannot be drawn before anything is encoded."""

import numpy as np
import pytest

from jaxgpt.evals.heat import Heat
from jaxgpt.evals.tasks import STS, Retrieval
from jaxgpt.plots.heat_alone import LETTERS, draw_alone, drawing, shorten
from jaxgpt.plots.picture import checked
from jaxgpt.spec import ConfigError

HEAT = Heat(
    ("It cost $5, or $6.", "A man is\nplaying  a very long and rather beautiful tune."),
    ("<b> & 'c'", "x" * 90),
    np.array([4.75, 0.5]),
    np.array([[0.91, np.nan], [-0.3, 0.07]]),
)


def test_texts_and_figures_stand_beside_the_map(tmp_path):
    draw_alone(HEAT, "runs/simcse/s0", tmp_path / "a.svg", "svg")
    text = (tmp_path / "a.svg").read_text()
    for words in ("It cost $5, or $6.", shorten(HEAT.first[1]), "x" * 39 + "…", "runs/simcse/s0"):
        assert f"<!-- {words} -->" in text
    assert text.index("<!-- 4.75 -->") < text.index("<!-- 0.91 -->") < text.index("<!-- 0.50 -->")
    assert "<!-- 0.07 -->" in text


@pytest.mark.parametrize(("ending", "start"), [("png", b"\x89PNG"), ("pdf", b"%PDF"), ("svg", b"<?xml")])
def test_every_format_and_the_same_bytes_again(ending, start, tmp_path):
    for name in "ab":
        draw_alone(HEAT, "m", tmp_path / f"{name}.{ending}", ending)
    held = (tmp_path / f"a.{ending}").read_bytes()
    assert held.startswith(start) and held == (tmp_path / f"b.{ending}").read_bytes()
    assert checked(tmp_path / f"a.{ending}", "--picture") == ending, "a picture may take its place"


def test_shortening():
    assert shorten("  two\n words ") == "two words"
    for text in ("word " * 20, "x" * 41, "x" * 30 + " " + "y" * 30, "a " + "x" * 60):
        assert len(shorten(text)) <= LETTERS and shorten(text).endswith("…")
    assert shorten("one, two", 6) == "one…" and shorten("x" * 40) == "x" * 40


def test_what_cannot_be_drawn_is_said_at_once(tmp_path):
    (tmp_path / "b.png").write_text("a thesis")
    for task, path, line in (
        (
            Retrieval(path="nowhere"),
            tmp_path / "a.png",
            "--picture: task 'retrieval' has no scored pairs to draw; leave the option",
        ),
        (STS(path="nowhere"), tmp_path / "a.txt", f"--picture: '{tmp_path}/a.txt' does not end in a picture's format"),
        (STS(path="nowhere"), tmp_path / "no" / "a.png", f"--picture: '{tmp_path}/no/a.png': there is no folder"),
        (
            STS(path="nowhere"),
            tmp_path / "b.png",
            f"--picture: '{tmp_path}/b.png' is there already, is no png and is not written over",
        ),
    ):
        with pytest.raises(ConfigError) as caught:
            drawing(task, path)
        assert len(caught.value.problems) == 1 and caught.value.problems[0].startswith(line)


def test_the_encoder_is_asked_for_the_texts_of_the_pairs(tmp_path):
    (tmp_path / "pairs.csv").write_text("a,b,5\nc,d,1\n")
    asked = []

    def encode(texts):
        asked.extend(texts)
        return np.eye(len(texts), dtype=np.float32)

    draw = drawing(STS(path=str(tmp_path / "pairs.csv")), tmp_path / "a.png")
    assert not asked and not (tmp_path / "a.png").exists()
    draw(encode, "m")
    assert sorted(asked) == ["a", "b", "c", "d"] and (tmp_path / "a.png").exists()
