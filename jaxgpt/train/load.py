"""A trained run, ready to use."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxgpt.decode import Sampling, generate, ready, stream
from jaxgpt.models import Decoder
from jaxgpt.ops.attention import Auto
from jaxgpt.parallel import keep_freed_memory
from jaxgpt.spec import ConfigError, load_yaml
from jaxgpt.text import Codec
from jaxgpt.train.checkpoint import restore
from jaxgpt.train.spec import Run


@dataclass(frozen=True, eq=False)
class Loaded:
    """A model with its weights and tokenizer."""

    spec: Run
    model: Decoder
    params: Any
    tokenizer: Codec

    @cached_property
    def _apply(self) -> Any:
        module = self.model.build(Auto(), self.spec.dtype)
        return jax.jit(lambda params, tokens: module.apply({"params": params}, tokens).astype(jnp.float32))

    @cached_property
    def _ready(self) -> Any:
        return ready(self.params)

    def logits(self, tokens: ArrayLike) -> jax.Array:
        """int (B, T) -> float32 (B, T, V). Raises ConfigError for ids outside the vocabulary or rows too long."""
        ids = np.asarray(tokens)
        if ids.ndim != 2 or not ids.size or ids.dtype.kind not in "iu" or ids.shape[1] > self.model.context:
            raise ConfigError(
                f"tokens: {ids.dtype} of shape {ids.shape}; expected integers (rows, up to {self.model.context})"
            )
        if ids.min() < 0 or ids.max() >= (self.model.vocab_size or 0):
            raise ConfigError(f"tokens: ids outside the vocabulary of {self.model.vocab_size}; use m.tokenizer")
        return self._apply(self.params, ids)

    def generate(
        self,
        prompts: Sequence[str],
        max_new: int = 32,
        temperature: float = 0.0,
        top_k: int | None = None,
        top_p: float | None = None,
        repetition_penalty: float | None = None,
        stop: Sequence[str] = (),
        seed: int = 0,
    ) -> list[str]:
        """Continuations of `prompts`, up to `max_new` tokens, end-of-text, or the first of the texts in `stop`."""
        sampling = Sampling.checked(
            temperature=temperature, top_k=top_k, top_p=top_p, repetition_penalty=repetition_penalty
        )
        rows = self.tokenizer.encode_batch(list(prompts))
        new = generate(self.model, self._ready, rows, max_new, sampling, seed, self.tokenizer.eot, self.spec.dtype)
        return [_cut(self.tokenizer.decode(ids), stop) for ids in new]

    def stream(self, prompt: str, max_new: int, sampling: Sampling, seed: int = 0) -> Iterator[str]:
        """The continuation of one prompt, piece by piece; a character is held back until its bytes are complete."""
        ids: list[int] = []
        shown = ""
        rows = [self.tokenizer.encode(prompt)]
        for (piece,) in stream(
            self.model, self._ready, rows, max_new, sampling, seed, self.tokenizer.eot, self.spec.dtype
        ):
            ids += piece
            text = self.tokenizer.decode(ids).rstrip("\ufffd")
            if text.startswith(shown):
                yield text[len(shown) :]
                shown = text


def load(path: str | Path, best: bool = True) -> Loaded:
    """Loads a run directory: its best checkpoint, or its last. Raises ConfigError when `path` is no run."""
    path = Path(path)
    keep_freed_memory()
    if not (path / "config.yaml").exists():
        raise ConfigError(f"{path}: not a run (it holds no config.yaml); give a directory that `jaxgpt train` wrote")
    run = load_yaml(Run, path / "config.yaml")
    part = "params" if run.ema is None else "ema"
    found = restore(path / "ckpt", run.model.shapes(), best=best, part=part)
    if found is None:
        raise ConfigError(f"{path}: holds no checkpoint yet; train it first")
    assert isinstance(run.model, Decoder)
    return Loaded(run, run.model, found[1], Codec.load(path / "tokenizer"))


def _cut(text: str, stop: Sequence[str]) -> str:
    ends = [text.find(word) for word in stop if word and word in text]
    return text[: min(ends)] if ends else text
