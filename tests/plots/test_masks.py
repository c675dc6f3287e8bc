"""Pictures of attention patterns: what is drawn is what is counted, and a file is written whole or not at all."""

import json
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

from jaxgpt.ops.patterns import (
    Banded,
    Bidirectional,
    Causal,
    Dilated,
    Fixed,
    GlobalWindow,
    Intersection,
    PerHead,
    Prefix,
    Sinks,
    Strided,
    Union,
    layout,
    mean_keys,
)
from jaxgpt.plots.masks import draw_patterns
from jaxgpt.plots.palette import OWN, PAGE, SEEN, UNSEEN
from jaxgpt.plots.views import fields, folded, kept_shares, matrix, numbers, row_width, tint, views
from jaxgpt.spec import ConfigError, dump_yaml

HEADS = PerHead(of=(Strided(stride=5, factor="local"), Strided(stride=5, factor="column"), Causal(), Causal()))
PATTERNS = [
    Causal(),
    Bidirectional(),
    Banded(window=7, right=2),
    Dilated(window=3, dilation=4, right=1),
    Strided(stride=6),
    Fixed(stride=6, summary=2, shift=1),
    Fixed(stride=6, summary=2, factor="summary"),
    Sinks(window=5, count=2),
    GlobalWindow(window=4, count=2),
    Prefix(length=9),
    Union(of=(Banded(window=3), Strided(stride=8, factor="column"))),
    Intersection(of=(Causal(), GlobalWindow(window=4))),
    HEADS,
]


@cache
def pairs(pattern, length):
    """One pair at a time."""
    return np.array([[bool(pattern.allows(q, k)) for k in range(length)] for q in range(length)])


def brute(pattern, length, cell):
    seen, starts = pairs(pattern, length), range(0, length, cell)
    return [[seen[q : q + cell, k : k + cell].mean() for k in starts] for q in starts]


def model(*layer_patterns, num_heads=4):
    return SimpleNamespace(kind="any", layer_patterns=layer_patterns, depth=len(layer_patterns), heads=num_heads)


@pytest.mark.parametrize("pattern", PATTERNS, ids=lambda pattern: pattern.kind)
def test_a_cells_shade_is_the_share_of_its_pairs(pattern, monkeypatch):
    for length, cell in ((1, 1), (24, 1), (24, 6), (31, 4), (31, 7), (31, 40)):
        np.testing.assert_allclose(kept_shares(pattern, length, cell), brute(pattern, length, cell), rtol=1e-14)
    monkeypatch.setattr(layout, "AT_ONCE", 70)  # two queries at a time
    np.testing.assert_allclose(kept_shares(pattern, 31, 7), brute(pattern, 31, 7), rtol=1e-14)


@pytest.mark.parametrize("part", [part for pattern in PATTERNS for part in pattern.shares], ids=lambda part: part.kind)
def test_cells_weighted_by_their_size_sum_to_the_pairs_that_are_counted(part):
    size = np.minimum(7, 31 - np.arange(0, 31, 7))
    assert size @ kept_shares(part, 31, 7) @ size == pytest.approx(31 * mean_keys(part, 31))


@pytest.mark.parametrize("pattern", PATTERNS, ids=lambda pattern: pattern.kind)
def test_every_pixel_tells_whether_a_pair_is_seen(pattern):
    length, width, query = 29, 6, 20
    seen, image = pairs(pattern, length), matrix(pattern, length, 1)
    alone = folded(pattern, length, width, query).reshape(-1, 3)
    for q in range(length):
        for k in range(length):
            pixels = [image[q, k], alone[k]] if q == query else [image[q, k]]
            for pixel in pixels:
                if q != k:
                    np.testing.assert_allclose(pixel, to_rgb(SEEN if seen[q, k] else UNSEEN))
                else:
                    assert np.allclose(pixel, to_rgb(OWN)) == seen[q, k]
    np.testing.assert_allclose(alone[length:], [to_rgb(PAGE)])


def test_a_tint_tells_nothing_from_little_and_more_from_less():
    np.testing.assert_allclose(tint(np.array([0.0, 1.0])), [to_rgb(UNSEEN), to_rgb(SEEN)])
    towards = np.linalg.norm(tint(np.array([0, 1e-6, 1e-3, 0.1, 0.5, 1])) - to_rgb(UNSEEN), axis=1)
    assert np.all(np.diff(towards) > 0) and towards[1] > 0.1 * towards[-1]


