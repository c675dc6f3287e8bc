"""Runs that go on from the weights of a finished one."""

import pytest

from jaxgpt import run


@pytest.fixture(scope="module")
def upon(little, tmp_path_factory):
    """`upon(base, fields)`: `some(**overrides)`, a run with `fields` that starts from the weights of a finished
    `little(**base)`, whose folder is `some.base`."""

    def prepare(base, fields):
        folder = tmp_path_factory.mktemp("upon") / "base"
        run(little(**base), folder, quiet=True)

        def some(**overrides):
            return little(**({"start": str(folder)} | fields | overrides))

        some.base = folder
        return some

    return prepare


@pytest.fixture(scope="module")
def whole(some, tmp_path_factory):
    """The folder of `some()`, ended; a module that asks says what `some` is."""
    out = tmp_path_factory.mktemp("whole") / "run"
    assert run(some(), out, quiet=True)["status"] == "finished"
    return out
