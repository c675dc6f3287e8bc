"""GPT-2 124M's training step, batch 32 × 1024, bfloat16: against nanoGPT's, and with layers and logits in other ways.

`shape` is nanoGPT's own: no biases, exact GELU, vocabulary 50,304, logits whole. `config` is configs/gpt2/124m.yaml as
it stands but for the batch. nanoGPT's model is measured at both. Ratios are of tokens per second: `over_nanogpt` over
nanoGPT's own shape, for both of ours; `config_over_gpt2` over its model with GPT-2's biases, GELU and vocabulary.
"""

from pathlib import Path
from typing import Any

import jax
from our_step import OurStep, random_tokens
from peer import Peer, PeerError, missing, turns

from gpu.part import Report
from jaxgpt.runs import ObjectiveRun
from jaxgpt.spec import ConfigError, load_yaml
from jaxgpt.train.peak_flops import rated_flops

CONFIG = Path(__file__).parents[2] / "configs/gpt2/124m.yaml"
SHAPE = {
    "model.bias": False,
    "model.norm.bias": False,
    "model.feed_forward.activation": "gelu",
    "model.vocab_size": 50304,
    "tokenizer.vocab_size": 50304,
    "objective.chunk": "all",
}
TINY = {
    "model.num_layers": 2,
    "model.d_model": 32,
    "model.num_heads": 2,
    "model.context": 32,
    "model.vocab_size": 261,
    "tokenizer.vocab_size": 261,
}
ROWS = 32


def ours(report: Report, **more: Any) -> ObjectiveRun:
    """configs/gpt2/124m.yaml with another batch, and fields by dotted path."""
    fields = {"batch_size": 2 if report.small else ROWS} | more | (TINY if report.small else {})
    return load_yaml(ObjectiveRun, CONFIG, {name: value for name, value in fields.items()})


def built(report: Report, name: str, run: ObjectiveRun) -> OurStep:
    """The compiled step, with what compiling took and the memory that the program wants."""
    report.at(f"compiling {name}")
    step = OurStep(run, random_tokens(run))
    report.figure(f"{name}_compile_seconds", step.compile_seconds)
    report.figure(f"{name}_bytes", step.bytes)
    return step


def measured(report: Report, calls: dict[str, Any], run: ObjectiveRun, count: int) -> dict[str, float]:
    """Milliseconds and tokens per second of each, and the shares of the device's peak."""
    report.at(f"timing {', '.join(calls)}")
    rounds = 2 if report.small else 5
    seconds = turns({name: lambda c=call: c(count) for name, call in calls.items()}, rounds, 1, report.note)
    tokens = run.batch_size * run.seq_len
    for name, took in seconds.items():
        report.figure(f"{name}_ms", 1000 * took)
        report.figure(f"{name}_tokens_per_second", tokens / took)
        if (peak := rated_flops()) is not None:
            report.figure(f"{name}_mfu", tokens * run.flops_per_token() / took / peak)
    if (available := (jax.devices()[0].memory_stats() or {}).get("bytes_limit")) is not None:
        report.figure("bytes_available", available)
    return seconds


def against_nanogpt(report: Report) -> None:
    """Ours and nanoGPT's, at both shapes."""
    runs = {"shape": ours(report, **SHAPE), "config": ours(report)}
    sizes = ("vocab_size", "context", "num_layers", "d_model", "num_heads")
    shape, config = ({name: getattr(run.model, name) for name in sizes} for run in runs.values())
    shapes = {"nanogpt": shape, "gpt2": config | {"bias": True, "gelu": "tanh"}}
    count = 2 if report.small else 10
    lacks = missing("torch")
    if lacks:
        report.note(lacks)
        for name, run in runs.items():
            measured(report, {name: built(report, name, run).block}, run, count)
        return
    optim = runs["shape"].optim.model_dump()
    with Peer("gpu/torch_training.py", shapes, runs["shape"].batch_size, optim) as peer:
        both = {"shape": "nanogpt", "config": "gpt2"}
        calls: dict[str, Any] = {}
        for name, theirs in both.items():
            run, building = runs[name], peer.begin("build", theirs)
            calls[name] = built(report, name, run).block
            report.at(f"torch compiling {theirs}")
            try:
                parameters, took = building.result()
                report.figure(f"{theirs}_compile_seconds", took)
                if parameters != run.model.count():
                    report.note(f"{theirs} has {parameters} parameters, ours {run.model.count()}")
                calls[theirs] = lambda n, name=theirs: peer.ask("block", name, n)
            except PeerError as error:
                report.note(str(error))
            seconds = measured(report, calls, run, count)
            for peer_name in both.values():
                if peer_name in seconds and (name, peer_name) != ("shape", "gpt2"):
                    report.figure(f"{name}_over_{peer_name}", seconds[peer_name] / seconds[name])
            del calls[name]
        if calls and (most := peer.ask("memory")) > 0:
            report.figure("nanogpt_bytes", most)


def scan(report: Report) -> None:
    """nanoGPT's shape, layers in a loop on the device, and written out."""
    runs = {way: ours(report, **SHAPE, **{"exec.layers": way}) for way in ("unroll", "scan")}
    steps = {way: built(report, way, run) for way, run in runs.items()}
    seconds = measured(
        report, {way: step.block for way, step in steps.items()}, runs["scan"], 2 if report.small else 10
    )
    report.figure("over_unrolled", seconds["unroll"] / seconds["scan"])


def logits(report: Report) -> None:
    """configs/gpt2/124m.yaml with the logits of all tokens at once, of 8,192, and as `objective.chunk: auto` has it."""
    steps, run = {}, ours(report)
    for name, chunk in (("auto", "auto"), ("whole", "all"), ("chunked", 8 if report.small else 8192)):
        try:
            run = ours(report, **{"objective.chunk": chunk})
        except ConfigError as error:
            report.note(f"no objective.chunk: {chunk} here: {error}")
            continue
        steps[name] = built(report, name, run)
    measured(report, {name: step.block for name, step in steps.items()}, run, 2 if report.small else 10)
