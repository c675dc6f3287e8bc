"""Greedy generation on a CPU: ours against Hugging Face's `generate` with its key/value cache, torch eager, float32.

Both run the same random weights. Four settings: a tiny model at batch 1, GPT-2 124M's shape at batch 1 and 8, and at
batch 1 by beam search of width 4; prompts of 16 tokens. Ours is timed from lists of ids to lists of ids; compiling
comes before and is told apart. `same_tokens` is the share of positions at which both wrote the same id; `best` compares
the fastest call of each.
"""

import os

os.environ["JAX_PLATFORMS"] = "cpu"

from typing import NamedTuple

import jax
import numpy as np
import torch
from harness import arguments, cpu, interleaved, seconds, write
from transformers import GPT2Config, GPT2LMHeadModel

from jaxgpt.decode import BeamSearch, Sampling, beam_search, generate
from jaxgpt.interop.families import gpt2
from jaxgpt.nn.stack import unstack

GREEDY = Sampling(temperature=0.0)
PROMPT = 16


class Setting(NamedTuple):
    name: str
    config: GPT2Config
    batch: int
    max_new: int
    goal: float
    """Our tokens per second over theirs."""
    beams: int = 1


ENDLESS = {"bos_token_id": None, "eos_token_id": None}  # write all tokens, whatever they are
TINY = GPT2Config(vocab_size=65, n_positions=64, n_embd=128, n_layer=4, n_head=4, **ENDLESS)
SMALL = GPT2Config(**ENDLESS)
SETTINGS = (
    Setting("tiny_b1", TINY, batch=1, max_new=48, goal=5.0),
    Setting("124m_b1", SMALL, batch=1, max_new=64, goal=1.0),
    Setting("124m_b8", SMALL, batch=8, max_new=64, goal=1.0),
    Setting("124m_beam4", SMALL, batch=1, max_new=64, goal=2.0, beams=4),
)


def measure(setting: Setting, theirs: GPT2LMHeadModel, rounds: int) -> dict[str, float]:
    """The figures of one setting, named after it."""
    name, config, batch, max_new, _, beams = setting
    model = gpt2.FAMILY.spec(config.to_dict())
    weights = {key: tensor.numpy() for key, tensor in theirs.state_dict().items()}
    params = unstack(jax.device_put(gpt2.FAMILY.read(weights, model)))
    ids = np.random.default_rng(0).integers(0, config.vocab_size, (batch, PROMPT))
    prompts = ids.tolist()
    prompt_BT = torch.from_numpy(ids)
    mask_BT = torch.ones_like(prompt_BT)

    def ours() -> list[list[int]]:
        if beams > 1:
            found = beam_search(model, params, prompts, max_new, BeamSearch(width=beams))
            return [best.ids for (best,) in found]
        return generate(model, params, prompts, max_new, GREEDY)

    def peer() -> list[list[int]]:
        how = {"attention_mask": mask_BT, "max_new_tokens": max_new, "do_sample": False, "num_beams": beams}
        out = theirs.generate(prompt_BT, **how)
        return out[:, PROMPT:].tolist()

    compiling = seconds(ours)
    mine, others = np.array(ours()), np.array(peer())
    assert mine.shape == others.shape == (batch, max_new)
    took = interleaved({"ours": ours, "hf": peer}, rounds, warmup=1)
    written = batch * max_new
    return {
        f"speedup_vs_hf_{name}": took["hf"].median / took["ours"].median,
        f"speedup_vs_hf_{name}_best": took["hf"].best / took["ours"].best,
        f"ours_{name}_tokens_per_second": written / took["ours"].median,
        f"hf_{name}_tokens_per_second": written / took["hf"].median,
        f"same_tokens_{name}": float(np.mean(mine == others)),
        f"first_call_{name}_seconds": compiling,
    }


def main() -> None:
    options = arguments("tokens per second of greedy generation, ours and Hugging Face's")
    torch.manual_seed(0)
    figures: dict[str, float] = {}
    for config in (TINY, SMALL):
        theirs = GPT2LMHeadModel(config).eval()
        rounds = (20 if options.quick else 60) if config is TINY else (3 if options.quick else 12)
        for setting in SETTINGS:
            if setting.config is config:
                figures |= measure(setting, theirs, rounds)
    write(options, figures, cpu())
    for setting in SETTINGS:
        print(f"{setting.name}: {figures[f'speedup_vs_hf_{setting.name}']:.2f}x Hugging Face (goal >= {setting.goal})")


if __name__ == "__main__":
    main()
