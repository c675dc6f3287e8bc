"""Whether a change of the code changes what is trained, to the bit: a net for moves that shall change nothing.

    python bench/same_bits.py record FOLDER                    before the change
    python bench/same_bits.py check FOLDER                     after it: "equal", or what differs; exit status 1
    python bench/same_bits.py check FOLDER --renamed 'head/=lm_head/' ...      where parameters got another name

Tiny runs of every kind are trained for 20 steps; what is compared are their losses and every leaf of their weights.
A parameter's name decides how it is initialised, so a run whose names change starts from the recorded weights. Names
that the package itself translates, as those of older checkpoints, need not be given.
Recordings hold for one machine and one set of versions: processors and compilers round differently.
"""

import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

os.environ["JAX_PLATFORMS"] = "cpu"

CASES = {
    "gpt1": {"model": {"kind": "gpt1", "dropout": 0.1}, "ema": 0.9},
    "gpt2": {"model": {"kind": "gpt2", "dropout": 0.1}, "optim": {"kind": "muon", "lr": 1e-2}},
    "gpt3": {
        "model": {"kind": "gpt3", "pattern": [{"kind": "causal"}, {"kind": "banded", "window": 4}]},
        "optim": {"kind": "lion", "lr": 1e-3},
        "schedule": {"kind": "wsd"},
    },
    "llama": {
        "model": {"kind": "llama", "num_kv_heads": 1},
        "optim": {"kind": "adafactor", "lr": 1e-2},
        "exec": {"layers": "scan", "remat": "block"},
    },
    "moe": {
        "model": {"kind": "gpt2", "feed_forward": {"kind": "moe", "num_experts": 4, "top_k": 2}},
        "exec": {"accumulate": 2},
        "batch_ramp": {"start": 4, "tokens": 256, "stairs": 2},
    },
    "bert": {
        "model": {"kind": "bert", "dropout": 0.1, "next_sentence": True},
        "objective": {"kind": "masked_language_model", "next_sentence": {}},
        "tokenizer": {"kind": "wordpiece", "vocab_size": 200},
    },
    "simcse": {
        "model": {
            "kind": "bert",
            "dropout": 0.1,
            "pooler": False,
            "text_head": {"kind": "contrastive", "pooling": "mean"},
        },
        "objective": {
            "kind": "info_nce",
            "temperature": 0.05,
            "chunk": 4,
            "masking": {"predictions": 3},
            "masking_weight": 0.1,
        },
        "tokenizer": {"kind": "wordpiece", "vocab_size": 200},
        "data": {"columns": 2, "apart": True},
    },
    "temperature": {
        "model": {"kind": "bert", "pooler": False, "text_head": {"kind": "contrastive", "temperature": 0.07}},
        "objective": {"kind": "info_nce"},
        "tokenizer": {"kind": "wordpiece", "vocab_size": 200},
        "data": {"columns": 2},
        "optim": {"kind": "adamw", "lr": 1e-2, "weight_decay": 0},
    },
    "fsdp": {"model": {"kind": "gpt2", "dropout": 0.1}, "exec": {"mesh": {"data": 1, "fsdp": 4, "tensor": 2}}},
    "pipeline": {
        "model": {"kind": "gpt2", "dropout": 0.1},
        "exec": {"mesh": {"data": 4, "pipeline": 2}, "pipeline": {"microbatches": 2}},
    },
    "fused": {"model": {"kind": "gpt2", "dropout": 0.1}},
    "resumed": {"model": {"kind": "gpt2", "dropout": 0.1}, "exec": {"save_every": 5}},
}
"""What each run has of its own; `BASE` holds the rest."""
WIDE = ("fsdp", "pipeline", "fused")
"""Those on 8 simulated devices."""
SEEDS = (0, 1)
"""Of the lanes of `fused`; all else has the first."""
BASE: Mapping[str, Any] = {
    "model": {"num_layers": 2, "d_model": 16, "num_heads": 2, "context": 16},
    "tokenizer": "byte",
    "data": {"val_fraction": 0.1},
    "batch_size": 8,
    "steps": 20,
    "optim": {"kind": "adamw", "lr": 1e-2, "weight_decay": 0.1},
    "exec": {"log_every": 1, "save_every": None, "compilation_cache": False},
    "eval": {"every": 10},
}


