"""A dialogue with a model: its history as ids, the oldest turns dropped where the context is short."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, Protocol, cast, get_args

import numpy as np

from jaxgpt.decode import Sampling
from jaxgpt.decode.session import Session
from jaxgpt.evals.pairs import Pair, Scored
from jaxgpt.spec import ConfigError
from jaxgpt.spec.arguments import choice, instance, whole
from jaxgpt.spec.errors import quote
from jaxgpt.text import Codec
from jaxgpt.text.chat_template import check_messages, render

Form = Literal["template", "dialogpt", "chitchat", "plain"]
"""How turns become one row. `template`: the checkpoint's own (jinja2). `dialogpt`: each turn ends with end-of-text
(Zhang et al. 2020, DialoGPT, section 3.1). `chitchat`: `[CLS]`, then each turn and `[SEP]` (GPT2-chitchat). `plain`:
lines that begin with the speaker, for models that were never taught to talk."""
MOST_NEW = 100_000
DRAWN = Sampling(temperature=0.7, top_p=0.9)
SPEAKERS = {"system": "", "user": "User: ", "assistant": "Assistant: ", "tool": "Tool: "}
Messages = Sequence[Mapping[str, str]]


class Talking(Protocol):
    """What `jaxgpt.load` gives of a decoder."""

    @property
    def continuing(self) -> Any:
        """The model, which continues texts."""

    @property
    def tokenizer(self) -> Codec:
        """Its vocabulary."""

    @property
    def chat_templates(self) -> Mapping[str, str]:
        """Templates by name."""

    @property
    def reader(self) -> tuple[Callable[[str], list[int]], tuple[str, ...]]:
        """What encodes text in which special tokens are spelled, and how they are."""

    @property
    def ends(self) -> tuple[int, ...]:
        """Ids that end a text."""

    def rows(self, prompts: str | Sequence[str]) -> list[list[int]]:
        """Ids of prompts."""

    def session(self, sampling: Sampling, ends: Sequence[int]) -> Session:
        """A row that is written on and on."""

    def write(
        self, rows: Sequence[list[int]], max_new: int, sampling: Sampling, seed: int = 0, stops: Sequence[str] = ()
    ) -> list[str]:
        """Continuations."""

    def score_pairs(self, pairs: Sequence[Pair], batch_size: int = 32, quiet: bool = False) -> list[Scored]:
        """How likely continuations are."""


class Chat:
    """A conversation that goes on: `for piece in chat.say("Hello"): print(piece, end="")`.

    The system turn stays; where history and answer exceed the context, the oldest turns are dropped, whole. What turns
    share with those before is not read again. With `mmi`, a model trained on turns in reverse, each answer is the one
    of `candidates` drawn after which the turn before is likeliest (Zhang et al. 2020, section 3.2), and comes whole.
    """

    def __init__(
        self,
        loaded: Talking,
        system: str | None = None,
        form: str | None = None,
        max_new: int = 256,
        sampling: Sampling = DRAWN,
        seed: int = 0,
        mmi: Talking | None = None,
        candidates: int = 8,
    ):
        """Raises ConfigError for an argument that cannot be."""
        self._loaded, self._mmi, self._sampling = loaded, mmi, sampling
        self._max_new = whole("max_new", max_new, 1, MOST_NEW)
        self._candidates, self._seed = whole("candidates", candidates, 1, 1000), whole("seed", seed, 0, 2**32 - 1)
        self.form: Form = form_for(loaded, form)
        room = loaded.continuing.room
        if self._max_new >= room:
            raise ConfigError(f"max_new: {max_new} leaves no room for a history in {room} tokens; lower it")
        self._ends = _ends(loaded, self.form)
        self._session = loaded.session(sampling, self._ends)
        self.messages: list[dict[str, str]] = [] if system is None else [{"role": "system", "content": system}]
        self.dropped = 0
        """Messages that the last answer was given without."""

    def say(self, text: str) -> Iterator[str]:
        """The answer to a turn, piece by piece; both join the history once it is whole. Raises ConfigError for a turn
        that does not fit."""
        instance("text", text, "a string", str)
        messages = [*self.messages, {"role": "user", "content": text}]
        row, self.dropped = fitted(self._loaded, messages, self.form, self._loaded.continuing.room - self._max_new)
        answer = ""
        for piece in self._answer(row, messages):
            answer += piece
            yield piece
        self.messages = [*messages, {"role": "assistant", "content": answer.strip()}]
        self._seed = (self._seed + 1) % 2**32

    def _answer(self, row: list[int], messages: Messages) -> Iterator[str]:
        codec, new, shown = self._loaded.tokenizer, list[int](), ""
        if self._mmi is not None:
            yield self._likeliest_source(row, messages)
            return
        for ids in self._session.write(row, self._max_new, self._seed):
            new += ids
            text = codec.continuation(row, new).rstrip("\ufffd")
            stop = text.find("\nUser:") if self.form == "plain" else -1
            text = text if stop < 0 else text[:stop]
            if text.startswith(shown):
                yield text[len(shown) :]
                shown = text
            if stop >= 0:
                return

    def _likeliest_source(self, row: list[int], messages: Messages) -> str:
        """The answer, of those drawn, that the reverse model finds the last turn likeliest after."""
        assert self._mmi is not None
        rows = [row] * self._candidates
        stops = ("\nUser:",) if self.form == "plain" else ()
        texts = self._loaded.write(rows, self._max_new, self._sampling, self._seed, stops)
        distinct = [text for text in dict.fromkeys(texts) if text.strip()] or [""]
        reverse, limit = self._mmi, self._mmi.continuing.room
        source = turn_ids(reverse.tokenizer, str(messages[-1]["content"]), self.form)[: limit // 2]
        pairs = [
            Pair([*_first(reverse.tokenizer, self.form), *turn_ids(reverse.tokenizer, text, self.form)], source)
            for text in distinct
        ]
        scored = reverse.score_pairs([pair for pair in pairs if pair.context], quiet=True)
        return distinct[int(np.argmax([each.log_prob for each in scored]))] if scored else distinct[0]


def chat(loaded: Talking, messages: Messages, max_new: int = 256, form: str | None = None, **sampling: Any) -> str:
    """The answer to a conversation, which ends with a user's turn; see `Chat`."""
    check_messages(messages)
    if messages[-1]["role"] != "user":
        raise ConfigError(f"messages: the last is of role {quote(messages[-1]['role'])}; expected a user's turn")
    seed = sampling.pop("seed", 0)
    talk = Chat(loaded, None, form, max_new, Sampling.checked(**sampling), seed)
    talk.messages = [dict(message) for message in messages[:-1]]
    return "".join(talk.say(messages[-1]["content"])).strip()


