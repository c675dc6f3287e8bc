"""A Hugging Face directory goes out whole or not at all and comes back bit for bit; older vocabularies are read."""

import json
import os

import jax
import numpy as np
import pytest

from jaxgpt.interop.hugging_face import export as hf_export
from jaxgpt.interop.hugging_face.export import write_folder
from jaxgpt.interop.hugging_face.folder import read_source
from jaxgpt.interop.hugging_face.tokenizer import read_codec
from jaxgpt.models import GPT2
from jaxgpt.spec import ConfigError, JaxgptError
from jaxgpt.text import BPE, ByteBPE, WordPiece
from jaxgpt.text.tokenizers.byte import ByteCodec
from jaxgpt.text.tokenizers.char import CharCodec

TEXTS = ["The quick brown fox, 1234!\n", "Ça va; naïve 🙂", "a  b\t\tc"]
MODEL = GPT2(num_layers=3, d_model=8, num_heads=2, vocab_size=300, context=6)


def same(one, two):
    assert jax.tree.structure(one) == jax.tree.structure(two)
    jax.tree.map(np.testing.assert_array_equal, one, two)


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


@pytest.mark.parametrize("shard_bytes", [5_000_000_000, 2000])
def test_weights_come_back_bit_for_bit(shard_bytes, out, weights):
    written = []
    write_folder(out, MODEL, weights(MODEL), ByteCodec(), shard_bytes=shard_bytes, progress=written.append)
    source = read_source(out)
    assert (source.model.kind, source.model.count()) == ("gpt2", MODEL.count()) and written[-1] == 4 * MODEL.count()
    same(source.read("float32", None), weights(MODEL))
    assert len(list(out.glob("*.safetensors"))) == (1 if shard_bytes > 1e9 else len(written)) and len(written) >= 1
    assert (len(written) > 3) == (shard_bytes == 2000)


def test_halved_weights_are_halved_in_the_file(out, weights):
    write_folder(out, MODEL, weights(MODEL), dtype="bfloat16")
    assert json.loads((out / "config.json").read_text())["dtype"] == "bfloat16"
    assert (out / "model.safetensors").stat().st_size < 2.5 * MODEL.count() + 4096
    found = read_source(out).read("bfloat16", None)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a.astype("f4"), b, rtol=2**-8), found, weights(MODEL))
    assert {str(leaf.dtype) for leaf in jax.tree.leaves(found)} == {"bfloat16"}
    assert read_source(out).codec is None


def test_weights_beyond_the_dtype_asked_for_are_not_written(out, weights):
    large = jax.tree.map(lambda leaf: np.where(np.arange(leaf.size).reshape(leaf.shape), leaf, 1e6), weights(MODEL))
    write_folder(out, MODEL, large, dtype="bfloat16")
    with pytest.raises(JaxgptError, match=r"transformer\.wte\.weight: holds numbers beyond float16; use float32"):
        write_folder(out.with_name("half"), MODEL, large, dtype="float16")
    assert not out.with_name("half").exists()


def test_leaves_go_where_they_are_put(out, weights):
    write_folder(out, MODEL, weights(MODEL))
    seen = []
    found = read_source(out).read("float32", lambda path, leaf: seen.append((path, leaf.shape)) or path)
    assert found["embed"]["token"] == "embed/token" and dict(seen)["embed/token"] == (300, 8)
    assert len(seen) == len(jax.tree.leaves(found))


@pytest.mark.parametrize("codec", [ByteCodec(), CharCodec("\nabcdeé")], ids=["byte", "char"])
def test_our_own_tokenizers_come_back(codec, out, weights):
    write_folder(out, MODEL, weights(MODEL), codec)
    found = read_source(out)
    assert found.codec.digest == codec.digest and type(found.codec) is type(codec)
    assert found.codec.eot == codec.eot and found.codec.bos is None
    config = json.loads((out / "config.json").read_text())
    assert config["eos_token_id"] == codec.eot and config["bos_token_id"] is None
    assert config["architectures"] == ["GPT2LMHeadModel"]


