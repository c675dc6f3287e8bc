"""`jaxgpt convert`: runs and checkpoints become folders for transformers; nothing is written over or half written."""

import jax
import numpy as np
import pytest
from close import assert_close

import jaxgpt
from jaxgpt.interop.hugging_face.export import write_folder
from jaxgpt.models import GPT1, GPT2, Llama, Qwen2
from jaxgpt.runs.checkpoint.checkpoint import save
from jaxgpt.spec import dump_yaml
from jaxgpt.text import ByteBPE
from jaxgpt.text.tokenizers.byte import ByteCodec
from jaxgpt.text.tokenizers.char import CharCodec

MODEL = GPT2(num_layers=1, d_model=16, num_heads=2, vocab_size=257, context=8)


@pytest.fixture
def call(jaxgpt_):
    """`call("convert", ...)`: exit status and lines of standard error; standard output stays empty."""

    def run(*words):
        status, out, err = jaxgpt_(*words)
        assert out == ""
        return status, err

    return run


@pytest.fixture(scope="module")
def run_dir(little, weights, tmp_path_factory):
    """A run of two checkpoints, the first its best. Nothing is written there."""
    out = tmp_path_factory.mktemp("converted") / "run"
    out.mkdir()
    run = little(**{"model.vocab_size": 257})
    (out / "config.yaml").write_text(dump_yaml(run))
    ByteCodec().save(out / "tokenizer")
    for step in (1, 2):
        save(out / "ckpt", step, {"params": weights(run.model, step)}, {}, best=step == 1)
    return out


def same(one, two):
    return all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True))


def test_a_run_becomes_a_folder_that_loads_the_same(call, run_dir, tmp_path):
    assert call("convert", run_dir, tmp_path / "hf") == (0, [f"wrote {tmp_path / 'hf'}"])
    one, two = jaxgpt.load(run_dir), jaxgpt.load(tmp_path / "hf")
    assert same(one.params, two.params) and one.tokenizer.digest == two.tokenizer.digest
    assert one.generate(["On"], max_new=20) == two.generate(["On"], max_new=20)


def test_a_folder_becomes_a_folder_in_another_dtype(call, run_dir, tmp_path):
    call("convert", run_dir, tmp_path / "hf")
    status, _ = call("convert", tmp_path / "hf", tmp_path / "half", "--dtype", "bfloat16")
    want = jaxgpt.load(run_dir, dtype="bfloat16").params
    assert status == 0 and same(jaxgpt.load(tmp_path / "half", dtype="bfloat16").params, want)
    sizes = [(tmp_path / name / "model.safetensors").stat().st_size for name in ("hf", "half")]
    assert 1.5 < sizes[0] / sizes[1] < 2.1


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_llama_goes_to_gguf_and_back(dtype, call, weights, tmp_path):
    model = Llama(num_layers=2, d_model=32, num_heads=4, num_kv_heads=2, vocab_size=300, context=16)
    codec = ByteBPE(vocab_size=300).train(lambda: ["one two three four " * 9])
    write_folder(tmp_path / "hf", model, weights(model), codec)
    assert call("convert", tmp_path / "hf", tmp_path / "it.gguf", "--dtype", dtype) == (
        0,
        [f"wrote {tmp_path / 'it.gguf'}"],
    )
    one, two = jaxgpt.load(tmp_path / "hf", dtype=dtype), jaxgpt.load(tmp_path / "it.gguf", dtype=dtype)
    assert one.tokenizer.encode("three five") == two.tokenizer.encode("three five")
    assert one.tokenizer.eot == two.tokenizer.eot
    assert call("convert", tmp_path / "it.gguf", tmp_path / "back", "--dtype", dtype)[0] == 0
    assert same(one.params["blocks"]["layers"]["attention"]["v"], two.params["blocks"]["layers"]["attention"]["v"])
    files = [tmp_path / name / "model.safetensors" for name in ("hf", "back")]
    assert dtype != "float32" or files[0].read_bytes() == files[1].read_bytes()


