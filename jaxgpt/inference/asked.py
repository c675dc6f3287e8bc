"""A loaded model as evaluation tasks ask it: by length, many at a time, never the same twice. N questions."""

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jaxgpt.evals.forms import task_of
from jaxgpt.evals.model import Head, Writing
from jaxgpt.evals.pairs import Pair, Scored
from jaxgpt.evals.vectors import Encode, remembering
from jaxgpt.inference.loaded import Loaded
from jaxgpt.inference.remembered import Remembered, key
from jaxgpt.inference.write import before_stop
from jaxgpt.objectives.choice import NEVER
from jaxgpt.spec import ConfigError
from jaxgpt.spec.errors import quote
from jaxgpt.terminal import Watch, say
from jaxgpt.text import Codec
from jaxgpt.text.corpora.columns import TextRow

PATIENCE = 3.0
"""Seconds before progress is shown."""


class Asked:
    """Answers the questions of `evals.tasks`, each distinct one once; with `memory` none that was answered before, in
    this process or another."""

    def __init__(self, loaded: Loaded, batch_size: int = 32, quiet: bool = False, memory: Remembered | None = None):
        self._loaded, self._batch_size, self._quiet, self._memory = loaded, batch_size, quiet, memory
        self._encoders: dict[str | None, Encode] = {}

    @property
    def codec(self) -> Codec:
        """The model's vocabulary."""
        return self._loaded.tokenizer

    @property
    def room(self) -> int:
        """The most tokens that the model reads. Raises ConfigError for one that continues no text."""
        return self._loaded.continuing.room

    def score(self, pairs: Sequence[Pair]) -> list[Scored]:
        """See `EvalModel.score`."""
        names = [key("score", *(np.asarray(ids, np.int64).tobytes() for ids in pair)) for pair in pairs]

        def ask(places: list[int], done: Callable[[list[int], list[Any]], None]) -> None:
            asked = [pairs[place] for place in places]
            self._loaded.score_pairs(asked, self._batch_size, self._quiet, lambda at, found: done(at, list(found)))

        return [Scored(float(log_prob), bool(greedy)) for log_prob, greedy in self._answers(names, ask, self._memory)]

    def write(self, prompts: Sequence[str], writing: Writing) -> list[str]:
        """See `EvalModel.write`."""
        room = self.room - writing.max_new
        if room < 1:
            raise ConfigError(f"max_new: {writing.max_new} leaves no room for a prompt in {self.room} tokens; lower it")
        rows = [ids[-room:] for ids in self._loaded.rows(prompts)]
        empty = next((i for i, ids in enumerate(rows) if not ids), None)
        if empty is not None:
            raise ConfigError(f"prompt: {quote(prompts[empty])} has no token; give a text")
        how = json.dumps(writing.model_dump(mode="json"), sort_keys=True)
        names = [key("write", how, np.asarray(ids, np.int64).tobytes()) for ids in rows]
        suppress = self._tokens_of(writing.suppress)

        def ask(places: list[int], done: Callable[[list[int], list[Any]], None]) -> None:
            order = sorted(range(len(places)), key=lambda at: -len(rows[places[at]]))
            size = min(self._batch_size, len(order))
            with Watch("write", total=len(order), unit="texts", quiet=self._quiet, after=PATIENCE) as watch:
                for start in range(0, len(order), size):
                    at = order[start : start + size]
                    given = [rows[places[i]] for i in at]
                    texts = self._write(given + given[-1:] * (size - len(at)), writing, suppress)
                    done(at, texts[: len(at)])
                    watch.update(start + len(at))

        drawn = writing.beams is None and writing.sampling.temperature > 0  # depends on what is written beside it
        return [str(text) for text in self._answers(names, ask, None if drawn else self._memory)]

    def encode(self, texts: Sequence[str], pooling: str | None = None) -> np.ndarray:
        """See `EvalModel.encode`."""
        if pooling not in self._encoders:
            size, quiet = self._batch_size, self._quiet
            self._encoders[pooling] = remembering(lambda new: self._loaded.encode(new, size, pooling, quiet))
        return self._encoders[pooling](list(texts))

    def head(self, form: str) -> Head:
        """See `EvalModel.head`."""
        loaded, run = self._loaded, self._loaded.run
        objective = task_of(None if run is None else run.objective, loaded.model, form)
        spec = loaded.spec.model_dump_json()  # what of a row is read

        def answers(rows: Sequence[TextRow]) -> np.ndarray:
            sizes = [len(row.texts) - 1 if form == "choice" else None for row in rows]  # candidates that it has

            def ask(places: list[int], done: Callable[[list[int], list[Any]], None]) -> None:
                def of_batch(at: list[int], found: np.ndarray) -> None:
                    done(at, [row[: sizes[places[i]]].tolist() for i, row in zip(at, found, strict=True)])

                asked = [rows[place] for place in places]
                loaded.answers(form, asked, self._batch_size, self._quiet, of_batch)

            found = self._answers([key("head", form, spec, *row.texts) for row in rows], ask, self._memory)
            out = np.full((len(rows), max(map(len, found), default=0)), NEVER, np.float32)
            for row, numbers in zip(out, found, strict=True):
                row[: len(numbers)] = numbers
            return out

        labels = getattr(loaded.model.text_head, "labels", None)
        return Head(objective, labels, None if run is None else run.data, loaded.texts_a_row, answers)

    def _write(self, rows: list[list[int]], writing: Writing, suppress: Sequence[int]) -> list[str]:
        if writing.beams is None:
            return self._loaded.write(rows, writing.max_new, writing.sampling, writing.seed, writing.stop, suppress)
        found = self._loaded.search(rows, writing.max_new, writing.beams)
        return [before_stop(texts[0].text, writing.stop) for texts in found]

    def _tokens_of(self, words: Sequence[str]) -> list[int]:
        """Ids of tokens that stand for one of the words."""
        wanted = {*words}
        if not wanted:
            return []
        known = np.flatnonzero(self.codec.has_text).tolist()
        return [token for token in known if self.codec.decode([token]).strip().lower() in wanted]

    def _answers(self, names: Sequence[str], ask: Callable[..., None], memory: Remembered | None) -> list[Any]:
        """The answer to each question, of which `ask` is asked those that nobody has answered, each once."""
        answers: dict[str, Any] = {}
        if memory is not None:
            answers = {name: memory[name] for name in names if name in memory}
        places = {name: place for place, name in reversed([*enumerate(names)]) if name not in answers}
        left = sorted(places.values())
        if answers and not self._quiet:
            ready = sum(name in answers for name in names)
            say(f"eval: {ready:,} of {len(names):,} answers are there from before")

        def done(at: list[int], found: list[Any]) -> None:
            new = [(names[left[i]], answer) for i, answer in zip(at, found, strict=True)]
            answers.update(new)
            if memory is not None:
                memory.add(new)

        if left:
            ask(left, done)
        return [answers[name] for name in names]
