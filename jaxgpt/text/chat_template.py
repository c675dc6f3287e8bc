"""A conversation as one text, by the template that came with a checkpoint: its own Jinja, run in a sandbox.

Needs jinja2. A template may be a stranger's: it reaches nothing but the messages, and may not run for ever.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from jaxgpt.spec import ConfigError
from jaxgpt.spec.errors import quote

ROLES = ("system", "user", "assistant", "tool")
LONGEST = 1 << 20
"""Characters of a template."""


def render(
    template: str,
    messages: Sequence[Mapping[str, Any]],
    add_generation_prompt: bool = True,
    special: Mapping[str, str] | None = None,
) -> str:
    """The text of messages such as {"role": "user", "content": "Hello"}, and behind it what an answer begins with.
    `special`: `bos_token` and `eos_token`, which templates name. As transformers' `apply_chat_template`.

    Raises ConfigError where jinja2 is missing, for a message of another form, and for what the template refuses.
    """
    check_messages(messages)
    try:
        from jinja2 import TemplateError
        from jinja2.sandbox import ImmutableSandboxedEnvironment
    except ImportError:
        raise ConfigError("chat template: needs jinja2, which is not there; pip install 'jaxgpt[chat]'") from None
    if len(template) > LONGEST:
        raise ConfigError(f"chat template: {len(template):,} characters; at most {LONGEST:,}")

    def refuse(message: Any) -> None:
        raise TemplateError(str(message))

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.globals["raise_exception"] = refuse
    try:
        text = environment.from_string(template).render(
            messages=[dict(message) for message in messages],
            add_generation_prompt=add_generation_prompt,
            **{"bos_token": "", "eos_token": "", **(special or {})},
        )
    except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError, RecursionError) as error:
        raise ConfigError(f"chat template: {quote(str(error), 200)[1:-1]}; use another, or none") from None
    return str(text)


def check_messages(messages: Any) -> None:
    """Raises ConfigError naming the first that is no message."""
    if isinstance(messages, str | Mapping) or not isinstance(messages, Sequence) or not messages:
        raise ConfigError(f"messages: {quote(messages)}; expected a list such as [{{'role': 'user', 'content': 'Hi'}}]")
    for place, message in enumerate(messages):
        fine = isinstance(message, Mapping) and isinstance(message.get("content"), str)
        if not fine or message.get("role") not in ROLES:
            raise ConfigError(
                f"messages: {place} is {quote(message)}; expected a role ({', '.join(ROLES)}) and a content"
            )