def test_a_model_of_sentences_becomes_a_folder_of_sentence_transformers(call, little, weights, tmp_path):
    run = little(**{"model.vocab_size": 257, "model.text_head": {"kind": "contrastive", "projection": "tanh"}})
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text(dump_yaml(run))
    ByteCodec().save(tmp_path / "run" / "tokenizer")
    save(tmp_path / "run" / "ckpt", 1, {"params": weights(run.model)}, {})
    assert call("convert", tmp_path / "run", tmp_path / "out") == (0, [f"wrote {tmp_path / 'out'}"])
    want = jaxgpt.load(tmp_path / "run").encode(["ab", "c"], quiet=True)
    assert_close(jaxgpt.load(tmp_path / "out").encode(["ab", "c"], quiet=True), want, 1e-6)
    status, lines = call("convert", tmp_path / "out", tmp_path / "out.gguf")
    assert (status, len(lines)) == (2, 1) and "GGUF has no place for how texts become vectors" in lines[0]


def test_what_a_folder_cannot_hold_is_told(call, weights, tmp_path):
    model = Qwen2(num_layers=1, d_model=16, num_heads=2, vocab_size=9, context=8)
    write_folder(tmp_path / "hf", model, weights(model), CharCodec("abcdefghi"))
    status, (note, done) = call("convert", tmp_path / "hf", tmp_path / "again")
    assert status == 0 and note.startswith("note: AutoTokenizer puts") and done.startswith("wrote")
    assert jaxgpt.load(tmp_path / "again").tokenizer.decode([2, 0, 1]) == "cab"


@pytest.fixture(scope="module")
def places(run_dir, little, weights):
    """What converts, what does not, and what stands in the way."""
    tmp_path = run_dir.parent
    odd = little(**{"model.vocab_size": 257, "model.position": "sinusoidal"})
    folder = tmp_path / "odd"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "unheard-of"}')
    (folder / "model.safetensors").write_bytes(b"\2\0\0\0\0\0\0\0{}")
    (tmp_path / "pickled.bin").write_bytes(b"PK\3\4")
    write_folder(tmp_path / "taken", MODEL, weights(MODEL))
    first = GPT1(num_layers=1, d_model=16, num_heads=2, vocab_size=257, context=8)
    write_folder(tmp_path / "first", first, weights(first))
    run = tmp_path / "sinusoidal"
    run.mkdir()
    (run / "config.yaml").write_text(dump_yaml(odd))
    ByteCodec().save(run / "tokenizer")
    save(run / "ckpt", 1, {"params": weights(odd.model)}, {})
    return tmp_path


def content(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["{at}/absent", "{at}/new"], "{at}/absent: is not there; expected a run, a Hugging Face folder"),
        (["{at}/odd", "{at}/new"], "{at}/odd/config.json: model_type: 'unheard-of' is not supported"),
        (["{at}/pickled.bin", "{at}/new"], "{at}/pickled.bin: is pickled"),
        (["{at}/run", "{at}/taken"], "{at}/taken: is there already and is not written over"),
        (["{at}/run", "{at}/run"], "{at}/run: is there already"),
        (["{at}/run", "{at}/pickled.bin"], "{at}/pickled.bin: expected a folder, or a file that ends in .gguf"),
        (["{at}/run", "{at}/new.safetensors"], "{at}/new.safetensors: expected a folder"),
        (["{at}/run", "{at}/new", "--dtype", "int4"], "dtype: 'int4'; expected one of float32"),
        (["{at}/run", "{at}/pickled.bin/new"], "{at}/pickled.bin/new: cannot be written"),
        (["{at}/sinusoidal", "{at}/new"], "model.position: "),
        (["{at}/first", "{at}/new.gguf"], "model: a 'openai-gpt' is not written as GGUF"),
        (["{at}/run"], "Missing argument"),
    ],
)
def test_bad_words_are_one_line_and_nothing_is_written(call, places, words, line):
    before = content(places)
    status, lines = call("convert", *(word.format(at=places) for word in words))
    assert (status, len(lines)) == (2, 1) and lines[0].startswith("error: " + line.format(at=places)), lines
    assert content(places) == before and not (places / "new").exists()
