"""A trained model in use: its weights, tokenizer and adapters, and what they do for texts."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from jax.typing import ArrayLike

from jaxgpt.decode import BeamSearch, Sampling, beam_search, stream
from jaxgpt.decode.session import Session
from jaxgpt.evals.forms import task_of
from jaxgpt.evals.pairs import Pair, Scored, encode_pairs
from jaxgpt.inference.adapters import Adaptation
from jaxgpt.inference.answers import Chosen, Classified, answers
from jaxgpt.inference.by_length import Done as BatchDone
from jaxgpt.inference.chat import chat
from jaxgpt.inference.encode import encode, recipe_for
from jaxgpt.inference.given_rows import candidate_rows, text_rows
from jaxgpt.inference.score import Done, score
from jaxgpt.inference.write import Generated, checked_stops, write
from jaxgpt.models import Model
from jaxgpt.nn.stack import overlay, unstack
from jaxgpt.objectives.task import Task
from jaxgpt.ops.attention import Auto
from jaxgpt.ops.metrics.calibration import probabilities
from jaxgpt.ops.pooling import Recipe
from jaxgpt.runs.objective_run import ObjectiveRun
from jaxgpt.runs.trainable import frozen_digest
from jaxgpt.spec import ConfigError, parse
from jaxgpt.spec.arguments import instance, strings
from jaxgpt.spec.errors import did_you_mean, quote
from jaxgpt.text import Codec
from jaxgpt.text.corpora.columns import TextRow
from jaxgpt.text.tokenizers.special import reader

Texts = Sequence[str] | Sequence[Sequence[str]]
"""Texts, or pairs of texts."""


class Continuation(NamedTuple):
    """A text that beam search found after a prompt."""

    text: str
    score: float
    """By which texts are ranked: `log_prob` over the penalty of their length."""
    log_prob: float
    """Nats, of all new tokens, the one that ends the text included."""
    ended: bool
    """Whether it ends; else it was cut after `max_new` tokens."""


@dataclass(frozen=True, eq=False)
class Loaded:
    """A model with its weights and tokenizer."""

    spec: ObjectiveRun | Model
    """The run that trained it; of another library's weights, the model."""
    model: Model
    params: Any
    codec: Codec | None
    """None where there was no vocabulary beside the weights; `tokenizer` is it."""
    dtype: str = "float32"
    """What is computed in."""
    generation: Mapping[str, Any] = field(default_factory=dict)
    """What another library's checkpoint says about generating; only its ends of text are followed."""
    recipe: Recipe | None = None
    """How texts become vectors, where the checkpoint says so."""
    chat_templates: Mapping[str, str] = field(default_factory=dict)
    """Text by name, `default` among them, that makes one text of a conversation; carried along, never run."""
    adapter: str | None = None
    """Which of `adapters` is in use; None: none."""
    adapters: Mapping[str, Adaptation] = field(default_factory=dict, repr=False)
    """Those that were read for these weights, by name."""
    views: dict[str | None, "Loaded"] = field(default_factory=dict, repr=False)
    """The same weights with each adapter that was ever in use, and without."""

    def with_adapter(self, name: str | None) -> "Loaded":
        """The same weights with another of `adapters`, or with none. The base's arrays are shared, nothing is read, and
        adapters of one kind and size share their compiled programs. Raises ConfigError for a name that is not there."""
        if name == self.adapter:
            return self
        if name is not None and name not in self.adapters:
            raise ConfigError(
                f"adapter: no {quote(name)}{did_you_mean(str(name), self.adapters) or '; there are none'}"
            )
        if name not in self.views:
            base, adaptation = self.views[None], self.adapters[str(name)]
            self.views[name] = replace(
                base,
                spec=adaptation.spec,
                model=adaptation.model,
                params=adaptation.params(flatten_dict(base.params, sep="/")),
                codec=adaptation.codec or base.codec,
                recipe=base.recipe if adaptation.model.text_head is None else None,
                adapter=name,
            )
        return self.views[name]

    @property
    def run(self) -> ObjectiveRun | None:
        """The run that trained it; None for another library's weights."""
        return None if isinstance(self.spec, Model) else self.spec

    @property
    def tokenizer(self) -> Codec:
        """Text to ids and back. Raises ConfigError where there is none."""
        if self.codec is None:
            raise ConfigError("the weights came without a vocabulary; put the model's tokenizer.json beside them")
        return self.codec

    @cached_property
    def digest(self) -> str:
        """SHA-256 in hex over all that its answers depend on: model, weights, vocabulary, dtype, ends of text."""
        about = [self.model.model_dump_json(), self.dtype, str(self.ends), self.tokenizer.tokenizer_json()]
        return hashlib.sha256("\n".join([*about, frozen_digest(self.params)]).encode()).hexdigest()

    @cached_property
    def reader(self) -> tuple[Callable[[str], list[int]], tuple[str, ...]]:
        """What encodes text in which special tokens are spelled, and how they are; see `text.tokenizers.special`."""
        return reader(self.tokenizer)

    @cached_property
    def _module(self) -> Any:
        return self.model.build(Auto(), self.dtype)

    @cached_property
    def _scanned(self) -> Any:
        """The module whose layers are one loop, which compiles in a fraction of the time and reads many tokens as fast;
        it takes `params` as they are."""
        return self.model.build(Auto(), self.dtype, "scan")

    @cached_property
    def _unstacked(self) -> Any:
        if self.adapter is None:
            return unstack(self.params)
        own = unflatten_dict(dict(self.adapters[self.adapter].leaves), sep="/")
        return overlay(self.views[None]._unstacked, unstack(own))

    @property
    def ends(self) -> tuple[int, ...]:
        """Ids that end a text: those that the checkpoint gives for generating, else the vocabulary's."""
        ids = self.generation.get("eos_token_id")
        given = ids if isinstance(ids, list) else [ids]
        own = [] if self.tokenizer.eot is None else [self.tokenizer.eot]
        return tuple(token for token in given if type(token) is int) or tuple(own)

    def logits(self, tokens: ArrayLike) -> jax.Array:
        """int (B, T) -> float32 (B, T, V). Raises ConfigError for ids outside the vocabulary or rows too long."""
        if not (self.model.continues or self.model.fills_in):
            head = "lm_head" if hasattr(self.model, "lm_head") else "masked_head"
            raise ConfigError(f"model.{head}: false, so these weights score no vocabulary; m.encode gives vectors")
        try:
            ids = np.asarray(tokens)
        except Exception:  # rows of uneven length; what else may be wrong is for the class of `tokens` to say
            raise ConfigError(
                f"tokens: {quote(tokens)}, expected rows of one length; give them one by one, or pad them"
            ) from None
        if ids.ndim != 2 or not ids.size or ids.dtype.kind not in "iu" or ids.shape[1] > self.model.room:
            raise ConfigError(
                f"tokens: {ids.dtype} of shape {ids.shape}; expected integers (rows, up to {self.model.room})"
            )
        if ids.min() < 0 or ids.max() >= (self.model.vocab_size or 0):
            raise ConfigError(f"tokens: ids outside the vocabulary of {self.model.vocab_size}; use m.tokenizer")
        return _logits(self._module, self.params, ids)

    def generate(
        self,
        prompts: str | Sequence[str],
        max_new: int = 32,
        temperature: float = 0.0,
        top_k: int | None = None,
        top_p: float | None = None,
        repetition_penalty: float | None = None,
        stop: str | Sequence[str] = (),
        seed: int = 0,
        min_p: float | None = None,
        typical_p: float | None = None,
        no_repeat_ngram_size: int | None = None,
        min_new: int | None = None,
    ) -> list[str]:
        """Continuations of `prompts`, up to `max_new` tokens, end-of-text, or the first of the texts in `stop`.

        A single string is a list of it, as prompt and as stop: `m.generate("Once")` gives a list of one. The token that
        every text starts with, where the vocabulary has one, is put in front. Another temperature, cut, penalty or seed
        compiles nothing. Raises ConfigError naming the argument that cannot be.
        """
        sampling = Sampling.checked(
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            repetition_penalty=repetition_penalty,
            min_p=min_p,
            typical_p=typical_p,
            no_repeat_ngram_size=no_repeat_ngram_size,
            min_new=min_new,
        )
        return self.write(self.rows(prompts), max_new, sampling, seed, checked_stops(stop))

    def generate_with_log_probs(
        self,
        prompts: str | Sequence[str],
        max_new: int = 32,
        stop: str | Sequence[str] = (),
        seed: int = 0,
        **sampling: Any,
    ) -> list[Generated]:
        """`generate`, with the ids of each text and the log-probability of each; `sampling`: its fields of a draw, as
        `temperature=0.7, top_p=0.9`."""
        rows, stops = self.rows(prompts), checked_stops(stop)
        return self._write(rows, max_new, Sampling.checked(**sampling), seed, stops, log_probs=True)

    def write(
        self,
        rows: Sequence[list[int]],
        max_new: int,
        sampling: Sampling,
        seed: int = 0,
        stops: Sequence[str] = (),
        suppress: Sequence[int] = (),
    ) -> list[str]:
        """`generate` of what is ids already; ids in `suppress` are never written."""
        return [one.text for one in self._write(rows, max_new, sampling, seed, stops, suppress)]

    def _write(
        self,
        rows: Sequence[list[int]],
        max_new: int,
        sampling: Sampling,
        seed: int,
        stops: Sequence[str],
        suppress: Sequence[int] = (),
        log_probs: bool = False,
    ) -> list[Generated]:
        how = max_new, sampling, seed, self.ends, self.dtype, stops, suppress, log_probs
        return write(self.continuing, self._unstacked, self.tokenizer, rows, *how)

    def beam_search(
        self, prompts: str | Sequence[str], max_new: int = 32, n_best: int = 1, **fields: Any
    ) -> list[list[Continuation]]:
        """The likeliest continuations of each prompt, best first, that a search finds: `fields` are those of
        `decode.BeamSearch`, as `width=4, penalty="gnmt", alpha=0.6`. A text ends as in `generate`. Raises ConfigError
        naming the argument that cannot be."""
        return self.search(self.rows(prompts), max_new, parse(BeamSearch, fields), n_best)

    def search(
        self, rows: Sequence[list[int]], max_new: int, beams: BeamSearch, n_best: int = 1
    ) -> list[list[Continuation]]:
        """`beam_search` of what is ids already."""
        model, codec = self.continuing, self.tokenizer
        found = beam_search(model, self._unstacked, rows, max_new, beams, n_best, self.ends, self.dtype, codec.has_text)
        return [
            [
                Continuation(codec.continuation(row, ids), score, log_prob, ended)
                for ids, score, log_prob, ended in texts
            ]
            for row, texts in zip(rows, found, strict=True)
        ]

    def chat(self, messages: Sequence[Mapping[str, str]], max_new: int = 256, **how: Any) -> str:
        """The answer to a conversation, messages such as {"role": "user", "content": "Hello"}, of which the last is the
        user's. `how`: `form`, and what `generate` takes of a draw; greedy by default. See `inference.chat.Chat`, which
        goes on from turn to turn."""
        return chat(self, messages, max_new, **how)

    def session(self, sampling: Sampling, ends: Sequence[int]) -> Session:
        """A row that is written on and on, from the same arrays."""
        return Session(self.continuing, self._unstacked, sampling, ends, self.dtype, self.tokenizer.has_text)

    def score(
        self, contexts: Sequence[str], continuations: Sequence[str], batch_size: int = 32, quiet: bool = False
    ) -> list[Scored]:
        """How likely each continuation is after its context, in nats, and whether greedy writing would write it. Of a
        context too long its last tokens are read. Raises ConfigError naming the row that cannot be."""
        return self.score_pairs(encode_pairs(self.tokenizer, contexts, continuations), batch_size, quiet)

    def score_pairs(
        self, pairs: Sequence[Pair], batch_size: int = 32, quiet: bool = False, done: Done | None = None
    ) -> list[Scored]:
        """`score` of what is ids already; `done` is called with each batch. What pairs share is read once."""
        return score(self._scanned, self.params, pairs, self.continuing.room, batch_size, quiet, done)

    def stream(self, prompt: str, max_new: int, sampling: Sampling, seed: int = 0) -> Iterator[str]:
        """The continuation of one prompt, piece by piece; a character is held back until its bytes are complete.

        Raises ConfigError, with the first piece, naming the argument that cannot be.
        """
        instance("prompt", prompt, "a string", str)
        instance("sampling", sampling, "a Sampling, as of Sampling(temperature=0.8)", Sampling)
        ids, shown, rows = list[int](), "", self.rows([prompt])
        how = max_new, sampling, seed, self.ends, self.dtype, self.tokenizer.has_text
        for (piece,) in stream(self.continuing, self._unstacked, rows, *how):
            ids += piece
            text = self.tokenizer.continuation(rows[0], ids).rstrip("\ufffd")
            if text.startswith(shown):
                yield text[len(shown) :]
                shown = text

    def encode(
        self, texts: Sequence[str], batch_size: int = 32, pooling: str | None = None, quiet: bool = False
    ) -> np.ndarray:
        """float32 (N, D): a vector for each text, as the checkpoint says, else the mean over an encoder's tokens, or a
        decoder's last. `pooling` chooses another by its name in `jaxgpt.ops.pooling`. See `inference.encode`."""
        recipe = recipe_for(self.model, self.recipe, pooling)
        return encode(self._module, self._unstacked, self.tokenizer, texts, recipe, batch_size, quiet)

    def classify(self, texts: Texts, batch_size: int = 32, quiet: bool = False) -> list[Classified]:
        """The label of each text, or of each pair of texts, with the probability of every label by its name. Texts too
        long lose their ends, as in training. Raises ConfigError where the weights have no head that does this."""
        p_NC = probabilities(
            self.answers("classify", text_rows(texts, batch_size, self.texts_a_row), batch_size, quiet)
        )
        names = getattr(self.model.text_head, "labels", None) or ()
        return [Classified(names[int(p_C.argmax())], dict(zip(names, p_C.tolist(), strict=True))) for p_C in p_NC]

    def similarity(self, pairs: Sequence[Sequence[str]], batch_size: int = 32, quiet: bool = False) -> np.ndarray:
        """float32 (N,): how alike the two texts of each pair are, whichever comes first, on the scale of the training
        data's scores. Raises ConfigError as `classify` does."""
        return self.answers("similarity", text_rows(pairs, batch_size, 2), batch_size, quiet)[:, 0]

    def rate(self, texts: Texts, batch_size: int = 32, quiet: bool = False) -> np.ndarray:
        """float32 (N,): the score of each text, or of each pair of texts, on the scale of the training data's scores.
        Raises ConfigError as `classify` does."""
        return self.answers("regress", text_rows(texts, batch_size, self.texts_a_row), batch_size, quiet)[:, 0]

    def choose(
        self, contexts: Sequence[str], candidates: Sequence[Sequence[str]], batch_size: int = 32, quiet: bool = False
    ) -> list[Chosen]:
        """The candidate that goes best with each context, of as many as there are for it, with the probability of each.
        Raises ConfigError as `classify` does."""
        rows = candidate_rows(contexts, candidates, batch_size)
        p_NC = probabilities(self.answers("choice", rows, batch_size, quiet))
        return [
            Chosen(int(p_C.argmax()), tuple(p_C[: len(row.texts) - 1].tolist()))
            for row, p_C in zip(rows, p_NC, strict=True)
        ]

    def answers(
        self,
        form: str,
        rows: Sequence[TextRow],
        batch_size: int = 32,
        quiet: bool = False,
        done: BatchDone | None = None,
    ) -> np.ndarray:
        """float32 (N, C): what the text head gives for rows as a file has them; `form` is classify, similarity, regress
        or choice; `done` is called with each batch. Raises ConfigError as `classify` does."""
        run = self.run
        task = task_of(None if run is None else run.objective, self.model, form)
        limit = min(self.model.room, self.model.context if run is None else run.seq_len)
        return answers(self._module, self._unstacked, self.tokenizer, task, rows, limit, batch_size, quiet, done)

    @property
    def texts_a_row(self) -> int | None:
        """How many texts a row had in training, where that is known."""
        run = self.run
        return run.data.texts if run is not None and isinstance(run.objective, Task) else None

    @property
    def continuing(self) -> Model:
        """The model, which continues texts. Raises ConfigError for one that does not."""
        if not self.model.continues:
            raise ConfigError(f"{self.model.kind}: these weights continue no text; use a decoder with an output")
        return self.model

    def rows(self, prompts: str | Sequence[str]) -> list[list[int]]:
        """Ids of prompts, behind the token that every text starts with, where the vocabulary has one."""
        begin = [] if self.tokenizer.bos is None else [self.tokenizer.bos]
        return [begin + ids for ids in self.tokenizer.encode_batch(strings("prompts", prompts))]


@partial(jax.jit, static_argnums=0)
def _logits(module: Any, params: Any, tokens: jax.Array) -> jax.Array:
    return module.apply({"params": params}, tokens).astype(jnp.float32)
