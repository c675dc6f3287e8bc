"""Each kind of failure is told from the others, recorded whole, and compared by its place."""

import errno
import json
import subprocess
import sys
from typing import get_args

import numpy as np
import pytest

from jaxgpt.lab.workers.failure import Class, classify, describe, read, record, same_in_every_arm, where
from jaxgpt.spec import ConfigError, JaxgptError


class XlaRuntimeError(RuntimeError):
    """As jaxlib names it; newer releases derive JaxRuntimeError."""


class JaxRuntimeError(RuntimeError):
    pass


class OfSomeRelease(JaxRuntimeError):
    pass


def raised(error, cause=None):
    try:
        raise error from cause
    except type(error) as caught:
        return caught


@pytest.mark.parametrize(
    ("error", "cls"),
    [
        (XlaRuntimeError("RESOURCE_EXHAUSTED: Attempting to allocate 3.1G."), "oom"),
        (OfSomeRelease("INTERNAL: CUDA_ERROR_OUT_OF_MEMORY: out of memory"), "oom"),
        (MemoryError(), "oom"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "oom"),
        (raised(RuntimeError("the batch"), MemoryError()), "oom"),
        (XlaRuntimeError("INVALID_ARGUMENT: shapes"), "bug"),
        (RuntimeError("out of memory, says a user's class"), "bug"),
        (OSError(errno.ENOSPC, "No space left on device"), "bug"),
        (JaxgptError("data.txt: cannot be read"), "bug"),
        (ConfigError("optim.lr: expected a number"), "config"),
        (FloatingPointError("invalid value (nan) encountered in mul"), "diverged"),
        (KeyboardInterrupt(), "preempted"),
        (subprocess.CalledProcessError(-9, "jaxgpt"), "preempted"),
        (subprocess.CalledProcessError(-11, "jaxgpt"), "bug"),
        (subprocess.CalledProcessError(1, "jaxgpt"), "bug"),
        (ZeroDivisionError(), "bug"),
    ],
    ids=lambda value: value if isinstance(value, str) else repr(value)[:40],
)
def test_classes(error, cls):
    assert classify(error) == cls
    assert cls in get_args(Class)


def test_real_errors_are_recognised():
    import jax
    import jax.numpy as jnp

    with pytest.raises(jax.errors.JaxRuntimeError) as caught:
        jnp.zeros((1 << 50,)).block_until_ready()
    assert classify(caught.value) == "oom"
    with pytest.raises(MemoryError) as full:
        np.zeros((1 << 50,))
    assert classify(full.value) == "oom"
    with jax.debug_nans(True), pytest.raises(FloatingPointError) as nan:
        jnp.log(-jnp.ones(())).block_until_ready()
    assert classify(nan.value) == "diverged"


def test_no_jax_is_loaded():
    code = "import sys, jaxgpt.lab.workers.failure as f; f.classify(ValueError()); assert 'jax' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_is_recorded_is_read_again(tmp_path):
    def fail(number):
        raise ValueError(f"bad number {number}\nand more")

    failures = []
    for number in (1, 2):
        with pytest.raises(ValueError) as caught:
            fail(number)
        failures.append(describe(caught.value, "bug", number))
        record(tmp_path / "run", caught.value, failures[-1])
        assert read(tmp_path / "run") == failures[-1]
    first, second = failures
    assert first.where == second.where and first.error != second.error and second.attempts == 2
    assert first.where.startswith("ValueError ") and first.where.endswith(
        f"test_failure.py:{fail.__code__.co_firstlineno + 1}"
    )
    assert first.line == "ValueError: bad number 1" and first.time <= second.time
    held = json.loads((tmp_path / "run" / "failure.json").read_text())
    assert held["class"] == "bug" and "bad number 2" in held["traceback"] and "in fail" in held["traceback"]


def test_no_failure_or_a_foreign_file_is_none(tmp_path):
    assert read(tmp_path) is None
    for text in ("", "[]", '{"error": "x"}'):
        (tmp_path / "failure.json").write_text(text)
        assert read(tmp_path) is None


def test_an_error_that_was_never_raised_has_a_type():
    assert where(KeyError("x")) == "KeyError"


@pytest.mark.parametrize(
    ("failures", "hopeless"),
    [
        ("", False),
        ("a1", False),
        ("a1 b1", True),
        ("a1 a1 b1", True),
        ("a1 b2", False),
        ("a1 b2 a1", False),
        ("a2 a1 b1", True),
        ("a1 b2 b1", False),
        ("b1 b1", False),
    ],
)
def test_hopeless_is_alike_in_a_row_over_every_arm(failures, hopeless):
    assert same_in_every_arm([(arm, place) for arm, place in failures.split()], ["a", "b"]) is hopeless
