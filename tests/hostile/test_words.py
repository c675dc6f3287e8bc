"""Every verb on hostile words: a right answer, or lines of `error: ...` and exit status 2, soon. No traceback ever.

Folders for files and files for folders, pipes and devices, names that are empty, endless, or of bytes that are no text,
overrides that are none, numbers that are none. A part of them in each run of the tests, drawn by a seed; all in `make
slow`.
"""

import os
import random
import signal
import sys
from pathlib import Path

import pytest

import jaxgpt
from jaxgpt.cli import main
from jaxgpt.spec import dump_yaml

SECONDS = 60
"""How long an answer may take on a busy machine, imports included; most take milliseconds."""
DRAWN = 80

PATHS = [
    *("", "-", "--", ".", "..", "/", "  ", "*", "[", "{", "'", '"', "$HOME", "%s", "é😀"),
    *("a\nb", "a\0b", "\x1b[31m", "\udcff", "x" * 300, "x" * 5000, "~nobody/x", "circle", "dangling", "file/x"),
    *("folder", "file", "empty", "binary", "fifo", "fifo.yaml", "pipe.gguf", "pipe.py", "x.py"),
    *("/dev/zero", "/dev/null", "/proc/x", "/proc/self/mem", "/sys", "c.yaml", "run", "q.py"),
]
OVERRIDES = [
    *("", "=", "a=", "a.b", "a..b=1", ".a=1", "steps=", "steps==3", "steps", "=1", "steps=[1", "steps={a", "a b=1"),
    *("model={}", "model=null", "model.=1", "model.kind=", "stéps=1", "steps=\x00", "steps=&a [*a]", "-x", "--x=1"),
    *("optim=[]", "optim.kind.x=1", "batch_size.0=1", "data.corpus.0=x", "exec.mesh=[1]", "exec.sinks=[nothing]"),
    *("seed=-1", "seed=" + "9" * 5000, "steps=1e400", "steps=.nan", "optim.lr=.nan", "optim.lr=.inf"),
    *("model.num_layers=1e9", "model.context=0", "exec.mesh.data=0", "exec.mesh.data=-5", "lab.fuse=on"),
    *("steps=!!python/object:os.system x", "\x1b[31m=1", "x" * 5000 + "=1", "tokenizer={kind: bpe, path: ''}"),
    *(
        f"{field}={place}"
        for field in ("data.corpus", "start", "eval.sts")
        for place in ("", "fifo", "folder", "binary", "empty", "/dev/zero", "\udcff", "a\0b", "x" * 5000)
    ),
    *(f"tokenizer={{kind: bpe, path: {place}}}" for place in ("fifo", "folder", "binary", "/dev/zero")),
]
NUMBERS = ["", "-1", "0", "nan", "inf", "1e400", "9" * 40, "x", "1.5", "\0", "1e3", "-0"]
PROMPTS = ["", "\0", "\udcff", "\x1b[31m", "x" * 100_000, "\u202e", "😀"]
QUESTION = """
from jaxgpt.lab import Experiment

arms = {"a": {}, "b": {"optim.lr": 0.5}}
experiment = Experiment(question="?", base="c.yaml", arms=arms, baseline="a", seeds=2)
"""


def cases():
    """Words for `jaxgpt`."""
    pairs, sample = ["eval", "run", "sts", "--path", "pairs.tsv"], ["sample", "run", "--max-new", "1", "--prompt"]
    for path in PATHS:
        for verb in ("show", "train", "ablate", "sample", "list", "lab plan", "lab status", "lab report", "lab why"):
            if (verb, path) not in (("train", "c.yaml"), ("ablate", "q.py")):
                yield [*verb.split(), path]
        yield from (["lab", "work", path], ["convert", path, "new"], ["convert", "run", path], [path])
        yield from (["eval", path, *pairs[2:]], [*pairs[:4], path], ["eval", "run", path, *pairs[3:]])
        yield from (["train", "c.yaml", "--out", path], ["lab", "plan", "q.py", "--out", path])
        yield from (["show", "c.yaml", "--pattern", path], [*pairs, "--json", path], [*pairs, "--picture", path])
        yield ["compile", "c.yaml", "--topology", path]
    for word in OVERRIDES:
        yield from (["show", "c.yaml", word], ["train", "c.yaml", word, "--out", "t"], ["lab", "plan", "q.py", word])
    for number in NUMBERS:
        yield from ([*sample, "o", option, number] for option in ("--temperature", "--top-k", "--top-p", "--seed"))
        yield from ([*pairs, option, number] for option in ("--batch-size", "--pooling"))
        yield from (["lab", "plan", "q.py", option, number] for option in ("--seeds", "--detect"))
        yield from (["train", "c.yaml", option, number] for option in ("--coordinator", "--processes", "--process"))
        yield from (["convert", "run", "new", "--dtype", number], ["sample", "run", "--max-new", number])
    yield from ([*sample, prompt] for prompt in PROMPTS)


CASES = list(cases())


@pytest.fixture(scope="module")
def place(tiny, tmp_path_factory):
    """A folder with all that the words name."""
    place = tmp_path_factory.mktemp("words")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setenv("HOME", str(place / "home"))
        Path("folder").mkdir()
        for name in ("fifo", "pipe.gguf", "pipe.py"):
            os.mkfifo(name)
        for name, target in (("circle", "circle"), ("dangling", "nothing"), ("fifo.yaml", "fifo")):
            Path(name).symlink_to(target)
        Path("text.txt").write_text("one two three four " * 300)
        for name, text in (("file", "x"), ("empty", ""), ("x.py", "import os"), ("q.py", QUESTION)):
            Path(name).write_text(text)
        Path("binary").write_bytes(bytes(range(256)))
        Path("pairs.tsv").write_text("sentence1\tsentence2\tscore\none\ttwo\t1\nthree\tfour\t2\n")
        fixed = {"model.num_layers": 1, "model.vocab_size": None, "data.corpus": "text.txt", "data.val_tokens": 64}
        run = tiny(**(fixed | {"steps": 2}))
        Path("c.yaml").write_text(dump_yaml(run))
        jaxgpt.run(run, "run", quiet=True)
        yield place


def answer(words, place, capsys):
    """Calls the verb, and asserts that it answered as it must."""
    config = (place / "c.yaml").read_text()

    def too_long(*_):
        raise TimeoutError(f"{SECONDS} s")

    old = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(SECONDS)
    try:
        sys.argv = ["jaxgpt", *words]
        with pytest.raises(SystemExit) as caught:
            main()
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, old)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # `lab work` ends with its process
        (place / "c.yaml").write_text(config)  # `--json c.yaml` is no fault
    lines = capsys.readouterr().err.splitlines()
    if caught.value.code:
        assert caught.value.code == 2 and lines, (caught.value.code, lines)
        assert all(line.startswith("error: ") and line.isprintable() and len(line) < 2100 for line in lines), lines


@pytest.mark.parametrize("words", random.Random(0).sample(CASES, DRAWN), ids=lambda words: repr(words)[:60])
def test_hostile_words_are_answered(words, place, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", [])
    answer(words, place, capsys)


@pytest.mark.slow
def test_all_hostile_words_are_answered(place, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", [])
    for words in CASES:
        try:
            answer(words, place, capsys)
        except BaseException as error:
            raise AssertionError(f"jaxgpt {[word[:60] for word in words]}") from error
