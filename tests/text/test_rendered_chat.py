"""Chat templates: what they write, what a stranger's may not do, and one line for what cannot be."""

import sys

import pytest

from jaxgpt.spec import ConfigError
from jaxgpt.text.chat_template import render

MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


@pytest.fixture(autouse=True)
def jinja():
    pytest.importorskip("jinja2")


def test_a_conversation_as_one_text():
    assert render(CHATML, MESSAGES[1:]) == "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    assert render(CHATML, MESSAGES, False).endswith("Hi<|im_end|>\n")
    assert render("{{ bos_token }}{{ messages[0].content }}", MESSAGES, special={"bos_token": "<s>"}) == "<s>Be brief."


@pytest.mark.parametrize(
    "template",
    [
        "{{ messages.__class__.__mro__ }}",
        "{{ ''.__class__.__base__.__subclasses__() }}",
        "{% set _ = messages.append(1) %}",
        "{{ raise_exception('roles must alternate') }}",
        "{% for %}",
        "{{ messages[7].content }}",
        "{{ 1 / 0 }}",
    ],
)
def test_what_a_template_may_not_do_is_one_line(template):
    with pytest.raises(ConfigError, match=r"^chat template: .*use another, or none$") as error:
        render(template, MESSAGES)
    assert len(error.value.problems) == 1


@pytest.mark.parametrize("messages", ["Hi", [], [{"role": "user"}], [{"role": "king", "content": "a"}], ["Hi"], None])
def test_what_is_no_message(messages):
    with pytest.raises(ConfigError, match=r"^messages: "):
        render(CHATML, messages)


def test_without_jinja(monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(ConfigError, match=r"needs jinja2, which is not there; pip install 'jaxgpt\[chat\]'"):
        render(CHATML, MESSAGES)