class Stop(Exception):
    """Ends a run from outside."""


def merged(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    both = dict(base)
    for name, value in own.items():
        old = both.get(name)
        inner = isinstance(value, Mapping) and isinstance(old, Mapping) and value.get("kind") in (None, old.get("kind"))
        both[name] = merged(old, value) if inner or name == "model" else value
    return both


def corpora(folder: Path) -> tuple[Path, Path]:
    """A text, and pairs of sentences."""
    words = ["the", "cat", "saw", "no", "small", "bird", "under", "green", "trees", "and", "went", "home"]
    lines = [" ".join(words[(i * k + k * k) % len(words)] for k in range(1, 9)) + f" {i}.\n" for i in range(600)]
    text, pairs = folder / "text.txt", folder / "pairs.csv"
    text.write_text("".join(lines), encoding="utf-8")
    rows = [f"{a.strip()},{b.strip()}\n" for a, b in zip(lines[::2], lines[1::2], strict=True)]
    pairs.write_text("".join(rows), encoding="utf-8")
    return text, pairs


def first_keys() -> Any:
    """What `Model.init` is called with, for each of `SEEDS`."""
    import jax
    import jax.numpy as jnp

    return jnp.stack([jax.random.fold_in(jax.random.key(seed), 0) for seed in SEEDS])


@contextmanager
def start_from(model: Any, weights: Mapping[str, Any] | None) -> Iterator[None]:
    """Within it, models of this class start from `weights` (by path, a seed each) instead of drawing their own."""
    import jax
    import jax.numpy as jnp
    from flax.traverse_util import unflatten_dict

    cls, own, known = type(model), type(model).init, jax.random.key_data(first_keys())

    def recorded(self: Any, key: Any) -> Any:
        lane = jnp.argmax(jnp.all(known == jax.random.key_data(key), axis=-1))
        return unflatten_dict({path: jnp.asarray(leaf)[lane] for path, leaf in weights.items()}, sep="/")

    if weights is not None:
        cls.init = recorded
    try:
        yield
    finally:
        cls.init = own


def train(name: str, folder: Path, start: Mapping[str, Any] | None) -> Iterator[tuple[str, Path]]:
    """Trains a case; yields the name and folder of every run in it."""
    import jaxgpt
    from jaxgpt import run
    from jaxgpt.runs import Run
    from jaxgpt.spec import parse
    from jaxgpt.train.fused.loop import run_fused

    text, pairs = corpora(folder)
    own = CASES[name]
    corpus = {"data": {"corpus": str(pairs if "columns" in own.get("data", {}) else text)}}
    spec = parse(Run, merged(merged(BASE, corpus), own))
    with start_from(spec.model, start):
        if name == "fused":
            runs = [spec.evolve(seed=i, optim=spec.optim.evolve(lr=1e-2 / (i + 1))) for i in SEEDS]
            outs = [folder / f"fused_{i}" for i in range(len(runs))]
            run_fused(runs, outs, quiet=True)
            yield from ((out.name, out) for out in outs)
            return
        out = folder / name
        if name == "resumed":

            def stop(row: dict[str, Any]) -> None:
                if row.get("step") == 13:
                    raise Stop

            with suppress(Stop):
                run(spec, out, quiet=True, watch=stop)
        jaxgpt.run(spec, out, quiet=True)
        yield name, out


def measure(name: str, start: Mapping[str, Any] | None = None) -> tuple[dict[str, Any], Any]:
    """`{run: {"losses", "weights": {path: digest}}}` of a case, and its model."""
    import jaxgpt

    runs = {}
    with tempfile.TemporaryDirectory() as scratch:
        for own, out in train(name, Path(scratch), start):
            rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
            losses = [[row["step"], row.get("train/loss"), row.get("val/loss"), row.get("grad_norm")] for row in rows]
            loaded = jaxgpt.load(out)
            weights = {path: _digest(leaf) for path, leaf in sorted(_flat(loaded.params).items())}
            runs[own] = {"losses": losses, "weights": weights}
    return runs, loaded.model


def _flat(tree: Any) -> dict[str, Any]:
    import numpy as np
    from flax.traverse_util import flatten_dict

    return {path: np.asarray(leaf) for path, leaf in flatten_dict(tree, sep="/").items()}


def _digest(leaf: Any) -> str:
    return f"{leaf.dtype} {leaf.shape} " + hashlib.sha256(leaf.tobytes()).hexdigest()[:16]


def worker(verb: str, names: list[str], folder: Path, into: Path, renamed: list[str]) -> None:
    """Measures `names` in this process, into `NAME.json`: {"drawn", "given"}, runs that start from weights of their
    own and, with `record` or names that changed, from those in `folder/NAME.npz`."""
    import jax
    import numpy as np

    for name in names:
        both: dict[str, Any] = {}
        if verb == "record" or which(folder, name, renamed) == "drawn":
            both["drawn"], model = measure(name)
        if verb == "record":
            np.savez(folder / f"{name}.npz", **_flat(jax.vmap(model.init)(first_keys())))
        if verb == "record" or "drawn" not in both:
            with np.load(folder / f"{name}.npz") as recorded:
                start = {rename(path, renamed): recorded[path] for path in recorded.files}
            both["given"], _ = measure(name, start)
        (into / f"{name}.json").write_text(json.dumps(both, indent=1), encoding="utf-8")
        print(f"{name} done", file=sys.stderr, flush=True)


def which(folder: Path, name: str, renamed: list[str]) -> str:
    """Which of a case's recorded runs to compare with: `given` where names have changed, else `drawn`."""
    runs = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))["drawn"].values()
    changed = any(rename(path, renamed) != path for run in runs for path in run["weights"])
    return "given" if changed else "drawn"


