"""SentEval's folders of two files a subset: pairs without a score are skipped, files that do not fit are one line."""

import pytest

from jaxgpt.evals.sts import read_subsets
from jaxgpt.spec import ConfigError


def write(folder, name, pairs, scores):
    (folder / f"STS.input.{name}.txt").write_text(pairs)
    (folder / f"STS.gs.{name}.txt").write_text(scores)


def test_a_folder_is_its_subsets(tmp_path):
    write(tmp_path, "MSRpar", 'a b\tc d\nnot\tscored\n"e\tf\n', "4.400\n\n0.8\n")
    write(tmp_path, "OnWN", "g\th\n", "5")
    (tmp_path / "readme.txt").write_text("no pairs")
    subsets = read_subsets(tmp_path)
    assert {name: [*zip(*subset, strict=True)] for name, subset in subsets.items()} == {
        "MSRpar": [("a b", "c d", 4.4), ('"e', "f", 0.8)],
        "OnWN": [("g", "h", 5.0)],
    }


@pytest.mark.parametrize(
    ("pairs", "scores", "line"),
    [
        ("a\tb\nc\td\n", "1\n", r"STS\.input\.x\.txt:2: a line more than STS\.gs\.x\.txt has; they go together"),
        ("a\tb\n", "1\n2\n", r"STS\.gs\.x\.txt:2: a line more than STS\.input\.x\.txt has; they go together"),
        ("a b\n", "1\n", r"STS\.input\.x\.txt:1: 1 columns, expected two texts with a tab between"),
        ("a\tb\n", "good\n", r"STS\.input\.x\.txt:1: score 'good' is no number"),
        ("a\t\n", "1\n", r"STS\.input\.x\.txt:1: column 'text2' is empty"),
    ],
)
def test_files_that_do_not_fit_are_one_line(tmp_path, pairs, scores, line):
    write(tmp_path, "x", pairs, scores)
    with pytest.raises(ConfigError, match=line):
        read_subsets(tmp_path)


def test_without_its_scores_a_subset_is_one_line(tmp_path):
    (tmp_path / "STS.input.x.txt").write_text("a\tb\n")
    with pytest.raises(ConfigError, match=r"STS\.gs\.x\.txt: cannot be read: No such file"):
        read_subsets(tmp_path)
