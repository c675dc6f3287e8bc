"""Log-likelihoods and texts against lm-eval's own `HFLM` on the same weights: SmolLM2-135M-Instruct, float32, CPU.

JAXGPT_SMOLLM2 names the .gguf (see bench/smollm2.py), JAXGPT_DATA the folder with `lambada/`, `copa/`, `arc_easy/` and
`wikitext2/`. Needs the extras `peer` and `eval`. Both are asked through lm-eval's interface with `batch_size` 16, about
the peer's best here. `NAME_difference` is the largest difference of a log-likelihood, in nats; `NAME_flags` the share
of greedy flags that are equal; `NAME_speedup` our items per second over the peer's, medians after a pass that compiles.

`--float64` measures instead how far ours in float32, and the peer's, are from the peer's in float64.
"""

import os

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["HF_HUB_OFFLINE"] = "1"

import json
import re
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from harness import arguments, cpu, found, interleaved, smollm2, write
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from transformers import AutoModelForCausalLM, AutoTokenizer

import jaxgpt
from jaxgpt.evals.harness import Adapter
from jaxgpt.inference.convert import convert

BATCH = 16
GOALS = "goals: differences <= 1e-4, flags and texts equal, speed-ups of LAMBADA and ARC-easy >= 1.5"


def asked(kind: str, arguments: list[tuple[Any, ...]]) -> list[Instance]:
    return [Instance(kind, {}, each, place) for place, each in enumerate(arguments)]


def choices(path: Path, prompt: str, count: int) -> list[tuple[str, str]]:
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()[:count]]
    return [(row["query"] + prompt, f" {choice}") for row in rows for choice in row["choices"]]


def peer(folder: Path, dtype: torch.dtype) -> HFLM:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).eval()
    return HFLM(pretrained=model, tokenizer=AutoTokenizer.from_pretrained(folder), batch_size=BATCH)


def apart(a: list[tuple[float, bool]], b: list[tuple[float, bool]]) -> float:
    """The largest difference of a log-likelihood, in nats."""
    return max(abs(p - q) for (p, _), (q, _) in zip(a, b, strict=True))


def from_float64(ours: Adapter, theirs: HFLM, exact: HFLM, sets: dict[str, list[tuple[str, str]]]) -> dict[str, float]:
    """How far float32 is from float64, ours and the peer's."""
    figures = {}
    for name, pairs in sets.items():
        requests = asked("loglikelihood", pairs)
        mine, peers, true = (lm.loglikelihood(requests, disable_tqdm=True) for lm in (ours, theirs, exact))
        figures |= {f"{name}_ours": apart(mine, true), f"{name}_hflm": apart(peers, true)}
    return figures


def main() -> None:
    float64 = {"action": "store_true", "help": "only how far float32 is from float64"}
    options = arguments(
        "log-likelihoods, texts and items per second against lm-eval's HFLM on SmolLM2-135M", float64=float64
    )
    model_file = smollm2()
    data = Path(os.environ.get("JAXGPT_DATA", "."))
    lines = found("JAXGPT_DATA", data / "lambada/lambada_openai.jsonl").read_text(encoding="utf-8").splitlines()
    count, rounds = (40, 1) if options.quick else (200, 2)
    items = [json.loads(line) for line in lines[:count]]
    sets = {
        "lambada": [(item["context"], f" {item['continuation']}") for item in items],
        "arc_easy": choices(data / "arc_easy/arc_easy.jsonl", "\nAnswer:", count // 2),
        "copa": choices(data / "copa/copa.jsonl", "", 100),
    }
    text = (data / "wikitext2/test.txt").read_text(encoding="utf-8")
    articles = re.split(r"(?m)^(?= = [^=\n]+ = $)", text)[1:3]

    with tempfile.TemporaryDirectory() as folder:
        convert(model_file, Path(folder) / "hf")
        theirs = peer(Path(folder) / "hf", torch.float32)
        exact = peer(Path(folder) / "hf", torch.float64) if options.float64 else None
    ours = Adapter(jaxgpt.load(model_file), BATCH)
    if exact is not None:
        write(options, from_float64(ours, theirs, exact, sets), cpu())
        return
    figures: dict[str, float] = {}
    for name, pairs in sets.items():
        requests = asked("loglikelihood", pairs)
        mine, peers = (lm.loglikelihood(requests, disable_tqdm=True) for lm in (ours, theirs))
        figures[f"{name}_difference"] = apart(mine, peers)
        figures[f"{name}_flags"] = float(np.mean([a == b for (_, a), (_, b) in zip(mine, peers, strict=True)]))
        if name == "copa":
            continue
        calls = {
            "ours": lambda requests=requests: ours.loglikelihood(requests, disable_tqdm=True),
            "hflm": lambda requests=requests: theirs.loglikelihood(requests, disable_tqdm=True),
        }
        took = interleaved(calls, rounds, warmup=0)
        figures[f"{name}_speedup"] = took["hflm"].median / took["ours"].median
        print(f"{name}: {figures[f'{name}_speedup']:.2f}x HFLM, differences {figures[f'{name}_difference']:.1e}")

    requests = asked("loglikelihood_rolling", [(article,) for article in articles])
    mine, peers = (lm.loglikelihood_rolling(requests, disable_tqdm=True) for lm in (ours, theirs))
    figures["wikitext2_relative_difference"] = max(abs(a / b - 1) for a, b in zip(mine, peers, strict=True))
    kwargs = {"until": ["\n"], "max_gen_toks": 24}
    requests = asked("generate_until", [(item["context"], kwargs) for item in items[:24]])
    mine, peers = (lm.generate_until(requests, disable_tqdm=True) for lm in (ours, theirs))
    figures["texts_equal"] = float(np.mean([a == b for a, b in zip(mine, peers, strict=True)]))
    write(options, figures, cpu())
    print(GOALS)


if __name__ == "__main__":
    main()
