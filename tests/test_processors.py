"""`make test-isa` holds XLA to one instruction set after another: here, and in every process that a test starts."""

import os
import subprocess
import sys
from pathlib import Path

import pair

HERE = Path(__file__).parent
ISA = "--xla_cpu_max_isa=SSE4_2"


def test_flags_of_the_caller_stand_behind_our_own():
    code = "import os, conftest; print(os.environ['XLA_FLAGS'])"
    environment = os.environ | {"JAXGPT_TEST_XLA_FLAGS": ISA, "PYTHONPATH": str(HERE)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split()[0].endswith("device_count=8") and done.stdout.split()[-1] == ISA


def test_two_processes_get_them_too(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", f"--xla_force_host_platform_device_count=8 {ISA}")
    assert pair.environment(2)["XLA_FLAGS"] == f"--xla_force_host_platform_device_count=2 {ISA}"