def test_settings_of_generation_pass_through(out, weights):
    write_folder(out, MODEL, weights(MODEL), ByteCodec(), {"eos_token_id": [256, 10], "temperature": 0.7})
    assert read_source(out).generation == {"bos_token_id": None, "eos_token_id": [256, 10], "temperature": 0.7}
    assert json.loads((out / "config.json").read_text())["eos_token_id"] == 256


def test_without_a_file_of_its_own_generation_follows_the_configuration(out, weights):
    write_folder(out, MODEL, weights(MODEL), ByteCodec())
    (out / "generation_config.json").unlink()
    assert read_source(out).generation == {"eos_token_id": 256}


def test_nothing_is_written_over_or_half_written(out, weights, monkeypatch):
    out.mkdir()
    write_folder(out, MODEL, weights(MODEL))  # an empty folder is no loss
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    with pytest.raises(JaxgptError, match="is there already and is not written over"):
        write_folder(out, MODEL, weights(MODEL, 1))
    assert before == {path.name: path.read_bytes() for path in out.iterdir()}

    def fail(folder, *rest):
        (folder / "model.safetensors").write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(hf_export, "write_tensors", fail)
    with pytest.raises(KeyboardInterrupt):
        write_folder(out.parent / "new", MODEL, weights(MODEL))
    assert list(out.parent.iterdir()) == [out]


def test_what_no_family_expresses_is_named_and_nothing_is_written(out, weights):
    model = MODEL.evolve(position="sinusoidal", soft_cap=30.0)
    with pytest.raises(ConfigError) as caught:
        write_folder(out, model, weights(model))
    assert any("position" in line for line in caught.value.problems) and not out.exists()


