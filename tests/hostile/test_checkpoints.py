"""Checkpoints of other libraries whose heads claim anything: lengths, counts, shapes, offsets, settings of any type.

`test_formats.py` damages the same files anywhere and puts other things in their place.
"""

import json
import random
import shutil
import struct

import jax
import numpy as np
import pytest
from bounds import outcome
from mutations import mutated_tree

from jaxgpt.interop.gguf import read as gguf
from jaxgpt.interop.gguf.header import read_header
from jaxgpt.interop.gguf.write import write_gguf
from jaxgpt.interop.hugging_face.export import write_folder
from jaxgpt.interop.recognize import read_source
from jaxgpt.models import BERT, GPT2, Llama
from jaxgpt.ops.pooling import Recipe
from jaxgpt.spec import JaxgptError
from jaxgpt.text import ByteBPE, WordPiece

SIZE = {"num_layers": 1, "d_model": 8, "num_heads": 2, "context": 8}
TEXTS = ["the cat sat on the mat\n"] * 4
EXTREMES = [*(0, 1, 2, 7, 255, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1)]
EXTREMES += [10**9, 10**12]
SETTINGS = [0, -1, 1, 3, 2**31, 2**64 - 1, 0.0, -1.0, float("nan"), float("inf"), 1e30, True, False, "", "x" * 5000]
SETTINGS += ["text", [], ["a"], ["a", "b"] * 50, np.array([], "f4"), np.array([1.5, np.nan], "f4"), np.array([1, 2])]
SETTINGS += [np.array([2**63], "u8"), np.array([True, False]), np.zeros(300, "f4"), np.full(300, 7, "i4")]
GGUF_KEYS = ["general.alignment", "split.count", "tokenizer.chat_template", "tokenizer.chat_template.x"]
GGUF_KEYS += [f"tokenizer.ggml.{key}" for key in ("model", "pre", "scores", "add_bos_token", "add_space_prefix")]
GGUF_KEYS += [f"tokenizer.ggml.{key}_token_id" for key in ("bos", "eos", "pad")]
GGUF_KEYS += [f"{{}}.{key}" for key in ("rope.dimension_count", "rope.scaling.type", "rope.scaling.factor")]
GGUF_KEYS += [f"{{}}.{key}" for key in ("attention.sliding_window", "expert_count", "attention.value_length")]
FILES = {
    "llama.gguf": 3000,
    "gpt2.gguf": 20_000,
    "stories.bin": 40,
    "folder/model.safetensors": 3000,
    "sentences/2_Dense/model.safetensors": 500,
}
"""Where they lie below `sound`, and the bytes of their head, where most mutations fall."""


@pytest.fixture(scope="module")
def sound(weights, tmp_path_factory):
    """A folder with a small checkpoint in every format."""
    from jaxgpt.interop.sentence_transformers.read import Dense

    root = tmp_path_factory.mktemp("sound")
    codec, pieces = ByteBPE(vocab_size=300).train(lambda: TEXTS), WordPiece(vocab_size=40).train(lambda: TEXTS)
    gpt, llama = GPT2(**SIZE, vocab_size=300), Llama(**SIZE, num_kv_heads=2, vocab_size=300)
    bert = BERT(**SIZE, vocab_size=pieces.vocab_size, masked_head=False)
    write_gguf(root / "llama.gguf", llama, weights(llama), codec, chat_templates={"default": "{{ x }}"})
    write_gguf(root / "gpt2.gguf", gpt, weights(gpt), codec)
    ends = {"eos_token_id": [1, 2]}
    write_folder(root / "folder", gpt, weights(gpt), codec, ends, chat_templates={"default": "{{ x }}"})
    write_folder(root / "shards", gpt, weights(gpt), shard_bytes=1500)
    dense = Dense(np.eye(8, dtype="f4"), np.zeros(8, "f4"), "Tanh")
    write_folder(root / "sentences", bert, weights(bert), pieces, recipe=Recipe(("mean",), (dense,)))
    params = weights(llama)
    layers, turned = params["blocks"]["layers"], lambda part, name: part[name]["weight"].swapaxes(1, 2)
    inner = layers["feed_forward"]["up"]["weight"].shape[2]
    order = [params["embed"]["token"], layers["norm_attention"]["scale"]]
    order += [turned(layers["attention"], name) for name in "qkvo"] + [layers["norm_feed_forward"]["scale"]]
    order += [turned(layers["feed_forward"], name) for name in ("gate", "down", "up")]
    order += [params["norm_final"]["scale"], np.zeros((2, 8, 2), "f4")]
    head = struct.pack("<7i", 8, inner, 1, 2, 2, 300, 8)
    (root / "stories.bin").write_bytes(head + b"".join(np.ascontiguousarray(part).tobytes() for part in order))
    return root


