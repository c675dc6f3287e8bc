"""Whatever is passed to the public functions gives a result or one line that names the argument, never a traceback."""

import math
import re
import sys

import numpy as np
import pytest

import jaxgpt
from jaxgpt.decode import Sampling
from jaxgpt.inference.convert import convert
from jaxgpt.inference.loaded import Loaded
from jaxgpt.interop.hugging_face.export import write_folder
from jaxgpt.models import GPT2
from jaxgpt.spec import ConfigError, JaxgptError
from jaxgpt.text.tokenizers.byte import ByteCodec

HEADS = {"labels": {"labels": ("no", "yes")}, "number": {"scale": (0.0, 1.0)}, "choice": {}}
MODEL = GPT2(num_layers=1, d_model=16, num_heads=2, vocab_size=257, context=8)


class Unprintable:
    def __repr__(self):
        raise RuntimeError("no text")


HOSTILE = {
    "None": None,
    "True": True,
    "minus one": -1,
    "two and a half": 2.5,
    "NaN": math.nan,
    "infinity": math.inf,
    "beyond 64 bits": 10**30,
    "beyond printing": 10**5000,
    "text": "text",
    "empty text": "",
    "NUL": "\0",
    "half a surrogate pair": "\ud800",
    "bytes": b"bytes",
    "empty list": [],
    "list of None": [None],
    "list of text and a number": ["a", 1],
    "list of texts": ["a", "b"],
    "uneven rows": [[1], [1, 2]],
    "rows of text": [["a"]],
    "rows too large": [[10**30]],
    "rows of truth values": [[True]],
    "map": {"a": 1},
    "array of objects": np.array([None, 1], object),
    "deep array": np.zeros((1, 1, 1), int),
    "function": len,
    "class": GPT2,
    "unprintable": Unprintable(),
}


@pytest.fixture(scope="module")
def calls(weights, tmp_path_factory):
    """Each public function with arguments that are right, and those that may be replaced."""
    folder = tmp_path_factory.mktemp("hostile")
    params = weights(MODEL)
    m = Loaded(MODEL, MODEL, params, ByteCodec())
    judging = {name: MODEL.evolve(text_head={"kind": "task"} | head) for name, head in HEADS.items()}
    judges = {name: Loaded(model, model, weights(model), ByteCodec()) for name, model in judging.items()}
    write_folder(folder / "hf", MODEL, params, ByteCodec())

    def stream(**given):
        return "".join(m.stream(**given))

    def converts(**given):
        """Never onto what a hostile name may lead to in the current folder."""
        convert(**given)

    fine = {"prompts": ["One"], "max_new": 2, "temperature": 0.0, "top_k": None, "top_p": None}
    fine |= {"repetition_penalty": None, "stop": (), "seed": 0}
    streamed = {"prompt": "One", "max_new": 2, "sampling": Sampling(), "seed": 0}
    loaded = {"path": folder / "hf", "best": True, "dtype": None, "mesh": None, "rules": None}
    return {
        "generate": (m.generate, fine),
        "generate, drawn": (m.generate, fine | {"temperature": 1.0}),
        "stream": (stream, streamed),
        "logits": (m.logits, {"tokens": [[1, 2]]}),
        "encode": (m.encode, {"texts": ["One"], "batch_size": 1, "pooling": "mean"}),
        "classify": (judges["labels"].classify, {"texts": ["One"], "batch_size": 1}),
        "rate": (judges["number"].rate, {"texts": ["One"], "batch_size": 1}),
        "choose": (judges["choice"].choose, {"contexts": ["a"], "candidates": [["b", "c"]], "batch_size": 1}),
        "tokenizer.encode": (m.tokenizer.encode, {"text": "One"}),
        "tokenizer.encode_batch": (m.tokenizer.encode_batch, {"texts": ["One"]}),
        "load": (jaxgpt.load, loaded),
        "convert": (converts, {"source": folder / "hf", "dtype": "float32", "best": True, "target": folder / "hf"}),
        "run": (jaxgpt.run, {"spec": None, "out": folder / "run"}),
    }