def test_views_name_every_layer_and_head_once():
    layers = [Causal(), HEADS, Banded(window=3), HEADS, Causal()]
    used = {}
    for view in views(layers, 8):
        for place in ((layer, head) for layer in view.layers for head in view.heads or range(1, 9)):
            assert used.setdefault(place, view.pattern) is view.pattern
    for layer, pattern in enumerate(layers, 1):
        parts = pattern.shares
        assert [used[layer, head + 1] for head in range(8)] == [parts[head * len(parts) // 8] for head in range(8)]
    assert len(views(layers, 8)) == 5  # causal in all heads, and in the last four; two factors; a band


def test_rows_fold_at_a_stride_so_that_columns_stand_upright():
    shown = views([Causal(), Union(of=(Banded(window=3), Strided(stride=12)))], 1)
    assert row_width(shown, 1000) == 36 and row_width(shown, 10) == 10 and row_width(shown[:1], 2048) == 64


def test_words():
    assert numbers([3]) == "3" and numbers([1, 2, 3, 5]) == "1–3, 5" and numbers(range(1, 96, 2)) == "1, 3, …, 95"
    told = {pattern: fields(pattern).replace("\u00a0", " ") for pattern in PATTERNS}
    assert told[Causal()] == "" and told[Sinks(window=5, count=2)] == "window 5, count 2"
    assert told[Strided(stride=6)] == "stride 6" and told[PATTERNS[6]] == "stride 6, summary 2, factor summary"
    assert told[PATTERNS[10]] == "banded window 3; strided stride 8, factor column"


@pytest.mark.parametrize(("length", "layers"), [(1, 1), (130, 2), (8, 5)])
def test_pictures_of_any_length_and_number_are_drawn(length, layers, tmp_path):
    draw_patterns(model(*(PATTERNS[::-1][:layers])), length, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        assert 500 < image.width < 2100 and 500 < image.height < 3000
        colours = {colour[:3] for _, colour in image.getcolors(2**24)}
    assert tuple(round(255 * part) for part in to_rgb(OWN)) in colours


def test_a_model_without_patterns_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"--pattern: model.kind 'lstm' has no attention patterns; leave"):
        draw_patterns(SimpleNamespace(kind="lstm", layer_patterns=()), 8, tmp_path / "a.png")


def test_a_picture_that_fails_leaves_the_old_one(tmp_path, monkeypatch):
    def break_off(self, file, **options):
        file.write(b"half")
        raise KeyboardInterrupt

    path = tmp_path / "a.png"
    path.write_bytes(b"\x89PNG")
    monkeypatch.setattr(Figure, "savefig", break_off)
    with pytest.raises(KeyboardInterrupt):
        draw_patterns(model(Causal()), 8, path)
    assert path.read_bytes() == b"\x89PNG" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("name", "start"), [("a.pdf", b"%PDF"), ("a.svg", b"<?xml")])
def test_vectors_repeat_byte_by_byte(name, start, tmp_path):
    for path in (tmp_path / name, tmp_path / f"again-{name}"):
        draw_patterns(model(Causal(), HEADS), 12, path)
    assert path.read_bytes() == (tmp_path / name).read_bytes() and path.read_bytes().startswith(start)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("png", "'png' does not end in a picture's format; use .png, .pdf or .svg"),
        ("no/a.png", "'no/a.png': there is no folder 'no'; make it, or name another"),
    ],
)
def test_a_place_that_cannot_hold_a_picture_is_refused(name, problem, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as caught:
        draw_patterns(model(Causal()), 8, Path(name))
    assert caught.value.problems == [f"--pattern: {problem}"] and not list(tmp_path.iterdir())


@pytest.fixture
def show(tiny, tmp_path, jaxgpt_):
    """`show(...)`: exit status, standard output, lines of standard error."""
    config = tmp_path / "config.yaml"
    config.write_text(dump_yaml(tiny(**{"model.pattern": ["causal", {"kind": "banded", "window": 3}]})))
    return lambda *words: jaxgpt_("show", config, *words)


def test_show_draws_beside_the_facts(show, tmp_path):
    path = tmp_path / "a.PNG"
    status, out, err = show("--json", "--pattern", path)
    assert (status, err) == (0, [f"pattern pictures: {path}"]) and json.loads(out)["params"]
    with Image.open(path) as image:
        image.load()
        assert image.format == "PNG" and image.width > image.height > 500


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            ["--pattern", "a.exe"],
            "error: --pattern: 'a.exe' does not end in a picture's format; use .png, .pdf or .svg",
        ),
        (["--pattern", "a.exe", "stepps=3"], "error: stepps: unknown field; did you mean 'steps'?"),
    ],
)
def test_a_bad_option_is_one_line_and_writes_nothing(show, tmp_path, monkeypatch, words, line):
    monkeypatch.chdir(tmp_path)
    before = list(tmp_path.rglob("*"))
    assert show(*words) == (2, "", [line])
    assert list(tmp_path.rglob("*")) == before