def rename(path: str, renamed: list[str]) -> str:
    from jaxgpt.runs.checkpoint.leaf_names import renamed as today

    path = today(path)
    for rule in renamed:
        old, _, new = rule.partition("=")
        path = re.sub(old, new, path)
    return path


def differences(old: Mapping[str, Any], new: Mapping[str, Any], renamed: list[str]) -> Iterator[str]:
    for run in old:
        before, after = old[run], new[run]
        if before["losses"] != after["losses"]:
            first = next((a for a, b in zip(before["losses"], after["losses"], strict=False) if a != b), None)
            yield f"{run}: losses differ from step {first[0] if first else 'the number of rows'} on"
        expected = {rename(path, renamed): digest for path, digest in before["weights"].items()}
        if missing := sorted(expected.keys() - after["weights"].keys()):
            yield f"{run}: no weights {missing[:4]}, {len(missing)} in all"
        if fresh := sorted(after["weights"].keys() - expected.keys()):
            yield f"{run}: weights of new names {fresh[:4]}, {len(fresh)} in all"
        common = expected.keys() & after["weights"].keys()
        if unequal := sorted(path for path in common if expected[path] != after["weights"][path]):
            yield f"{run}: {len(unequal)} of {len(common)} weights differ, as {unequal[0]}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("verb", choices=["record", "check"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="*", default=list(CASES), choices=CASES, help="these cases")
    parser.add_argument(
        "--renamed", nargs="*", default=[], metavar="OLD=NEW", help="a regular expression and its place"
    )
    parser.add_argument("--into", type=Path, help=argparse.SUPPRESS)  # in a process of its own
    options = parser.parse_args()
    if options.into is not None:
        return worker(options.verb, options.only, options.folder, options.into, options.renamed)
    options.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        into = options.folder if options.verb == "record" else Path(scratch)
        for devices in (1, 8):
            names = [name for name in options.only if (name in WIDE) == (devices == 8)]
            flags = f"--xla_force_host_platform_device_count={devices} --xla_backend_optimization_level=0"
            words = [sys.executable, __file__, options.verb, options.folder, "--into", into, "--only", *names]
            if names:
                more = ["--renamed", *options.renamed] if options.renamed else []
                subprocess.run([*words, *more], check=True, env=os.environ | {"XLA_FLAGS": flags})
        if options.verb == "record":
            return print(f"recorded {len(options.only)} cases in {options.folder}")
        lines: list[str] = []
        for name in options.only:
            old, new = (json.loads((at / f"{name}.json").read_text(encoding="utf-8")) for at in (options.folder, into))
            runs = which(options.folder, name, options.renamed)
            lines += differences(old[runs], new[runs], options.renamed)
    print("\n".join(lines) if lines else f"equal: {len(options.only)} cases")
    raise SystemExit(bool(lines))


if __name__ == "__main__":
    main()
