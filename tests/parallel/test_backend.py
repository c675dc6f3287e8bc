"""jax that cannot start: one line with a remedy, in every verb and entry point."""

import importlib.util
import os
import subprocess
import sys

import pytest
from rarely import rarely

FOREIGN = {"JAX_PLATFORMS": "nonsense", "XLA_FLAGS": ""}


def said(words, cwd, **environment):
    done = subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, timeout=120, cwd=cwd, env=os.environ | environment
    )
    return done.returncode, done.stderr.splitlines()


@pytest.mark.often("nonsense")
@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ("--nonsense", "error: XLA_FLAGS=--nonsense: Unknown flag in XLA_FLAGS: --nonsense; correct it, or unset"),
        ("no-such-file", "error: XLA_FLAGS=no-such-file: Could not open file"),
        (
            "--xla_force_host_platform_device_count=x",
            "error: XLA_FLAGS=--xla_force_host_platform_device_count=x: Couldn",
        ),
    ],
)
def test_flags_that_would_abort_the_process_are_one_line(flags, says, tmp_path):
    status, lines = said(["-m", "jaxgpt", "show", "gpt2/demo"], tmp_path, XLA_FLAGS=flags)
    assert (status, len(lines)) == (2, 1) and lines[0].startswith(says)


@pytest.mark.parametrize(
    "words",
    [
        ["show", "gpt2/demo"],
        ["train", "gpt2/demo"],
        ["ablate", "position"],
        ["lab", "plan", "position"],
        ["sample", "."],
        ["eval", ".", "sts", "--path", "pairs.tsv"],
    ],
    ids=" ".join,
)
@pytest.mark.slow
def test_a_platform_that_is_not_here_is_one_line(words, tmp_path):
    (tmp_path / "pairs.tsv").write_text("sentence1\tsentence2\tscore\none\ttwo\t1\nthree\tfour\t2\n")
    status, lines = said(["-m", "jaxgpt", *words], tmp_path, **FOREIGN)
    assert status == 2 and len(lines) == 1 + (words[0] == "ablate"), lines  # which says first what it would cost
    assert lines[-1].startswith("error: JAX_PLATFORMS=nonsense: jax cannot start") and "unset JAX_P" in lines[-1]
    assert not list(tmp_path.rglob("config.yaml"))


@pytest.mark.parametrize(
    ("platform", "plugin"), [("cuda", "jax_plugins"), rarely("tpu", "libtpu"), rarely("nonsense", "")]
)
def test_python_programs_are_told_too(platform, plugin, tmp_path):
    if plugin and importlib.util.find_spec(plugin):
        pytest.skip("it may be here")
    code = (
        "import jaxgpt\nfrom jaxgpt.spec import ConfigError\n"
        "try:\n    jaxgpt.load('.')\nexcept ConfigError as error:\n    raise SystemExit(str(error))"
    )
    status, lines = said(["-c", code], tmp_path, **FOREIGN | {"JAX_PLATFORMS": platform})
    assert (status, len(lines)) == (1, 1), lines
    assert lines[0].startswith(f"JAX_PLATFORMS={platform}: jax cannot start: ")
