"""What a result rests on besides its config: code, libraries, devices, flags, data."""

import json
import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import jax

from jaxgpt.runs.kernel_choice import kernels
from jaxgpt.runs.objective_run import ObjectiveRun
from jaxgpt.spec import ConfigError
from jaxgpt.spec.small_file import read_small
from jaxgpt.text import TrainingData

FILE = "provenance.json"
LIBRARIES = ("jaxgpt", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "tokenizers", "numpy")


def provenance(run: ObjectiveRun, prepared: TrainingData) -> dict[str, Any]:
    """What provenance.json says of where a run was computed and what it read, as plain data."""
    folder = Path(__file__).parent
    return {
        "command": sys.argv,
        "commit": _git(folder, "rev-parse", "HEAD"),
        "diff": _git(folder, "diff", "HEAD", "--", "."),
        "versions": {"python": platform.python_version()} | {name: _version(name) for name in LIBRARIES},
        "devices": [device.device_kind for device in jax.devices()],
        "host": {"machine": platform.machine(), "cores": os.cpu_count(), "system": platform.platform()},
        "flags": {
            name: os.environ[name] for name in sorted(os.environ) if name.startswith(("XLA_", "JAX_", "LIBTPU_"))
        },
        "corpus_sha256": prepared.corpus_hash,
        "tokenizer_digest": prepared.codec.digest,
        "train_tokens": prepared.train_tokens,
        "val_tokens": prepared.val_tokens,
        "kernel": run.exec.kernel.kind,
        "kernels": kernels(run),
        "layers": run.exec.loop(run.model.depth),
    }


def read_sources(directory: Path) -> dict[str, str]:
    """What provenance.json says a run has read, by field, as far as it can be read."""
    try:
        facts = json.loads(read_small(directory / FILE))
        return {"data.corpus": str(facts["corpus_sha256"]), "tokenizer": str(facts["tokenizer_digest"])}
    except (ConfigError, ValueError, KeyError, TypeError, RecursionError):
        return {}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _git(folder: Path, *words: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *words], cwd=folder, capture_output=True, encoding="utf-8", errors="replace", timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
