"""What is exported is what `transformers` loads: the right classes, the same ids, the same text."""

import json

import numpy as np
import pytest
from close import assert_close

import jaxgpt
from jaxgpt.interop.hugging_face.export import write_folder
from jaxgpt.models import GPT1, GPT2
from jaxgpt.text import BPE, ByteBPE
from jaxgpt.text.tokenizers.byte import ByteCodec
from jaxgpt.text.tokenizers.char import CharCodec

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore::DeprecationWarning")]
torch = pytest.importorskip("torch", reason="needs torch: pip install 'jaxgpt[peer]'")
transformers = pytest.importorskip("transformers", reason="needs transformers: pip install 'jaxgpt[peer]'")

TEXT = "To be, or not to be: that is the question.\nWhether 'tis nobler, in the mind to suffer\n\n" * 40
LINES = ["To be, or not", "  to\nbe . that is , n't", "question.\n\nWhether 'tis", "the the the"]
SIZE = {"num_layers": 2, "d_model": 16, "num_heads": 2, "context": 32}


def peers(folder):
    """Their model in float32 and their tokenizer, by the auto classes."""
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype="float32").eval()
    return model, transformers.AutoTokenizer.from_pretrained(folder)


def continued(folder, prompt, count, plain=True):
    """Their greedy text."""
    model, tokenizer = peers(folder)
    ids = tokenizer(prompt, return_tensors="pt", add_special_tokens=not plain).input_ids
    with torch.no_grad():
        new = model.generate(ids, max_new_tokens=count, do_sample=False, pad_token_id=0)
    return tokenizer.decode(new[0, ids.shape[1] :], skip_special_tokens=True)


CODECS = {
    "byte": ByteCodec,
    "char": lambda: CharCodec("".join(sorted(set(TEXT + "".join(LINES))))),
    "byte_bpe": lambda: ByteBPE(vocab_size=300).train(lambda: [TEXT]),
    "bpe": lambda: BPE(vocab_size=200).train(lambda: [TEXT]),
}


@pytest.mark.parametrize("shard_bytes", [5_000_000_000, 4000])
@pytest.mark.parametrize("name", CODECS)
def test_classes_ids_and_logits(name, shard_bytes, tmp_path, weights):
    codec = CODECS[name]()
    kind, want = (GPT1, "OpenAIGPTLMHeadModel") if name == "bpe" else (GPT2, "GPT2LMHeadModel")
    model = kind(**SIZE, vocab_size=codec.vocab_size)
    write_folder(tmp_path / "hf", model, weights(model), codec, shard_bytes=shard_bytes)
    assert (len(list((tmp_path / "hf").glob("*.safetensors"))) > 1) == (shard_bytes == 4000)
    theirs, tokenizer = peers(tmp_path / "hf")
    assert type(theirs).__name__ == want and theirs.config.eos_token_id == codec.eot == tokenizer.eos_token_id
    assert tokenizer(LINES)["input_ids"] == codec.encode_batch(LINES)
    for ids in codec.encode_batch(LINES):
        assert tokenizer.decode(ids) == codec.decode(ids)
    ids = np.array([codec.encode(TEXT)[:24]])
    with torch.no_grad():
        logits = theirs(torch.from_numpy(ids)).logits.numpy()
    assert_close(jaxgpt.load(tmp_path / "hf").logits(ids), logits)


@pytest.mark.parametrize("kind", [GPT2, GPT1])
def test_a_model_without_biases_is_theirs_with_zeros(kind, tmp_path, weights):
    model = kind(**SIZE, vocab_size=257, bias=False, norm={"kind": "layer", "bias": False})
    params = weights(model)
    write_folder(tmp_path / "hf", model, params)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "hf", dtype="float32").eval()
    ids = np.random.default_rng(0).integers(0, 257, (2, 24))
    with torch.no_grad():
        logits = theirs(torch.from_numpy(ids)).logits.numpy()
    assert_close(model.build().apply({"params": params}, ids), logits)


def test_what_they_save_again_loads_here(tmp_path, weights):
    codec = ByteBPE(vocab_size=300).train(lambda: [TEXT])
    model = GPT2(**SIZE, vocab_size=300)
    write_folder(tmp_path / "ours", model, weights(model), codec)
    theirs, tokenizer = peers(tmp_path / "ours")
    theirs.save_pretrained(tmp_path / "theirs")
    tokenizer.save_pretrained(tmp_path / "theirs")
    one, two = jaxgpt.load(tmp_path / "ours"), jaxgpt.load(tmp_path / "theirs")
    ids = [one.tokenizer.encode(TEXT)[:32]]
    np.testing.assert_array_equal(one.logits(ids), two.logits(ids))
    assert one.tokenizer.encode_batch(LINES) == two.tokenizer.encode_batch(LINES)
    assert (one.tokenizer.eot, one.tokenizer.bos) == (two.tokenizer.eot, two.tokenizer.bos)


@pytest.fixture(scope="module")
def corpus(data_folder, tmp_path_factory):
    """Tiny Shakespeare where there is the data, else lines like its."""
    real = data_folder / "tinyshakespeare" / "input.txt"
    if real.is_file():
        return real
    path = tmp_path_factory.mktemp("corpus") / "lines.txt"
    path.write_text(TEXT * 4)
    return path


@pytest.mark.parametrize("tokenizer", ["char", "byte", {"kind": "byte_bpe", "vocab_size": 400}], ids=str)
def test_a_trained_run_writes_the_same_text_there(tokenizer, corpus, tiny, tmp_path):
    run = tiny(
        **{
            "model": SIZE | {"kind": "gpt2", "d_model": 32, "context": 256},
            "tokenizer": tokenizer,
            "data.corpus": str(corpus),
            "data.seq_len": 64,
            "data.val_tokens": 512,
            "steps": 60,
        }
    )
    jaxgpt.run(run, tmp_path / "run")
    from jaxgpt.inference.convert import convert

    convert(tmp_path / "run", tmp_path / "hf")
    prompts = ["Whether", "To be"]
    texts = jaxgpt.load(tmp_path / "run").generate(prompts, max_new=100)
    assert texts == [continued(tmp_path / "hf", prompt, 100) for prompt in prompts]
    assert all(len(text) > 50 for text in texts)


def test_a_start_is_put_before_their_texts_too(tmp_path, weights):
    import tokenizers as hf

    from jaxgpt.text.tokenizers.huggingface import HuggingFaceCodec

    plain = hf.Tokenizer.from_str(ByteBPE(vocab_size=300).train(lambda: [TEXT]).tokenizer_json())
    plain.add_special_tokens(["<s>"])
    codec = HuggingFaceCodec(plain, begin="<s>")
    model = GPT2(**SIZE, vocab_size=codec.vocab_size)
    write_folder(tmp_path / "hf", model, weights(model), codec)
    tokenizer = peers(tmp_path / "hf")[1]
    assert tokenizer("To be")["input_ids"] == [codec.bos, *codec.encode("To be")]
    held = jaxgpt.load(tmp_path / "hf")
    assert held.tokenizer.bos == codec.bos
    assert held.generate(["To be"], max_new=12) == [continued(tmp_path / "hf", "To be", 12, plain=False)]
    assert json.loads((tmp_path / "hf" / "tokenizer_config.json").read_text())["bos_token"] == "<s>"
