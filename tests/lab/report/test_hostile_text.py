"""Text that a stranger wrote is shown by every output as it stands, and obeyed by none."""

import csv
import io
import json
import re
import unicodedata
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from jaxgpt.lab import Lab, analyse, plan
from jaxgpt.lab.commands.ablate import present
from jaxgpt.lab.commands.status import show_status
from jaxgpt.lab.report.csv import csv_text
from jaxgpt.lab.report.escape import for_csv, for_figure, for_html, for_markdown, for_markdown_code, one_line
from jaxgpt.lab.report.html.page import page
from jaxgpt.lab.report.latex import escape as for_latex
from jaxgpt.lab.report.latex import latex
from jaxgpt.lab.report.markdown import markdown
from jaxgpt.lab.workers import failure
from jaxgpt.lab.workers.work import work
from jaxgpt.seal import seal
from jaxgpt.terminal import say

HOSTILE = [
    "<script>alert(1)</script>",
    "</title><img src=x onerror=alert(1)>",
    "\" onmouseover='x' <!-- --> <![CDATA[",
    "![x](http://a.b/c) [y](javascript:alert(1)) <http://a.b>",
    "[x]: http://a.b 'title'",
    "http://a.b/c www.a.b",
    "`code` ``more`` \\`",
    "**bold** _it_ ~~gone~~ $x^2$ &lt; &#64;",
    "a | b | c\n| --- | --- |\n\n# heading\n\n- item\n1. one\n> quote\n    code\n```\nfence",
    "# heading #",
    "- item",
    "12. item",
    "> quote",
    "=====",
    "=1+cmd|' /C calc'!A0",
    "+1-1",
    "-2+3",
    "@SUM(A1)",
    "\t=1+1",
    "\r=1+1",
    ' "quoted", "cells"',
    "\x1b[2J\x1b]0;title\x07 \x9b31m \x1b]8;;http://a.b\x1b\\link",
    "[red]markup[/red] [link=http://a.b]x[/link] [/]",
    "\\input{/etc/passwd} \\end{table} %comment ^^5c $a_b$ #1 {x}",
    "＼input｛x｝ ％ ＄ ＆",
    "$unbalanced $\\frac{1}{2}$ \\$",
    "right\u202eto left\u2066 \u200b\ufeff\u2028x\u2029y\x85z\x00",
    "😀 日本語 \ud83d",
    "a" * 3000,
]
VALUES = st.text(alphabet="\\`*_[]()<>|~$&#!:/w.-+=%{}^@'\" \t\n\r\x1b19abZ−\u202e") | st.text()
READER = MarkdownIt("commonmark").enable(["table", "strikethrough"])


def shown(inline):
    """The text of an inline token; asserts that it is text alone."""
    kinds = {child.type for child in inline.children or ()}
    assert kinds <= {"text", "text_special"}, (kinds, inline.content)
    return "".join(child.content for child in inline.children or ())


def check_markdown(text):
    want = one_line(text).strip()
    for before, after, kinds in (
        ("# ", "", "heading_open inline heading_close"),
        ("a ", "", "paragraph_open inline paragraph_close"),
        ("", "", "paragraph_open inline paragraph_close"),
        ("- ", "", "bullet_list_open list_item_open paragraph_open inline paragraph_close list_item_close"),
    ):
        tokens = READER.parse(before + for_markdown(text) + after + "\n")
        if want:
            assert [token.type for token in tokens][: len(kinds.split())] == kinds.split(), (text, before)
            (inline,) = (token for token in tokens if token.type == "inline")
            assert shown(inline) == (before if before == "a " else "") + want
    cells = READER.parse(f"| x | y |\n| --- | --- |\n| {for_markdown(text)} | z |\n")
    inner = [shown(token) for token in cells if token.type == "inline"]
    assert inner == ["x", "y", want, "z"]
    if want:
        (code,) = READER.parse(f"a {for_markdown_code(text)} b\n")[1].children[1:2]
        assert code.type == "code_inline" and code.content.strip() == one_line(text).strip()