def test_every_tensor_that_does_not_fit_is_named_before_any_is_put(out, weights):
    wrong = MODEL.evolve(context=7, num_layers=2)
    write_folder(out, wrong, weights(wrong))
    config = json.loads((out / "config.json").read_text())
    (out / "config.json").write_text(json.dumps(config | {"n_positions": 6, "n_layer": 3}))
    with pytest.raises(JaxgptError) as caught:
        read_source(out).read("float32", lambda path, leaf: pytest.fail("read"))
    lines = str(caught.value).splitlines()
    assert len(lines) == 13 and sum("missing" in line for line in lines) == 12 and "expected (6, 8)" in lines[-1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "mamba"}, "mamba"),
        ({"n_embd": "wide"}, "wide"),
        ({"n_head": 3}, "n_head 3"),
        ({"activation_function": "mish"}, "mish"),
    ],
)
def test_a_configuration_that_is_not_followed_names_its_file(change, message, out, weights):
    write_folder(out, MODEL, weights(MODEL))
    config = json.loads((out / "config.json").read_text())
    (out / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(ConfigError, match=message) as caught:
        read_source(out)
    assert all(line.startswith(str(out / "config.json")) for line in caught.value.problems)


@pytest.mark.parametrize("name", ["config.json", "generation_config.json", "tokenizer_config.json", "tokenizer.json"])
@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff", b'{"a": NaN}', b""])
def test_unsound_json_is_one_line_that_names_the_file(name, content, out, weights):
    write_folder(out, MODEL, weights(MODEL), ByteBPE(vocab_size=300).train(lambda: TEXTS))
    (out / name).write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        read_source(out)
    assert str(caught.value).startswith(str(out / name)) and "\n" not in str(caught.value)


def test_a_configuration_without_end_is_refused_unread(out, weights):
    write_folder(out, MODEL, weights(MODEL))
    with (out / "config.json").open("r+b") as file:
        file.truncate(10**12)  # takes no room on the disk
    with pytest.raises(ConfigError, match="1,000,000,000,000 bytes; at most 50,000,000 are read"):
        read_source(out)
    (out / "generation_config.json").unlink()
    os.mkfifo(out / "generation_config.json")
    (out / "config.json").write_text(json.dumps({"model_type": "gpt2"}))
    with pytest.raises(ConfigError, match="is a pipe; give a regular file; expected"):
        read_source(out)


def test_weights_that_are_not_there(out, weights):
    write_folder(out, MODEL, weights(MODEL))
    (out / "model.safetensors").unlink()
    with pytest.raises(ConfigError, match=r"no weights; expected model\.safetensors"):
        read_source(out)


def vocabulary(codec, folder, **settings):
    """Writes a learned vocabulary as files of before tokenizer.json."""
    model = json.loads(codec.tokenizer_json())["model"]
    if "merges" in model:
        (folder / "vocab.json").write_text(json.dumps(model["vocab"]))
        (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(map(" ".join, model["merges"])) + "\n")
    else:
        names = sorted(model["vocab"], key=model["vocab"].get)
        (folder / "vocab.txt").write_text("\n".join(names) + "\n")
    if settings:
        (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


@pytest.mark.parametrize("kind", [BPE, ByteBPE, WordPiece])
def test_older_vocabulary_files_give_the_same_ids(kind, tmp_path):
    codec = kind(vocab_size=320).train(lambda: TEXTS)
    found = read_codec(vocabulary(codec, tmp_path), {})
    assert found.encode_batch(TEXTS) == codec.encode_batch(TEXTS)
    cased = read_codec(vocabulary(codec, tmp_path, do_lower_case=False), {}) if kind is WordPiece else found
    assert (cased.encode("The") == codec.encode("The")) == (kind is not WordPiece)


def test_settings_that_old_files_do_not_carry_out_are_refused(tmp_path):
    folder = vocabulary(WordPiece(vocab_size=320).train(lambda: TEXTS), tmp_path, strip_accents=False)
    with pytest.raises(ConfigError, match="strip_accents: False is not followed without a tokenizer"):
        read_codec(folder, {})


def test_a_sentencepiece_model_alone_is_refused_with_the_way_around(tmp_path):
    (tmp_path / "tokenizer.model").write_bytes(b"\n\x0e")
    with pytest.raises(ConfigError, match="save_pretrained") as caught:
        read_codec(tmp_path, {})
    assert "\n" not in str(caught.value)


@pytest.fixture
def spoken(tmp_path):
    """`spoken(template, settings, map, config)`: the codec of a tokenizer.json with `<s>`, `</s>`."""
    import tokenizers as hf

    def make(template=None, settings=None, mapping=None, config=()):
        text = ByteBPE(vocab_size=300, end_of_text=None).train(lambda: ["abc " * 50]).tokenizer_json()
        tokenizer = hf.Tokenizer.from_str(text)
        size = tokenizer.get_vocab_size()
        tokenizer.add_tokens(["<s>", "</s>"])
        if template:
            ids = [("<s>", size), ("</s>", size + 1)]
            tokenizer.post_processor = hf.processors.TemplateProcessing(single=template, special_tokens=ids)
        tokenizer.save(str(tmp_path / "tokenizer.json"))
        for name, content in (("tokenizer_config", settings), ("special_tokens_map", mapping)):
            if content is not None:
                (tmp_path / f"{name}.json").write_text(json.dumps(content))
        codec = read_codec(tmp_path, {key: value + size for key, value in dict(config).items()})
        return [None if token is None else token - size for token in (codec.bos, codec.eot)]

    return make


NAMED = {"bos_token": "<s>", "eos_token": "</s>"}


def test_special_tokens_are_found_where_any_file_names_them(spoken):
    assert spoken() == [None, None]
    assert spoken(config={"eos_token_id": 1, "bos_token_id": 0}) == [None, 1]
    assert spoken(mapping={"eos_token": {"content": "</s>", "lstrip": False}}) == [None, 1]
    assert spoken(settings={"eos_token": "</s>"}) == [None, 1]
    assert spoken(settings={"eos_token": {"content": "<s>"}}) == [None, 0]  # goes before the map
    assert spoken(settings={"eos_token": "<nowhere>"}) == [None, None]


def test_a_start_counts_only_where_texts_begin_with_it(spoken):
    assert spoken("$A", NAMED) == [None, 1]
    assert spoken("<s> $A", NAMED) == [0, 1]
    assert spoken("<s> $A </s>", NAMED) == [None, 1]  # an encoder's frame
    assert spoken("$A", NAMED | {"add_bos_token": True}) == [0, 1]
    assert spoken("<s> $A", NAMED | {"add_bos_token": False}) == [None, 1]
