"""A Git LFS pointer or a web page under the name of a file is called that, wherever the file is read."""

import pytest

import jaxgpt
from jaxgpt.interop.hugging_face.export import write_folder
from jaxgpt.models import BERT, GPT2
from jaxgpt.ops.pooling import Recipe
from jaxgpt.spec import ConfigError
from jaxgpt.spec.stand_in import refuse_stand_in
from jaxgpt.text import ByteBPE, WordPiece
from jaxgpt.text.tokenizers.byte import ByteCodec

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22e\nsize 548105171\n"
PAGES = [b"<!DOCTYPE html>\n<html class=''>", b"\xef\xbb\xbf \n<HTML>", b'<?xml version="1.0"?><Error><Code>403</Code>']
STAND_INS = {POINTER: "a Git LFS pointer, .*git lfs pull"} | dict.fromkeys(PAGES, "a web page, .*download it again")
TEXT = "the cat sat on the mat\n"


def put(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@pytest.fixture(scope="module")
def folder(weights, tmp_path_factory):
    """`folder(copy)`: a decoder's or an encoder's folder, fresh each time."""
    root, count = tmp_path_factory.mktemp("folders"), iter(range(1000))
    codec = ByteBPE(vocab_size=300).train(lambda: [TEXT] * 4)
    pieces = WordPiece(vocab_size=40).train(lambda: [TEXT] * 4)
    gpt = GPT2(num_layers=1, d_model=8, num_heads=2, vocab_size=300, context=8)
    bert = BERT(num_layers=1, d_model=8, num_heads=2, vocab_size=pieces.vocab_size, context=8, masked_head=False)

    def write(sentences=False):
        out = root / str(next(count))
        if sentences:
            write_folder(out, bert, weights(bert), pieces, recipe=Recipe(("mean",)))
        else:
            write_folder(out, gpt, weights(gpt), codec)
        return out

    return write


FILES = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "generation_config.json"]


@pytest.mark.parametrize("content", STAND_INS, ids=lambda content: content[:12].decode("utf-8", "replace"))
def test_in_a_folder(folder, content):
    for name in FILES:
        out = folder()
        put(out / name, content)
        check(out, name, content)
    for name in ("modules.json", "1_Pooling/config.json", "config_sentence_transformers.json"):
        out = folder(sentences=True)
        put(out / name, content)
        check(out, name, content)
    out = folder()
    (out / "model.safetensors").unlink()
    put(out / "pytorch_model.bin", content)
    check(out, "pytorch_model.bin", content)
    put(out / "model.safetensors.index.json", content)
    check(out, "model.safetensors.index.json", content)
    put(out / "model.safetensors.index.json", b'{"weight_map": {"a": "part.safetensors"}}')
    put(out / "part.safetensors", content)
    check(out, "part.safetensors", content)


@pytest.mark.parametrize("content", STAND_INS, ids=lambda content: content[:12].decode("utf-8", "replace"))
@pytest.mark.parametrize("name", ["model.gguf", "stories15M.bin", "model.safetensors", "model.pt"])
def test_alone(name, content, tmp_path):
    check(put(tmp_path / name, content), name, content)


@pytest.mark.parametrize("content", STAND_INS, ids=lambda content: content[:12].decode("utf-8", "replace"))
def test_in_a_run(content, tiny, weights, tmp_path):
    from jaxgpt.runs.checkpoint.checkpoint import save
    from jaxgpt.spec import dump_yaml

    run = tiny(**{"model.vocab_size": 257})
    save(tmp_path / "ckpt", 1, {"params": weights(run.model)}, {})
    for name in ("config.yaml", "tokenizer/tokenizer.json"):
        put(tmp_path / "config.yaml", dump_yaml(run).encode())
        ByteCodec().save(tmp_path / "tokenizer")
        put(tmp_path / name, content)
        check(tmp_path, name.rpartition("/")[2], content)


def check(path, name, content):
    with pytest.raises(ConfigError, match=f"{name}: {STAND_INS[content]}") as caught:
        jaxgpt.load(path)
    assert "\n" not in str(caught.value)


def test_other_files_are_none(tmp_path):
    for content in (b"", b"{}", b"<", b"version 3", b"text about <html>"):
        refuse_stand_in(put(tmp_path / "file", content))
    refuse_stand_in(tmp_path / "absent")
