"""One training step on a CPU: ours against Hugging Face GPT-2 and against nanoGPT's model, both torch eager, float32.

4 layers, d 128, 4 heads, context 64, batch 12, vocabulary 65, no dropout, AdamW, gradients clipped at norm 1.
Ours is the step that `jaxgpt train configs/gpt2/shakespeare_char_cpu.yaml` runs: once as the file says (nanoGPT's
model has no biases either), once with biases and the tanh GELU, as Hugging Face's model has them.
A step is timed from a batch on the host to parameters that are ready; `best` figures are the fastest step of each.
"""

import os

os.environ["JAX_PLATFORMS"] = "cpu"

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from harness import arguments, cpu, interleaved, seconds, write
from nanogpt import NanoGPT
from transformers import GPT2Config, GPT2LMHeadModel

from jaxgpt.spec import load_yaml
from jaxgpt.train import Run
from jaxgpt.train.program import program

CONFIG = Path(__file__).parent.parent / "configs/gpt2/shakespeare_char_cpu.yaml"
AS_HF = ("model.bias=true", "model.norm.bias=true", "model.feed_forward.activation=gelu_tanh")
GOAL = 0.85


def our_step(run: Run, batch: dict[str, np.ndarray]) -> tuple[Callable[[], Any], float]:
    """A call that makes one update, and the seconds that compiling took."""
    compiled = program(run)
    key = jax.random.key(run.seed)
    hyper = {"lr": jnp.float32(run.optim.lr), "weight_decay": jnp.float32(run.optim.weight_decay)}
    state = compiled.init(key)

    def step() -> None:
        nonlocal state
        state, _ = compiled.step(state, jax.device_put(batch, compiled.batch), key, hyper)
        jax.block_until_ready(state)

    return step, seconds(step)


def torch_step(loss: Callable[[], torch.Tensor], model: torch.nn.Module, run: Run) -> Callable[[], None]:
    """The same update in torch eager."""
    matrices = [p for p in model.parameters() if p.dim() > 1]
    rest = [p for p in model.parameters() if p.dim() == 1]
    groups = [{"params": matrices, "weight_decay": run.optim.weight_decay}, {"params": rest, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=run.optim.lr, betas=(run.optim.b1, run.optim.b2), eps=run.optim.eps)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        loss().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), run.optim.clip)
        optimizer.step()

    return step


def main() -> None:
    options = arguments("milliseconds of one training step, ours and the peers'")
    plain, biased = load_yaml(Run, CONFIG), load_yaml(Run, CONFIG, AS_HF)
    spec = plain.model
    ids = np.random.default_rng(0).integers(0, spec.vocab_size, (plain.batch_size, spec.context + 1), np.int32)
    batch = {"tokens": ids[:, :-1], "targets": ids[:, 1:], "weights": np.ones_like(ids[:, 1:], np.float32)}
    tokens, targets = (torch.from_numpy(part.astype(np.int64)) for part in (ids[:, :-1], ids[:, 1:]))

    config = GPT2Config(
        vocab_size=spec.vocab_size,
        n_positions=spec.context,
        n_embd=spec.d_model,
        n_layer=spec.num_layers,
        n_head=spec.num_heads,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=None,
        eos_token_id=None,
    )
    hf = GPT2LMHeadModel(config).train()
    nano = NanoGPT(spec.vocab_size, spec.context, spec.num_layers, spec.d_model, spec.num_heads).train()
    sizes = {model: sum(p.numel() for p in model.parameters()) for model in (hf, nano)}
    assert sizes == {hf: biased.model.count(), nano: plain.model.count()}, "not the same models"

    ours_biased, compile_biased = our_step(biased, batch)
    ours_plain, compile_plain = our_step(plain, batch)
    calls = {
        "ours_biased": ours_biased,
        "hf_eager": torch_step(lambda: hf(tokens, labels=tokens, use_cache=False).loss, hf, biased),
        "ours": ours_plain,
        "torch_sdpa": torch_step(lambda: nano(tokens, targets), nano, plain),
    }
    took = interleaved(calls, rounds=40 if options.quick else 300, warmup=5)
    figures = {
        "step_ratio_vs_hf_eager": took["ours_biased"].median / took["hf_eager"].median,
        "step_ratio_vs_hf_eager_best": took["ours_biased"].best / took["hf_eager"].best,
        "step_ratio_vs_torch_sdpa": took["ours"].median / took["torch_sdpa"].median,
        "step_ratio_vs_torch_sdpa_best": took["ours"].best / took["torch_sdpa"].best,
        **{f"{name}_ms": 1000 * times.median for name, times in took.items()},
        **{f"{name}_best_ms": 1000 * times.best for name, times in took.items()},
        "compile_seconds": compile_plain,
        "compile_seconds_biased": compile_biased,
    }
    write(options.json, figures, cpu())
    print(f"step_ratio_vs_hf_eager {figures['step_ratio_vs_hf_eager']:.3f} (goal <= {GOAL})")


if __name__ == "__main__":
    main()
