"""A data format of one's own: one class in one's own file, and files of its ending are read wherever text is."""

import json
import sys

import pytest

from jaxgpt.cli import main
from jaxgpt.spec import dump_yaml
from jaxgpt.text.corpora.formats import Format
from jaxgpt.text.corpora.named import open_corpus

OWN = '''
from jaxgpt.lab import Experiment
from jaxgpt.text.corpora.formats import Format, Record


class Paragraphs(Format):
    """Documents with an empty line between."""

    suffixes = (".par",)

    def records(self, path, names=None):
        for number, text in enumerate(path.read_text().split("\\n\\n"), start=1):
            yield Record({"text": text}, f"{path}: paragraph {number}")


experiment = Experiment(
    question="Is it read?", base="little.yaml", arms={"one": {}, "other": {"optim.lr": 1e-4}}, baseline="one", seeds=1
)
'''


@pytest.fixture
def forgotten():
    """Takes the format back: the name of a file decides for the whole process."""
    yield
    Format._members.pop("paragraphs", None)


def test_a_format_in_a_users_file_is_read_by_name(tiny, tmp_path, monkeypatch, forgotten, one_device):
    texts = [f"to be or not to be, that is question {number}." for number in range(60)]
    corpus = tmp_path / "text.par"
    corpus.write_text("\n\n".join(texts))
    before = open_corpus(str(corpus), "text", 0.2).hash()  # of plain text, as no format claims it yet
    fixed = {
        "model.num_layers": 1,
        "model.vocab_size": None,
        "data.corpus": str(corpus),
        "data.val_tokens": 64,
        "steps": 1,
    }
    (tmp_path / "little.yaml").write_text(dump_yaml(tiny(**fixed)))
    (tmp_path / "own.py").write_text(OWN)
    out = tmp_path / "runs"
    monkeypatch.setattr(sys, "argv", ["jaxgpt", "ablate", str(tmp_path / "own.py"), "--out", str(out), "lab.fuse=off"])
    with pytest.raises(SystemExit) as caught:
        main()
    assert not caught.value.code
    (folder,) = (out / "one").iterdir()
    read = open_corpus(str(corpus), "text", 0.2)
    assert sorted(document.text for document in read.documents()) == sorted(texts)
    assert json.loads((folder / "provenance.json").read_text())["corpus_sha256"] == read.hash() != before