def attempt(path, note):
    """Reads all of a checkpoint: right, or short lines; soon, and in little memory."""
    fault = outcome(lambda: jax.tree.map(np.asarray, read_source(path).read("float32", None)))
    assert fault is None, f"{note}: {fault}"


def mutated(raw, rng, head):
    """A few bytes changed, lost, inserted or copied, most of them in the head."""
    out = bytearray(raw)
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        size = max(1, min(head, len(out)) if head and rng.random() < 0.8 else len(out))
        at, other = rng.randrange(size), rng.randrange(size)
        match rng.randrange(7):
            case 0:
                out[at : at + 1] = bytes([rng.randrange(256)])
            case 1:
                out[at : at + 4] = struct.pack("<I", rng.choice(EXTREMES) % 2**32)
            case 2:
                out[at : at + 8] = struct.pack("<Q", rng.choice(EXTREMES))
            case 3:
                del out[at : at + rng.choice([1, 4, 8, 64])]
            case 4:
                out[at:at] = rng.randbytes(rng.choice([1, 4, 8]))
            case 5:
                del out[at:]
            case 6:
                out[at : at + 8] = out[other : other + 8]
    return bytes(out)


def damaged(raw, name, rng):
    if name.endswith(".safetensors") and rng.random() < 0.6:
        size = int.from_bytes(raw[:8], "little")
        head = json.dumps(mutated_tree(json.loads(raw[8 : 8 + size]), rng)).encode()
        return len(head).to_bytes(8, "little") + head + raw[8 + size :]
    return mutated(raw, rng, FILES[name])


def check_mutations(sound, name, seeds, tmp_path):
    folder = name.partition("/")[0] if "/" in name else ""
    if folder:
        shutil.copytree(sound / folder, tmp_path / folder)
    raw = (sound / name).read_bytes()
    for seed in seeds:
        (tmp_path / name).write_bytes(damaged(raw, name, random.Random(f"{name} {seed}")))
        attempt(tmp_path / (folder or name), f"{name}, seed {seed}")


@pytest.mark.parametrize("name", FILES)
def test_damaged_files(sound, name, tmp_path):
    attempt(sound / (name.partition("/")[0]), "as it is")
    check_mutations(sound, name, range(12), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_many_damaged_files(sound, name, tmp_path):
    check_mutations(sound, name, range(12, 300), tmp_path)


def check_settings(sound, monkeypatch, name, seeds):
    header = read_header(sound / name)
    keys = [*header.fields, *(key.format(header.fields["general.architecture"]) for key in GGUF_KEYS)]
    for seed in seeds:
        rng = random.Random(f"{name} {seed}")
        changed = {key: rng.choice(SETTINGS) for key in rng.sample(keys, rng.choice([1, 1, 3]))}
        other = header._replace(fields=header.fields | changed)
        monkeypatch.setattr(gguf, "read_header", lambda path, other=other: other)
        attempt(sound / name, f"{name}: {changed}")


@pytest.mark.parametrize("name", ["llama.gguf", "gpt2.gguf"])
def test_settings_of_any_type_in_gguf(sound, name, monkeypatch):
    check_settings(sound, monkeypatch, name, range(40))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["llama.gguf", "gpt2.gguf"])
