"""A stranger's tokenizer.json is tried out before it is opened: what panics, hangs or swells is one line."""

import copy
import json
import subprocess
from pathlib import Path

import pytest

from jaxgpt.interop.hugging_face.tokenizer import read_codec
from jaxgpt.spec import ConfigError
from jaxgpt.text import ByteBPE
from jaxgpt.text.tokenizers import tokenizer_json
from jaxgpt.text.tokenizers.huggingface import HuggingFaceCodec
from jaxgpt.text.tokenizers.saved import load_codec

TEMPLATE = {
    "type": "TemplateProcessing",
    "single": [{"SpecialToken": {"id": "[X]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
    "pair": [{"Sequence": {"id": "A", "type_id": 0}}],
    "special_tokens": {},
}
BOMB = {
    "type": "Sequence",
    "normalizers": [{"type": "Replace", "pattern": {"String": "a"}, "content": "a" * 1000}] * 4,
}
BAD = {
    "a prefix longer than an entry": ("model.continuing_subword_prefix", "x" * 40),
    "an empty character map": ("normalizer", {"type": "Precompiled", "precompiled_charsmap": ""}),
    "a template with an unknown token": ("post_processor", TEMPLATE),
    "a decoder that strips more than there is": ("decoder", {"type": "Strip", "content": "h", "start": 5, "stop": 5}),
    "a text that grows without bounds": ("normalizer", BOMB),
    "a text that grows a thousandfold": ("normalizer", BOMB["normalizers"][0]),
    "a rule that tries everything": (
        "pre_tokenizer",
        {"type": "Split", "pattern": {"Regex": "(a|a)*[^a]"}, "behavior": "Isolated", "invert": False},
    ),
    "no such rule": ("pre_tokenizer", {"type": "Nothing"}),
    "a broken expression": ("pre_tokenizer", {"type": "Split", "pattern": {"Regex": "("}, "behavior": "Isolated"}),
    "ids at random": ("model.dropout", 0.1),
    "an id beyond any vocabulary": ("model.vocab.far", 2**32 - 1),
    "two tokens of one id": ("model.vocab.far", 7),
    "no model": ("model", None),
}


@pytest.fixture(scope="module")
def sound() -> dict:
    return json.loads(ByteBPE(vocab_size=300).train(lambda: ["hello world " * 9]).tokenizer_json())


def spoilt(tree: dict, place: str, value: object) -> str:
    tree = copy.deepcopy(tree)
    *parents, last = place.split(".")
    holder = tree
    for name in parents:
        holder = holder[name]
    holder[last] = value
    return json.dumps(tree)


@pytest.mark.parametrize("name", [name for name in BAD if "strips" not in name])
def test_what_does_not_run_is_one_line(name: str, sound: dict, tmp_path: Path):
    (tmp_path / "tokenizer.json").write_text(spoilt(sound, *BAD[name]))
    ways = [
        lambda: load_codec(tmp_path),
        lambda: read_codec(tmp_path, {}),
        lambda: ByteBPE(path=str(tmp_path)).train(()),
    ]
    for way in ways[: 1 if "bounds" in name else 3]:
        with pytest.raises(ConfigError, match="token") as caught:
            way()
        assert len(str(caught.value).splitlines()) == 1 and len(str(caught.value)) < 600


def test_a_library_that_panics_here_after_all_is_one_line(sound: dict, tmp_path: Path):
    """As a text may do that was not among those tried out."""
    for name in ("a prefix longer than an entry", "an empty character map", "a template with an unknown token"):
        text = spoilt(sound, *BAD[name])
        tokenizer_json.vouch(text)
        (tmp_path / "tokenizer.json").write_text(text)
        with pytest.raises(ConfigError, match="token") as caught:
            load_codec(tmp_path)
        assert len(str(caught.value).splitlines()) == 1


def test_panics_in_use_are_one_line(sound: dict):
    class Panic(BaseException):
        pass

    Panic.__name__ = "PanicException"

    class Fails:
        def decode(self, *args, **options):
            raise Panic("no entry\nfound")

        encode_batch_fast = decode

    codec = HuggingFaceCodec(tokenizer_json.opened(json.dumps(sound), Path("x")))
    assert list(codec.parts("a")) == ["a"]  # looks at the rules, once
    codec._tokenizer = Fails()
    for use in (lambda: codec.encode("a"), lambda: codec.decode([1]), lambda: codec.encode("a " * 9999)):
        with pytest.raises(ConfigError, match=r"tokenizer: cannot (encode|decode) .*: no entry found"):
            use()


@pytest.fixture
def no_process(monkeypatch):
    def refuse(*args, **options):
        raise AssertionError("a process was started")

    return lambda: monkeypatch.setattr(subprocess, "run", refuse)


def test_a_file_is_tried_out_once(sound: dict, tmp_path: Path, no_process, monkeypatch):
    monkeypatch.setenv("JAXGPT_CACHE", str(tmp_path / "cache"))
    (tmp_path / "tokenizer.json").write_text(json.dumps(sound, indent=1))
    first = load_codec(tmp_path)
    no_process()
    assert load_codec(tmp_path).digest == first.digest
    (tmp_path / "tokenizer.json").write_text(json.dumps(sound, indent=2))
    with pytest.raises(AssertionError, match="a process was started"):
        load_codec(tmp_path)


def test_what_we_wrote_needs_no_process(sound: dict, tmp_path: Path, no_process, monkeypatch):
    monkeypatch.setenv("JAXGPT_CACHE", str(tmp_path / "cache"))
    no_process()
    ours = ByteBPE(vocab_size=280).train(lambda: ["some other words " * 9])
    ours.save(tmp_path / "ours")
    assert load_codec(tmp_path / "ours").digest == ours.digest


def test_without_a_cache_folder_it_is_tried_out_each_time(sound: dict, tmp_path: Path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("JAXGPT_CACHE", str(tmp_path / "file"))
    (tmp_path / "tokenizer.json").write_text(json.dumps(sound, indent=3))
    assert load_codec(tmp_path).digest == load_codec(tmp_path).digest
