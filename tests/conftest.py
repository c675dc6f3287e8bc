"""Strict by default: 8 simulated devices, warnings are errors, no cache of this machine is read or written.

XLA compiles without optimisation, which takes an eighth of the time; parameters come from numpy, which takes none.
JAXGPT_TEST_XLA_FLAGS is added to its flags, here and in every process that a test starts: `make test-isa` sets it.
"""

import gc
import os
import signal
import sys
import tempfile
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = (
    "--xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0"
    " --xla_cpu_parallel_codegen_split_count=1 --xla_llvm_disable_expensive_passes=true "
    # Later ones do not know it, and end the process.
    + ("--xla_cpu_use_fusion_emitters=false " if version("jaxlib").startswith("0.10.") else "")
    + os.environ.get("JAXGPT_TEST_XLA_FLAGS", "")
)
os.environ["JAXGPT_CACHE"] = tempfile.mkdtemp(prefix="jaxgpt-tests-")
os.environ.setdefault("JAXGPT_TEST_DATA", os.environ.pop("JAXGPT_DATA", ""))

import numpy as np
import pytest
import rarely
from hypothesis import HealthCheck, settings

settings.register_profile("tests", deadline=None, suppress_health_check=[HealthCheck.too_slow])  # of busy machines
settings.load_profile("tests")

with suppress(ValueError):  # on another thread than the main one
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # of `nohup`, or a shell's `&`: tests of Ctrl-C would wait
        signal.signal(signal.SIGINT, signal.default_int_handler)
gc.set_threshold(50_000, 20, 100)  # tracing makes many objects and few cycles: looking for them takes 5% of the time

pytest_collection_modifyitems = pytest.hookimpl(tryfirst=True)(rarely.pytest_collection_modifyitems)  # before `-m`

LICENCE = Path(__file__).parent.parent / "LICENSE"

TINY = {
    "model": {"kind": "gpt2", "num_layers": 2, "d_model": 16, "num_heads": 2, "context": 8, "vocab_size": 32},
    "tokenizer": "byte",
    "batch_size": 8,
    "steps": 20,
    "optim": {"kind": "adamw", "lr": 1e-2, "eps": 1e-4, "weight_decay": 0.1},
}


@pytest.fixture(scope="module", autouse=True)
def _short_collections():
    """What jax caches of a module's programs lives on; no later collection looks through it, which takes seconds."""
    yield
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def data_folder():
    """The folder of real data that JAXGPT_DATA named, for the tests that may use it; all others run without."""
    return Path(os.environ["JAXGPT_TEST_DATA"])


@pytest.fixture(scope="session")
def tiny():
    """`tiny(**{"model.dropout": 0.1})`: a Run of two narrow layers, with overrides by dotted path."""
    from jaxgpt.runs import Run
    from jaxgpt.spec import apply_overrides, parse

    return lambda **overrides: parse(Run, apply_overrides(TINY, overrides, Run))


@pytest.fixture(scope="session")
def little(tiny):
    """`little(**{"model.dropout": 0.1})`: a Run on bytes of English, with overrides by dotted path."""
    fixed = {"model.num_layers": 1, "model.vocab_size": None, "data.corpus": str(LICENCE), "data.val_tokens": 200}
    return lambda **overrides: tiny(**(fixed | overrides))


@pytest.fixture(scope="module")
def one_device():
    """From here on a module's runs train on one of the simulated devices: quicker, where the others are not tested."""
    import jax

    first = jax.devices()[:1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jax, "devices", lambda: first)
        yield


@pytest.fixture
def jaxgpt_(monkeypatch, capsys):
    """`jaxgpt_("train", ...)`: exit status, standard output, lines of standard error."""
    from jaxgpt.cli import main

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["jaxgpt", *map(str, words)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            main()
        out, err = capsys.readouterr()
        return caught.value.code or 0, out, err.splitlines()

    return call


@pytest.fixture
def printed(jaxgpt_):
    """`printed("show", ...)`: standard output of a verb that succeeds."""

    def call(*words):
        status, out, err = jaxgpt_(*words)
        assert not status, err
        return out

    return call


@pytest.fixture(scope="session")
def weights():
    """`weights(model)`: random parameters. Nothing compiles; unlike after `init`, no bias is 0 and no gain is 1."""
    import jax

    def draw(model, seed=0, std=0.2):
        rng = np.random.default_rng(seed)

        def one(path, leaf):
            gain = path[-1].key == "scale"
            return (gain + std * rng.standard_normal(leaf.shape)).astype(leaf.dtype)

        return jax.tree_util.tree_map_with_path(one, model.shapes())

    return draw


@pytest.fixture(scope="session")
def batch():
    """8 rows of 8 tokens below 32, with uneven weights."""
    rng = np.random.default_rng(1)
    ids = rng.integers(0, 32, (8, 9), dtype=np.int32)
    return {"tokens": ids[:, :-1], "targets": ids[:, 1:], "weights": rng.uniform(0, 2, (8, 8)).astype(np.float32)}