def test_more_settings_of_any_type_in_gguf(sound, name, monkeypatch):
    check_settings(sound, monkeypatch, name, range(40, 500))


def test_gguf_lines_speak_of_its_own_keys(sound, monkeypatch):
    header = read_header(sound / "llama.gguf")
    changed = header.fields | {"llama.attention.head_count": 3}
    monkeypatch.setattr(gguf, "read_header", lambda path: header._replace(fields=changed))
    with pytest.raises(JaxgptError, match=r"llama.attention.head_count: 3 is not a multiple of llama.attention.head_c"):
        read_source(sound / "llama.gguf")


def test_numbers_of_several_types_in_a_file_are_read(sound, tmp_path):
    """float64, float16 and bfloat16 side by side; integers are refused, and so is a tensor without entries."""
    import ml_dtypes
    from safetensors.numpy import load_file, save_file

    shutil.copytree(sound / "folder", tmp_path / "mixed")
    path = tmp_path / "mixed" / "model.safetensors"
    arrays = load_file(path)
    names = sorted(arrays)
    for name, dtype in zip(names, ["f8", "f2", ml_dtypes.bfloat16] * 9, strict=False):
        arrays[name] = arrays[name].astype(dtype)
    save_file(arrays, path)
    read_source(tmp_path / "mixed").read("float32", None)
    for array in (arrays[names[0]].astype("i4"), arrays[names[0]][:0]):
        save_file(arrays | {names[0]: array}, path)
        with pytest.raises(JaxgptError, match=names[0].removeprefix("transformer.")):
            read_source(tmp_path / "mixed").read("float32", None)


@pytest.mark.parametrize(
    "claims",
    [
        {"model_type": "gpt2", "n_layer": 10_000},
        {"model_type": "gpt2", "n_layer": 10_000, "n_embd": 2**20, "vocab_size": 2**24, "n_positions": 2**24},
        {"model_type": "gpt_neo", "num_layers": 10_000, "attention_types": [[["global"], 9999], [["local"], 1]]},
        {"model_type": "llama", "num_hidden_layers": 10_000, "head_dim": 2**20, "vocab_size": 2**24},
        {"model_type": "bert", "num_hidden_layers": 10_000, "vocab_size": 2**24},
    ],
    ids=str,
)
def test_sizes_that_the_file_does_not_have_are_refused_at_once(sound, claims, tmp_path):
    """Even where no two layers in a row are alike."""
    shutil.copytree(sound / "folder", tmp_path / "claims")
    (tmp_path / "claims" / "config.json").write_text(json.dumps(claims))
    attempt(tmp_path / "claims", claims)
    with pytest.raises(JaxgptError):
        read_source(tmp_path / "claims").read("float32", None)


def test_a_header_of_more_than_any_file_has_is_refused_unread(tmp_path):
    """Counts and lengths that would fit only a much larger file, and those that no file needs."""
    path = tmp_path / "m.gguf"
    for tensors, keys, rest in (
        (2**63, 0, b""),
        (0, 2**40, b""),
        (0, 1, struct.pack("<Q", 2**60)),
        (0, 1, struct.pack("<Q1sIIQ", 1, b"k", 9, 8, 2**61) + b"\0" * 64),
        (0, 1, struct.pack("<Q1sIIQ", 1, b"k", 9, 9, 2**20) + b"\0" * 64),
        (0, 1, struct.pack("<Q1sIIQ", 1, b"k", 9, 4, 2**62) + b"\0" * 64),
    ):
        path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, tensors, keys) + rest)
        attempt(path, (tensors, keys, rest))
        with pytest.raises(JaxgptError, match=r"get it again|is not read"):
            read_source(path)