@pytest.mark.parametrize("text", HOSTILE)
def test_markdown_shows_what_stands_there(text):
    check_markdown(text)


@settings(deadline=None, max_examples=400)
@given(VALUES)
def test_markdown_shows_any_text(text):
    check_markdown(text)


@settings(deadline=None, max_examples=200)
@given(VALUES)
def test_no_output_obeys_any_text(text):
    for told in (for_html(text), for_markdown(text), for_figure(text), for_latex(text), one_line(text)):
        assert told.isprintable()
    cell = for_csv(text)
    assert cell[:1] not in ("=", "+", "-", "@", "\t", "\r") and cell in (one_line(text), f"'{one_line(text)}")
    assert not re.search(r"[<>\"]", for_html(text))
    assert not re.search(r"(?<!\\)\$", for_figure(text))
    plain = re.sub(r"\\[&%$#_{}]|\\[a-zA-Z]+|\$[^$]*\$|\{\[\}|\{\}", "", for_latex(text))
    assert not re.search(r"[&%#_^\\$]", plain), (text, for_latex(text))


@pytest.mark.parametrize("value", [-1.5, 3, 0.0, "", "rotary", "val/loss"])
def test_numbers_and_plain_words_are_untouched(value):
    assert for_csv(value) == value
    if isinstance(value, str):
        assert for_markdown(value) == value == for_figure(value)


@pytest.mark.parametrize(
    "text",
    [
        "[−0.0402, −0.0221]",
        "< 0.0001",
        "1.8862 ± 0.0031",
        "p (Holm)",
        "−0.03",
        "model.num_heads",
        "1.24×10¹²",
        "x^−0.08",
    ],
)
def test_markdown_leaves_figures_as_they_are(text):
    assert for_markdown(text) == text


def structure(text):
    """What Markdown makes of a document, without its words."""
    kinds = []
    for token in READER.parse(text):
        kinds.append(token.type)
        kinds += [child.type for child in token.children or () if child.type not in ("text", "text_special")]
    return kinds


class Reader(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.text = [], []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, sorted(name for name, _ in attributes)))
        for name, value in attributes:
            assert name in ("href", "src") or not (value or "").startswith("javascript:")
            assert name != "href" or re.match(r"#|(rotary|learned)/s\d\d-|tune/", value), value

    def handle_data(self, data):
        self.text.append(data)


METRIC = "=1+1|[x](http://a.b)<b>$a$\x1b[31m_c_"


def sweep(experiment, run_spec, trainer, folder, words, metric):
    """A sweep whose question, contrasts, command, metric, failure, mode and holder are words of a stranger."""
    contrasts = {name: {"rotary": 1.0, "learned": -1.0} for name in words}
    asked = experiment.evolve(question=" ".join(words), contrasts=contrasts, metric=metric, seeds=2)
    planned = plan(asked, words[0][:20], spec=run_spec, command=f"jaxgpt ablate {' '.join(words)}")

    def run(spec, out, quiet, watch):
        return trainer(spec, out, quiet, watch)

    trainer.metric = metric
    failing = planned.cells[-1]

    def before(spec, out):
        if out == folder / failing.path:
            raise RuntimeError(" ".join(words))

    trainer.before = before
    work(planned, folder, Lab(), run)
    (folder / "fuse.json").write_text(json.dumps({"fused": False, "lanes": 1, "why": " ".join(words)}))
    held = {name: getattr(planned, name) for name in ("name", "command")} | {"question": asked.question}
    cells = [
        {"arm": c.arm, "seed": c.run.seed, "id": c.id, "path": str(c.path), "steps": c.run.steps, "stage": "report"}
        for c in planned.cells
    ]
    (folder / "plan.json").write_text(json.dumps(held | {"cells": cells}))
    claim = {"owner": "x", "host": words[-2], "pid": 3, "since": 1.0, "stale": 60.0, "covers": [failing.id]}
    (folder / "claims").mkdir(exist_ok=True)
    (folder / "claims" / "a.0.json").write_text(json.dumps(claim))
    assert failure.read(folder / failing.path).error == f"RuntimeError: {' '.join(words)}"
    return analyse(planned, folder)


