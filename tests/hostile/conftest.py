"""Tests that hand out devices as files must leave them devices: run by root, a verb could put a file in their place."""

import os
import stat

import pytest


@pytest.fixture(autouse=True)
def devices():
    yield
    for path in ("/dev/null", "/dev/zero"):
        assert stat.S_ISCHR(os.stat(path).st_mode), f"{path} is a device no longer"