def form_for(loaded: Talking, form: str | None) -> Form:
    """The form that is asked for, or else the checkpoint's template, where it has one, or `plain`. Raises ConfigError
    for one that the checkpoint cannot have."""
    if form is not None:
        choice("form", form, get_args(Form))
    codec, name = loaded.tokenizer, form or ("template" if "default" in loaded.chat_templates else "plain")
    if name == "template" and "default" not in loaded.chat_templates:
        raise ConfigError("form: the checkpoint has no chat template; use dialogpt, chitchat or plain")
    if name == "dialogpt" and codec.eot is None:
        raise ConfigError("form: dialogpt needs a vocabulary with an end-of-text token; use plain")
    if name == "chitchat" and _separators(codec) is None:
        raise ConfigError("form: chitchat needs a vocabulary with [CLS] and [SEP]; use another")
    return cast(Form, name)


def conversation_ids(loaded: Talking, messages: Messages, form: Form) -> list[int]:
    """A conversation up to where its answer begins."""
    codec = loaded.tokenizer
    if form == "template":
        names = {"bos_token": codec.bos, "eos_token": codec.eot}
        special = {name: codec.decode([token]) for name, token in names.items() if token is not None}
        encode, spelled = loaded.reader
        for message in messages:
            if message["role"] == "assistant":  # what the model wrote is its own
                continue
            if token := next((token for token in spelled if token in message["content"]), None):
                raise ConfigError(
                    f"message: holds {quote(token)}, a special token, which would end the turn; spell it otherwise"
                )
        ids = encode(render(loaded.chat_templates["default"], messages, True, special))
        begin = [] if codec.bos is None or ids[:1] == [codec.bos] else [codec.bos]
        return [*begin, *ids]
    if form == "plain":
        lines = [SPEAKERS[message["role"]] + message["content"].strip() for message in messages]
        (row,) = loaded.rows(["\n".join([*lines, SPEAKERS["assistant"].rstrip()])])
        return row
    turns = [turn_ids(codec, message["content"], form) for message in messages]
    return [*_first(codec, form), *(token for turn in turns for token in turn)]


def turn_ids(codec: Codec, text: str, form: Form) -> list[int]:
    """A turn, and what ends it."""
    separators = _separators(codec)
    if form == "chitchat" and separators is not None:
        return [*codec.encode(text), separators[1]]
    return [*codec.encode(text), *([] if codec.eot is None else [codec.eot])]


def fitted(loaded: Talking, messages: Messages, form: Form, room: int) -> tuple[list[int], int]:
    """The ids of as much of a conversation as fits into `room` tokens, and how many messages were dropped: the oldest
    turns, a user's with its answers, never the system's. Raises ConfigError where the last turn alone does not fit."""
    system = [message for message in messages[:1] if message["role"] == "system"]
    turns = list(messages[len(system) :])
    dropped = 0
    while True:
        row = conversation_ids(loaded, [*system, *turns[dropped:]], form)
        if len(row) <= room:
            return row, dropped
        later = [at for at in range(dropped + 1, len(turns)) if turns[at]["role"] == "user"]
        if not later:
            raise ConfigError(
                f"message: has {len(row):,} tokens with what belongs around it, and {room:,} fit in front of an "
                "answer; shorten it, or lower max_new"
            )
        dropped = later[0]


def _first(codec: Codec, form: Form) -> list[int]:
    separators = _separators(codec)
    return [separators[0]] if form == "chitchat" and separators is not None else []


def _separators(codec: Codec) -> tuple[int, int] | None:
    """`[CLS]` and `[SEP]`, where the vocabulary puts them around texts."""
    frame = codec.frame
    return (frame[0][0], frame[1][-1]) if frame[0] and frame[1] else None


def _ends(loaded: Talking, form: Form) -> tuple[int, ...]:
    separators = _separators(loaded.tokenizer)
    if form == "chitchat" and separators is not None:
        return (separators[1],)
    return loaded.ends
