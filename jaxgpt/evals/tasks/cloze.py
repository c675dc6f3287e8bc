"""The last word of a text: LAMBADA (Paperno et al. 2016), in the three protocols that its numbers were measured by."""

from collections.abc import Sequence
from importlib.resources import files
from typing import Literal, Self

import numpy as np

from jaxgpt.evals.measured import Measured, of_sums
from jaxgpt.evals.model import EvalModel, Writing
from jaxgpt.evals.pairs import Pair, encode_pairs
from jaxgpt.evals.tasks.prompted import Asked, Example, Prompted, Questions, Template, fields_of, row_of, written
from jaxgpt.evals.tasks.task import find_field
from jaxgpt.spec import ConfigError
from jaxgpt.text.corpora.columns import first_fields, text_of
from jaxgpt.text.corpora.formats import Record

CONTEXTS = ("context", "prompt")
WORDS = ("continuation", "answer", "word", "target")
WHOLE = ("text", "passage")
"""Fields with context and word as one text."""
STEPS = 3
"""Tokens that `stop_filter` writes."""


class Cloze(Prompted):
    """Whether a model knows the last word of a text.

    `last_word`: whether greedy writing writes all tokens of the word; perplexity of the word (lm-eval's
    lambada_openai). `last_token`: whether it writes the text's last token, all others being read: what OpenAI did for
    GPT-2's 45.99, as far as it could be reconstructed. `stop_filter`: up to three tokens are written greedily, never
    one that is a stop word by itself, and the first word is compared (GPT-2's 63.24 for 1.5B; Radford et al. 2019,
    section 3.3).
    """

    citation = "Paperno et al. 2016; Radford et al. 2019 (GPT-2), section 3.3"
    protocol: Literal["last_word", "last_token", "stop_filter"] = "last_word"
    prompt: Template | None = None
    """None: the context as it is there. GPT-3's few-shot form is `{context} ____. →` (Brown et al. 2020, 3.1.2)."""
    word: str | None = None
    """The field with the last word; None: found by its name, or the last of a field `text`."""

    def settled(self) -> Self:
        """See `Prompted.settled`."""
        path = self.file
        given, _ = first_fields(path)
        if self.word is None and not {*WORDS} & {*given} and (whole := next((n for n in WHOLE if n in given), None)):
            if self.prompt is not None:
                raise ConfigError(f"prompt: {path} has context and word in one field; leave prompt out")
            return self.evolve(prompt=f"{{{whole}}}", word=whole)
        prompt, word = self.prompt, self.word
        if prompt is None:
            prompt = f"{{{find_field(path, 'prompt', CONTEXTS)}}}"
        return self.evolve(prompt=prompt, word=word or find_field(path, "word", WORDS))

    def fields(self) -> tuple[str, ...]:
        """The context's and the word's."""
        return tuple(dict.fromkeys((*fields_of(str(self.prompt)), str(self.word))))

    def example(self, row: Record) -> Example:
        """See `Prompted.example`."""
        text = text_of(row, str(self.word)).strip()
        if self.prompt != f"{{{self.word}}}":
            return Example(row.where, self.filled(str(self.prompt), row).rstrip(), (text,))
        context, _, word = text.rpartition(" ")
        if not context.strip():
            raise ConfigError(f"{row.where}: has a single word; expected a text and its last word")
        return Example(row.where, context.rstrip(), (word,))

    def ask(self, examples: Sequence[Example], questions: Questions, model: EvalModel) -> Measured:
        """Accuracy and, but for `stop_filter`, perplexity: of the mean log-probability of a word, or token."""
        delimiter = written(self.delimiter)
        words = [delimiter + example.answers[0] for example in examples]
        reserve = [max(len(ids), STEPS) for ids in model.codec.encode_batch(words)]
        asked = questions.of(examples, model, reserve)
        if self.protocol == "stop_filter":
            return self._filtered(examples, asked, model)
        pairs = encode_pairs(model.codec, [question.text for question in asked], words)
        if self.protocol == "last_token":
            pairs = [Pair([*pair.context, *pair.continuation[:-1]], pair.continuation[-1:]) for pair in pairs]
        scored = model.score(pairs)
        right = np.array([each.greedy for each in scored])
        log_probs = np.array([each.log_prob for each in scored])
        sums = np.stack([right, log_probs, np.ones(len(right))], 1)
        names = (self.figure("accuracy"), self.figure("perplexity"))
        rows = [
            row_of(example, question, answer=example.answers[0], right=bool(each.greedy), log_prob=each.log_prob)
            for example, question, each in zip(examples, asked, scored, strict=True)
        ]
        weigh = of_sums(sums, lambda s: [s[0] / s[2], np.exp(-s[1] / s[2])])
        return Measured(names, len(rows), weigh, {names[0]: right}, {self.figure("items"): len(rows)}, rows)

    def _filtered(self, examples: Sequence[Example], asked: Sequence[Asked], model: EvalModel) -> Measured:
        writing = Writing(max_new=STEPS, suppress=stop_words())
        texts = model.write([question.text for question in asked], writing)
        right = np.array([first_word(t) == first_word(e.answers[0]) for t, e in zip(texts, examples, strict=True)])
        name = self.figure("accuracy")
        rows = [
            row_of(example, question, answer=example.answers[0], right=bool(hit), written=text)
            for example, question, text, hit in zip(examples, asked, texts, right, strict=True)
        ]
        weigh = of_sums(np.stack([right, np.ones(len(right))], 1), lambda s: [s[0] / s[1]])
        return Measured((name,), len(rows), weigh, {name: right}, {self.figure("items"): len(rows)}, rows)


def first_word(text: str) -> str:
    """The first word in small letters, without punctuation around it; empty where there is none."""
    words = text.split()
    return words[0].strip(".,;:!?\"'()[]{}*-_`“”‘’").lower() if words else ""


def stop_words() -> tuple[str, ...]:
    """NLTK's 127 English stop words (Bird et al. 2009), which the filter of GPT-2's LAMBADA figures is known by."""
    text = files("jaxgpt.evals.tasks").joinpath("stop_words.txt").read_text(encoding="utf-8")
    return tuple(text.split())