NAMES = ["generate", "generate, drawn", "stream", "logits", "encode", "tokenizer.encode", "tokenizer.encode_batch"]
NAMES += ["classify", "rate", "choose"]


@pytest.mark.parametrize("name", [*NAMES, "load", "convert", "run"])
def test_a_result_or_one_line(calls, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    call, fine = calls[name]
    refused = 0
    for argument in fine:
        for value in HOSTILE.values():
            if (name, argument) == ("convert", "target") and isinstance(value, str):
                continue  # a sound name: it would be written
            try:
                call(**fine | {argument: value})
            except JaxgptError as error:
                refused += 1
                assert "\n" not in str(error) and 5 < len(str(error)) < 400, str(error)
                assert str(error).isprintable(), str(error)
    assert refused > 5 * len(fine)


def test_a_single_string_is_one_prompt_and_one_stop(calls):
    generate, fine = calls["generate, drawn"]
    given = fine | {"max_new": 6}
    (whole,) = generate(**given)
    assert generate(**given | {"prompts": "One"}) == [whole]
    stop = whole[2:4]
    assert generate(**given | {"stop": stop}) == generate(**given | {"stop": [stop]}) == [whole[: whole.index(stop)]]


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("generate", {"prompts": b"a"}, "prompts: b'a', expected a string or a list of strings"),
        ("generate", {"prompts": [b"a"]}, "prompts: row 0 is bytes b'a', expected a string"),
        ("generate", {"prompts": ""}, "prompt 0: empty; give at least one token"),
        ("generate", {"max_new": 2.5}, "max_new: 2.5, expected a whole number from 0 to 1,000,000"),
        ("generate", {"stop": [""]}, "stop: holds an empty text"),
        ("generate", {"top_p": 0}, "top_p: .*greater than 0"),
        ("stream", {"prompt": ["a"]}, "prompt: .'a'., expected a string"),
        ("logits", {"tokens": [[1], [1, 2]]}, "tokens: .*, expected rows of one length"),
        ("encode", {"texts": "One"}, "texts: a single string; expected a list"),
        ("encode", {"batch_size": 2.5}, "batch_size: 2.5, expected a whole number"),
        ("encode", {"pooling": 3}, "pooling: 3, expected the name of one"),
        ("tokenizer.encode_batch", {"texts": "x"}, "texts: a single string; expected a list"),
        ("load", {"dtype": []}, "dtype: .*; expected one of float32"),
        ("load", {"path": None}, "None.*: not a path"),
        ("load", {"mesh": {"fsdp": 8}}, "mesh: .*, expected a Mesh"),
        ("run", {"spec": {"steps": 3}}, "spec: .*, expected a Run"),
    ],
)
def test_the_line_names_the_argument(calls, name, given, message):
    call, fine = calls[name]
    with pytest.raises(ConfigError if name != "load" or "path" not in given else JaxgptError, match=message):
        call(**fine | given)


def test_no_prompt_is_no_text(calls):
    assert calls["generate"][0]([]) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--temperature", "-1"], "temperature: input should be greater than or equal to 0, got -1.0"),
        (["--temperature", "nan"], "temperature: .*finite"),
        (["--top-k", "0"], "top_k: .*greater than 0, got 0"),
        (["--top-p", "0"], "top_p: .*greater than 0, got 0.0"),
        (["--top-p", "nan"], "top_p: .*got nan"),
        (["--seed", "-1"], "seed: -1, expected a whole number from 0 to 4,294,967,295"),
        (["--max-new", "1000000000000"], "max_new: 1000000000000, expected a whole number"),
        (["--prompt", ""], "prompt 0: empty; give at least one token"),
    ],
    ids=str,
)
def test_the_verb_says_the_same(calls, words, message, monkeypatch, capsys):
    from jaxgpt.cli import main

    monkeypatch.setattr(sys, "argv", ["jaxgpt", "sample", str(calls["load"][1]["path"]), *words])
    with pytest.raises(SystemExit) as caught:
        main()
    lines = capsys.readouterr().err.splitlines()
    assert caught.value.code == 2 and len(lines) == 1 and re.search(message, lines[0]), lines
