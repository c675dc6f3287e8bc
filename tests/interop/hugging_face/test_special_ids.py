"""Ends of text and other special ids that are out of range are refused, and the field is named."""

import json

import pytest

from jaxgpt.interop.gguf import read as gguf
from jaxgpt.interop.gguf.write import write_gguf
from jaxgpt.interop.hugging_face import folder as hf_folder
from jaxgpt.interop.hugging_face.export import write_folder
from jaxgpt.models import GPT2
from jaxgpt.spec import ConfigError

MODEL = GPT2(num_layers=1, d_model=8, num_heads=2, vocab_size=50, context=6)


@pytest.fixture
def folder(weights, tmp_path):
    write_folder(tmp_path / "hf", MODEL, weights(MODEL))
    return tmp_path / "hf"


@pytest.mark.parametrize("value", [50, -1, [3, 50], [[3]], [None], "3", 3.0, True, {"id": 3}, 10**30], ids=str)
@pytest.mark.parametrize("key", ["bos_token_id", "eos_token_id", "pad_token_id"])
@pytest.mark.parametrize("name", ["config.json", "generation_config.json"])
def test_an_id_out_of_range_is_refused(folder, name, key, value):
    tree = json.loads((folder / name).read_text())
    (folder / name).write_text(json.dumps(tree | {key: value}))
    if (key, value) == ("pad_token_id", -1):  # what older files say for none
        hf_folder.read_source(folder)
        return
    with pytest.raises(ConfigError, match=rf"{name}: {key}: .*, expected an id below vocab_size 50") as caught:
        hf_folder.read_source(folder)
    assert len(caught.value.problems) == 1 and "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [0, 49, [3, 49], [], None], ids=str)
def test_ids_within_the_vocabulary_are_followed(folder, value):
    path = folder / "generation_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"eos_token_id": value, "temperature": "any"}))
    generation = hf_folder.read_source(folder).generation
    assert generation.get("eos_token_id") == value and generation["temperature"] == "any"


def test_gguf(weights, tmp_path):
    for token in (49, 50, 2**32 - 1):
        path = tmp_path / f"{token}.gguf"
        write_gguf(path, MODEL, weights(MODEL), None, {"eos_token_id": token})
        if token < 50:
            assert gguf.read_source(path).generation == {"eos_token_id": token}
        else:
            with pytest.raises(ConfigError, match=r"tokenizer.ggml.eos_token_id: .*, expected an id below"):
                gguf.read_source(path)