@pytest.fixture(scope="module")
def hostile(experiment, run_spec, trainer_class, tmp_path_factory):
    words = [encodable(text) for text in HOSTILE]
    return _both(experiment, run_spec, trainer_class, tmp_path_factory.mktemp("hostile"), words, METRIC)


@pytest.fixture(scope="module")
def harmless(experiment, run_spec, trainer_class, tmp_path_factory):
    words = [f"word {i}" for i in range(len(HOSTILE))]
    return _both(experiment, run_spec, trainer_class, tmp_path_factory.mktemp("harmless"), words, "val/loss")


def encodable(text):
    return text.replace("\ud83d", "")


def _both(experiment, run_spec, trainer_class, folder, words, metric):
    class Renamed(trainer_class):
        def __call__(self, run, out, quiet, watch):
            result = super().__call__(run, out, quiet, watch)
            result[metric] = result["val/loss"]
            rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
            rows = [row | {metric: row["val/loss"]} for row in rows]
            (out / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
            (out / "result.json").write_text(json.dumps(result))
            seal(out)
            return result

    return sweep(experiment, run_spec, Renamed(), folder, words, metric)


def test_the_markdown_report_has_the_structure_of_a_harmless_one(hostile, harmless):
    assert structure(markdown(hostile)) == structure(markdown(harmless))
    assert all(line.isprintable() for line in markdown(hostile).split("\n"))


@pytest.mark.slow
def test_the_page_has_the_tags_of_a_harmless_one(hostile, harmless):
    readers = []
    for found in (hostile, harmless):
        reader = Reader()
        reader.feed(re.sub(r"<svg.*?</svg>", "", page(found), flags=re.DOTALL))
        readers.append(reader)
    hostile_tags, plain_tags = ([tag for tag in reader.tags if tag[0] != "br"] for reader in readers)  # before a unit
    assert hostile_tags == plain_tags
    text = "".join(readers[0].text)
    assert all(one_line(encodable(word)) in text for word in HOSTILE)
    whole = Reader()
    whole.feed(page(hostile))
    assert not {tag for tag, _ in whole.tags} & {"script", "img", "iframe", "b", "object", "base", "form"}


def test_the_csv_has_no_formulas(hostile, harmless):
    rows, plain = (list(csv.reader(io.StringIO(csv_text(found)))) for found in (hostile, harmless))
    assert [len(row) for row in rows] == [len(row) for row in plain]
    for row in rows:
        for cell in row:
            assert cell[:1] not in ("=", "@", "\t", "\r") and (cell[:1] not in ("+", "-") or float(cell) is not None)
    assert [row[-1] for row in rows[1:]] == [row[-1] for row in plain[1:]]  # figures are what they were


def test_the_latex_tables_are_whole(hostile, harmless):
    comments, texts = zip(*(latex(found).split("\n", 1) for found in (hostile, harmless)), strict=True)
    assert all(comment.startswith("% jaxgpt ablate") for comment in comments)
    for pattern in (r"(?<!\\)&", r"\\\\$", r"\\(?:begin|end|caption|label|input)\b", r"(?m)^%"):
        assert len(re.findall(pattern, texts[0])) == len(re.findall(pattern, texts[1])), pattern
    assert all(unicodedata.category(char) != "Cc" or char == "\n" for char in texts[0])


def test_the_terminal_obeys_nothing(hostile, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "9999")
    show_status(hostile.folder)
    present(hostile)
    for word in HOSTILE:
        say(word)
    out, err = capsys.readouterr()
    assert all(char.isprintable() or char in "\n" for char in out + err)
    assert "[red]markup[/red]" in out and "[red]markup[/red]" in err and "[link=http://a.b]x[/link]" in out
    assert "\\x1b[2J" in out
