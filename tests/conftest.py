"""Strict by default: 8 simulated devices, rank promotion raises, no cache of this machine is read or written."""

import os
import tempfile

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8"
os.environ["JAXGPT_CACHE"] = tempfile.mkdtemp(prefix="jaxgpt-tests-")
os.environ.pop("JAXGPT_DATA", None)
