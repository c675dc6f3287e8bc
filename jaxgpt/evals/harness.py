"""lm-evaluation-harness on a model of ours: `lm_eval.simple_evaluate(model=Adapter(jaxgpt.load(path)), ...)`.

Needs the extra `eval`; torch only where the harness itself asks for it. One process talks to the harness, and what it
asks is computed on whatever mesh the model was loaded on: several hosts would each run it.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from jaxgpt.decode import Sampling
from jaxgpt.evals.pairs import Pair, Scored, first_id
from jaxgpt.evals.tasks.perplexity import windows
from jaxgpt.spec import ConfigError
from jaxgpt.text import Codec
from jaxgpt.text.chat_template import render
from jaxgpt.text.tokenizers.special import reader

try:
    from lm_eval.api.model import TemplateLM
except ImportError:
    raise ConfigError("lm-eval: is not installed; pip install 'jaxgpt[eval]'") from None

MOST = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
"""Names of the most tokens to write, the first that is given."""
DEFAULT_MOST = 256


class Continuing(Protocol):
    """What `jaxgpt.load` gives of a decoder."""

    chat_templates: Mapping[str, str]

    @property
    def tokenizer(self) -> Codec:
        """Its vocabulary."""

    @property
    def continuing(self) -> Any:
        """The model, whose `room` is the most tokens that it reads."""

    def score_pairs(self, pairs: Sequence[Pair], batch_size: int = 32, quiet: bool = False) -> list[Scored]:
        """How likely continuations are."""

    def write(
        self, rows: Sequence[list[int]], max_new: int, sampling: Sampling, seed: int = 0, stops: Sequence[str] = ()
    ) -> list[str]:
        """Continuations of ids."""


class Adapter(TemplateLM):
    """A decoder as lm-eval asks it: log-likelihoods, rolling ones, texts; with the checkpoint's own chat template.

    Requests are sorted by length; continuations of one context have it read once. `seed` draws texts that a task wants
    sampled.
    """

    def __init__(self, loaded: Continuing, batch_size: int = 32, seed: int = 0):
        super().__init__()
        self._loaded, self._batch_size, self._seed = loaded, batch_size, seed
        self._room = loaded.continuing.room
        codec = loaded.tokenizer
        self._first = first_id(codec, "lm-eval: a text without context needs one")
        self._begin = [] if codec.bos is None else [codec.bos]
        self._encode, _ = reader(codec)  # special tokens that a text spells are such, as they are for HFLM

    @property
    def eot_token_id(self) -> int:
        """End of text, or what texts begin with where the vocabulary has no end."""
        eot = self._loaded.tokenizer.eot
        return self._first if eot is None else eot

    @property
    def prefix_token_id(self) -> int:
        """What stands in front of a text without context."""
        return self._first

    @property
    def max_length(self) -> int:
        """The most tokens that the model reads."""
        return int(self._room)

    @property
    def tokenizer_name(self) -> str:
        """A digest of the vocabulary: the harness keeps requests under it."""
        return hashlib.sha256(self._loaded.tokenizer.tokenizer_json().encode()).hexdigest()[:16]

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **_: Any) -> list[int]:
        """Ids, behind what texts begin with unless `add_special_tokens` is False or it is there already."""
        ids = self._encode(string)
        begin = self._begin if add_special_tokens is not False and ids[:1] != self._begin else []
        return [*begin, *ids]

    def _loglikelihood_tokens(self, requests: Any, disable_tqdm: bool = False, **_: Any) -> list[tuple[float, bool]]:
        pairs = [Pair(list(context), list(continuation)) for _, context, continuation in requests]
        scored = iter(self._score([pair for pair in pairs if pair.continuation], disable_tqdm))
        results = [(*next(scored),) if pair.continuation else (0.0, True) for pair in pairs]
        for (key, _, _), result in zip(requests, results, strict=True):
            self.cache_hook.add_partial("loglikelihood", key, result)
        return results

    def loglikelihood_rolling(self, requests: Any, disable_tqdm: bool = False) -> list[float]:
        """The log-likelihood of each whole text, in windows that share no token; 0 of an empty one."""
        texts = [request.args[0] for request in requests]
        parts = [
            [*windows([self._first, *self.tok_encode(text, add_special_tokens=False)], self._room, self._room)]
            for text in texts
        ]
        scored = iter(self._score([pair for part in parts for pair in part], disable_tqdm))
        sums = [sum(next(scored).log_prob for _ in part) for part in parts]
        for text, total in zip(texts, sums, strict=True):
            self.cache_hook.add_partial("loglikelihood_rolling", (text,), total)
        return [float(total) for total in sums]

    def generate_until(self, requests: Any, disable_tqdm: bool = False) -> list[str]:
        """Texts up to the first of a request's stops; requests of one setting are written together."""
        out: list[str] = [""] * len(requests)
        groups: dict[tuple[Any, ...], list[int]] = {}
        for place, request in enumerate(requests):
            groups.setdefault(self._setting(request.args[1]), []).append(place)
        for (most, stops, sampling), places in groups.items():
            rows = [self.tok_encode(requests[p].args[0])[-(self._room - most) :] for p in places]
            order = sorted(range(len(places)), key=lambda at: -len(rows[at]))
            for start in range(0, len(order), self._batch_size):
                batch = order[start : start + self._batch_size]
                given = [rows[at] or [self._first] for at in batch]
                texts = self._loaded.write(given, most, sampling, self._seed, stops)
                for at, text in zip(batch, texts, strict=True):
                    out[places[at]] = text
                    if not sampling.temperature:
                        self.cache_hook.add_partial("generate_until", requests[places[at]].args, text)
        return out

    def _setting(self, given: Mapping[str, Any]) -> tuple[int, tuple[str, ...], Sampling]:
        """The most tokens, stops and draw of a request. Raises ConfigError for what is not known."""
        left = dict(given)
        most = next((left[name] for name in MOST if left.get(name) is not None), DEFAULT_MOST)
        until = left.pop("until", None) or []
        stops = tuple(stop for stop in ([until] if isinstance(until, str) else until) if stop)
        temperature = float(left.pop("temperature", None) or 0.0)
        drawn = left.pop("do_sample", None)
        if drawn is False or (drawn is None and not temperature):
            temperature = 0.0
        elif drawn and not temperature:
            temperature = 1.0
        top_k, top_p = left.pop("top_k", None) or None, left.pop("top_p", None)
        penalty = left.pop("repetition_penalty", None)
        if unknown := left.keys() - {*MOST, "num_return_sequences"}:
            raise ConfigError(f"generation_kwargs: {', '.join(sorted(unknown))}: not known; leave it out of the task")
        if not 0 < int(most) < self._room:
            raise ConfigError(
                f"generation_kwargs.max_gen_toks: {most} leaves no room for a context in {self._room} tokens; set a "
                "smaller one"
            )
        sampling = Sampling.checked(temperature=temperature, top_k=top_k, top_p=top_p, repetition_penalty=penalty)
        return int(most), stops, sampling

    def chat_template(self, chat_template: bool | str = False) -> str | None:
        """The checkpoint's template of that name, or its default; None where none is wanted."""
        if chat_template is False or chat_template is None:
            return None
        templates, name = self._loaded.chat_templates, "default" if chat_template is True else chat_template
        if name not in templates:
            raise ConfigError(f"chat_template: no '{name}'; the checkpoint has {', '.join(templates) or 'none'}")
        return templates[name]

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """A conversation as one text, by the checkpoint's default template."""
        template = self.chat_template(True)
        assert template is not None
        codec = self._loaded.tokenizer
        names = {"bos_token": codec.bos, "eos_token": codec.eot}
        special = {name: codec.decode([token]) for name, token in names.items() if token is not None}
        return render(template, chat_history, add_generation_prompt, special)

    def _score(self, pairs: Sequence[Pair], quiet: bool) -> list[Scored]:
        return self._loaded.score_pairs(pairs, self._batch_size, quiet)
