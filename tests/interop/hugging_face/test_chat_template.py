"""Chat templates travel between formats letter for letter, and are never run."""

import json

import pytest

import jaxgpt
from jaxgpt.inference.convert import convert
from jaxgpt.interop.gguf.write import write_gguf
from jaxgpt.interop.hugging_face.export import write_folder
from jaxgpt.interop.recognize import read_source
from jaxgpt.models import Llama
from jaxgpt.spec import ConfigError
from jaxgpt.text.tokenizers.byte import ByteCodec

MODEL = Llama(num_layers=1, d_model=8, num_heads=2, vocab_size=257, context=8)
TEXT = "{% for m in messages %}\r\n<|{{ m.role }}|>é{{ 1 / 0 }}{% endfor %}\n\n"
TEMPLATES = {"default": TEXT, "tool_use": "{{ tools }}"}


@pytest.fixture
def folder(tmp_path, weights):
    write_folder(tmp_path / "model", MODEL, weights(MODEL), ByteCodec())
    return tmp_path / "model"


def settle(folder, templates):
    """Into tokenizer_config.json, as before transformers 5."""
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"chat_template": templates}))


def test_none_is_none(folder):
    assert read_source(folder).chat_templates == {} and not list(folder.rglob("*.jinja"))


@pytest.mark.parametrize("target", ["out", "out.gguf"])
def test_they_travel_from_settings_to_files_and_through_gguf(target, folder, tmp_path):
    settle(folder, [{"name": name, "template": text} for name, text in TEMPLATES.items()])
    convert(folder, tmp_path / target)
    assert jaxgpt.load(tmp_path / target).chat_templates == TEMPLATES
    convert(tmp_path / target, tmp_path / "again")
    assert (tmp_path / "again" / "chat_template.jinja").read_bytes() == TEXT.encode()
    assert (tmp_path / "again" / "additional_chat_templates" / "tool_use.jinja").read_text() == "{{ tools }}"
    assert "chat_template" not in (tmp_path / "again" / "tokenizer_config.json").read_text()


def test_a_file_goes_before_the_settings(folder):
    settle(folder, "old")
    assert read_source(folder).chat_templates == {"default": "old"}
    (folder / "chat_template.jinja").write_text("new")
    assert read_source(folder).chat_templates == {"default": "new"}


def test_names_in_gguf_are_letters_digits_and_underscores(tmp_path, weights):
    write_gguf(tmp_path / "m.gguf", MODEL, weights(MODEL), chat_templates={"a-b.c": TEXT})
    assert read_source(tmp_path / "m.gguf").chat_templates == {"a_b_c": TEXT}


@pytest.mark.parametrize("held", [3, "\ud800", ["a"], [{"name": "../x", "template": ""}], [{"name": "x"}]])
def test_what_is_no_template_is_one_line(held, folder):
    settle(folder, held)
    with pytest.raises(ConfigError, match=r"tokenizer_config\.json: chat_template: ") as caught:
        read_source(folder)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_text_is_one_line(folder):
    (folder / "chat_template.jinja").write_bytes(b"\xff")
    with pytest.raises(ConfigError, match=r"chat_template\.jinja: not UTF-8 at byte 0"):
        read_source(folder)


@pytest.mark.parity
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_transformers_reads_what_is_written_and_writes_what_is_read(folder, tmp_path, weights):
    transformers = pytest.importorskip("transformers", reason="needs transformers: pip install 'jaxgpt[peer]'")
    templates = {"default": TEXT.replace("\r\n", "\n"), "tool_use": "{{ tools }}"}  # theirs turns line ends to \n
    write_folder(tmp_path / "out", MODEL, weights(MODEL), ByteCodec(), chat_templates=templates)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    assert theirs.chat_template == templates
    theirs.save_pretrained(folder)
    assert read_source(folder).chat_templates == templates
