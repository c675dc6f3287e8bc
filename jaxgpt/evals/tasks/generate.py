"""What a model writes after a prompt, compared with right answers: questions, translations, summaries."""

import re
from collections.abc import Sequence
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field

from jaxgpt.decode import BeamSearch, Sampling
from jaxgpt.evals.measured import Measured, Weigh, means
from jaxgpt.evals.model import EvalModel, Writing
from jaxgpt.evals.tasks.prompted import Example, Prompted, Questions, Template, fields_of, row_of, written
from jaxgpt.evals.tasks.task import find_field
from jaxgpt.evals.tasks.text_metrics import ROUGES, best, bleu, rouge
from jaxgpt.spec import ConfigError
from jaxgpt.spec.sizes import Length
from jaxgpt.text.corpora.columns import texts_of
from jaxgpt.text.corpora.formats import Record

PROMPTS = ("question", "query", "prompt", "source", "article", "text")
ANSWERS = ("answers", "answer", "target", "reference", "highlights", "summary")
SENTENCE = re.compile(r"(?<=[.!?])[\"')\]]*\s+")
"""Between sentences."""


class Generate(Prompted):
    """Free answers: by exact match and F1, BLEU or ROUGE.

    GPT-3 searches four beams with alpha 0.6 (Brown et al. 2020, section 2.4): `beams={width: 4, penalty: gnmt, alpha:
    0.6}`. Without `beams` writing is greedy, unless `sampling` says otherwise.
    """

    citation = "Brown et al. 2020 (GPT-3), section 2.4; Radford et al. 2019 (GPT-2), sections 3.6 to 3.8"
    prompt: Template | None = None
    """As `Q: {question}\\\\nA:`, `{source} =` or `{article}\\\\nTL;DR:`; None: the question as it is there."""
    answer: str | None = None
    """The field with the right answer, or with a list of them."""
    metrics: Annotated[tuple[Literal["exact_match", "f1", "bleu", "rouge"], ...], Field(min_length=1)] = (
        "exact_match",
        "f1",
    )
    max_new: int = Field(default=64, ge=1, le=100_000)
    """Tokens that are written at most."""
    stop: tuple[str, ...] = ("\n",)
    """Texts at whose first occurrence an answer ends."""
    sentences: Length | None = None
    """Sentences of what is written that count; None: all."""
    sampling: Sampling = Sampling()
    beams: BeamSearch | None = None

    def settled(self) -> Self:
        """See `Prompted.settled`."""
        prompt = self.prompt
        if prompt is None:
            prompt = f"{{{find_field(self.file, 'prompt', PROMPTS)}}}"
        return self.evolve(prompt=prompt, answer=self.answer or find_field(self.file, "answer", ANSWERS))

    def fields(self) -> tuple[str, ...]:
        """The prompt's and the answer's."""
        return (*fields_of(str(self.prompt)), str(self.answer))

    def example(self, row: Record) -> Example:
        """See `Prompted.example`."""
        answers = tuple(texts_of(row, str(self.answer), True))
        if not answers:
            raise ConfigError(f"{row.where}: field '{self.answer}' has no answer; leave the row out")
        return Example(row.where, self.filled(str(self.prompt), row), answers)

    def ask(self, examples: Sequence[Example], questions: Questions, model: EvalModel) -> Measured:
        """The figures of `metrics`: exact match and F1 as shares, BLEU and ROUGE times 100."""
        answers = [example.answers for example in examples]
        blank = [""] * len(examples)  # fails here, where a library is not there, and not after an hour of writing
        for metric, of in (("bleu", bleu), ("rouge", rouge)):
            if metric in self.metrics:
                of(blank[:1], answers[:1])
        stop = tuple(map(written, self.stop))
        writing = Writing(max_new=self.max_new, stop=stop, sampling=self.sampling, beams=self.beams, seed=self.seed)
        asked = questions.of(examples, model, [self.max_new] * len(examples))
        texts = [self._counting(text) for text in model.write([question.text for question in asked], writing)]
        names: list[str] = []
        parts: list[Weigh] = []
        right = {}
        for metric in self.metrics:
            if metric == "bleu":
                names.append(self.figure("bleu"))
                parts.append(bleu(texts, answers))
            elif metric == "rouge":
                names += [self.figure(name) for name in (*ROUGES, "rouge_mean")]
                parts.append(rouge(texts, answers))
            else:
                names.append(self.figure(metric))
                values = best(metric, texts, answers)
                parts.append(means(values[:, None]))
                if metric == "exact_match":
                    right[names[-1]] = values == 1
        rows = [
            row_of(example, question, answers=example.answers, written=text)
            for example, question, text in zip(examples, asked, texts, strict=True)
        ]

        def weigh(counts_RN: np.ndarray) -> np.ndarray:
            return np.concatenate([part(counts_RN) for part in parts], 1)

        return Measured(tuple(names), len(rows), weigh, right, {self.figure("items"): len(rows)}, rows)

    def _counting(self, text: str) -> str:
        text = text.strip()
        return text if self.sentences is None else " ".join(SENTENCE.split(text)[: self.sentences])
