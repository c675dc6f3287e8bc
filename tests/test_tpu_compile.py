"""Every attention kernel that TPUs use compiles for them, forward and backward. Needs libtpu, not a TPU."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / "tpu/compile_attention.py"


@pytest.mark.tpu
@pytest.mark.parametrize("topology", ["v5e:2x2", "v5p:2x2x1"])
@pytest.mark.parametrize("kernel", ["splash", "block_sparse"])
def test_attention_compiles_for_tpu(kernel, topology):
    if find_spec("libtpu") is None:
        pytest.skip("libtpu is not installed: run `make tpu-compile`, or pip install 'jax[tpu]'")
    command = [sys.executable, str(SCRIPT), "--kernel", kernel, "--topology", topology]
    done = subprocess.run(command, capture_output=True, text=True)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    assert done.stdout.count(f"{kernel} ") >= 14 and "FAILED" not in done.stdout
