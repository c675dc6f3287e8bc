"""Perplexity: windows against a pass of their own, units, denominators."""

import json

import jax
import numpy as np
import pytest
from close import assert_close

from jaxgpt.evals.pairs import Pair
from jaxgpt.evals.tasks import Perplexity
from jaxgpt.evals.tasks.detokenizers import DETOKENIZERS
from jaxgpt.evals.tasks.perplexity import windows
from jaxgpt.inference.asked import Asked
from jaxgpt.spec import ConfigError

TEXT = "Once upon a time there was a dog @-@ a good one .\nIt sang , and sang .\n"


def test_windows_are_lm_evals():
    """Of ten tokens and a context of four, behind the token that texts begin with (99)."""
    ids = [99, *range(10)]
    assert [*windows(ids, 4, 4)] == [
        Pair([99], [0, 1, 2, 3]),
        Pair([3], [4, 5, 6, 7]),
        Pair([5, 6, 7], [8, 9]),
    ]


@pytest.mark.parametrize("step", [1, 2, 3, 4])
@pytest.mark.parametrize("count", [1, 4, 5, 11])
def test_each_token_is_foretold_once_from_as_many_as_there_are(step, count):
    ids = [99, *range(count)]
    parts = [*windows(ids, 4, step)]
    assert [token for pair in parts for token in pair.continuation] == ids[1:]
    for number, (context, continuation) in enumerate(parts):
        first = ids.index(continuation[0])
        assert context == ids[first - len(context) : first] and len(context) + len(continuation) <= 5
        assert number == 0 or len(context) >= min(first, 5 - step)


def test_figures_are_those_of_one_pass(m, tmp_path):
    (tmp_path / "a.txt").write_text(TEXT)
    measured = Perplexity(path=str(tmp_path / "a.txt")).opened()(Asked(m, quiet=True))
    ids = [m.tokenizer.eot, *m.tokenizer.encode(TEXT)]
    log_p = np.asarray(jax.nn.log_softmax(m.logits([ids[:-1]])[0]), np.float64)
    nats = -sum(row[token] for row, token in zip(log_p, ids[1:], strict=True))
    figures = measured.figures
    words, lines = len(TEXT.split()), 2
    assert (figures["perplexity/words"], figures["perplexity/bytes"]) == (words, len(TEXT))
    for unit, count in (
        ("token", len(ids) - 1),
        ("word", words),
        ("word_or_line_end", words + lines),
        ("byte", len(TEXT)),
    ):
        assert_close(np.log(figures[f"perplexity/per_{unit}"]), nats / count)
    assert_close(figures["perplexity/bits_per_byte"], nats / len(TEXT) / np.log(2))


def test_denominators_are_the_files_whatever_the_detokenizer(m, tmp_path):
    (tmp_path / "a.txt").write_text(TEXT)
    plain, detokenized = (
        Perplexity(path=str(tmp_path / "a.txt"), detokenizer=name).opened()(Asked(m, quiet=True)).figures
        for name in ("none", "wikitext")
    )
    for unit in ("words", "word_or_line_ends", "bytes", "characters"):
        assert plain[f"perplexity/{unit}"] == detokenized[f"perplexity/{unit}"]
    assert detokenized["perplexity/tokens"] < plain["perplexity/tokens"]


def test_documents_are_read_each_from_its_beginning(m, tmp_path):
    lines = ["Once upon a time", "there was a dog", "it sang"]
    (tmp_path / "a.txt").write_text("\n".join(lines) + "\n\n")
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps({"text": line}) for line in lines))
    (tmp_path / "b.txt").write_text(f" = A = \n \n {lines[0]}\n\n = = B = = \n {lines[1]}\n = C = \n {lines[2]}\n")
    ask = lambda name, **fields: Perplexity(path=str(tmp_path / name), **fields).opened()(Asked(m, quiet=True))  # noqa: E731
    by_line, rows = ask("a.txt", documents="lines"), ask("a.jsonl")
    assert by_line.figures["perplexity/documents"] == 3
    assert by_line.figures["perplexity/per_token"] == rows.figures["perplexity/per_token"]
    assert ask("a.txt").figures["perplexity/documents"] == 1
    articles = ask("b.txt", documents="articles")
    assert [row["words"] for row in articles.rows] == [16, 5]
    with pytest.raises(ConfigError, match="has no line such as ' = Title = '; use documents=file"):
        ask("a.txt", documents="articles")


def test_a_smaller_context_and_a_stride(m, tmp_path):
    (tmp_path / "a.txt").write_text(TEXT)
    ask = lambda **fields: Perplexity(path=str(tmp_path / "a.txt"), **fields).opened()(Asked(m, quiet=True)).figures  # noqa: E731
    apart, overlapping = ask(context=16), ask(context=16, stride=4)
    assert apart["perplexity/tokens"] == overlapping["perplexity/tokens"] == len(TEXT)
    assert apart["perplexity/windows"] == -(-len(TEXT) // 16) and overlapping["perplexity/windows"] == 1 + -(
        -(len(TEXT) - 16) // 4
    )


SPACED = {
    "wikitext": (
        "He had a guest @-@ starring role , in 2 @,@ 000 ( the \" Long Firm \" ) : it 's the players ' own , 2 @.@ 5 m",
        "He had a guest-starring role, in 2,000 (the \"Long Firm\"): it's the players' own, 2.5 m",
    ),
    "ptb": (
        "the company 's shares did n't fall $ N \\/ <unk> \n more",
        "the company's shares didn't fall $1 / ?\nmore",
    ),
    "lm1b": (
        'He said , " It does n\'t matter . " ( Really ? ) Yes , $ 5 .',
        'He said, "It doesn\'t matter." (Really?) Yes, $5.',
    ),
    "none": ("a , b", "a , b"),
}


@pytest.mark.parametrize("name", SPACED)
def test_detokenizers_write_as_people_do(name):
    spaced, natural = SPACED[name]
    assert DETOKENIZERS[name](spaced) == natural


def test_bad_files(m, tmp_path):
    (tmp_path / "empty.txt").write_text("  \n")
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    for name, message in (("empty.txt", "holds no text"), ("latin.txt", "UTF-8"), ("none.txt", "is not there")):
        with pytest.raises(ConfigError, match=message):
            Perplexity(path=str(tmp_path / name)).opened()
