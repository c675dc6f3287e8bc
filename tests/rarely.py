"""What `make slow` runs beside the cases of `make test`: variations of a property that another case holds.

`@pytest.mark.often("gpt-data", "[ring]")`: of a test's cases `make test` runs those whose node's name holds one of
these; the others are for `make slow`. It serves cases that a test does not list itself, as the members of a seam.
"""

import pytest


def rarely(*case, **options):
    """A case of a parametrised test, for `make slow` alone."""
    return pytest.param(*case, marks=pytest.mark.slow, **options)


def mostly(cases, *kept):
    """The cases with those that are not `kept` for `make slow` alone."""
    return [case if case in kept else rarely(*case) if isinstance(case, tuple) else rarely(case) for case in cases]


def pytest_collection_modifyitems(config, items):
    """Marks as slow what `often` does not name. A name that no case has is an error: it would hide cases for good."""
    cases = {}
    for item in items:
        for mark in item.iter_markers("often"):
            cases.setdefault((item.nodeid.partition("[")[0], mark.args), []).append(item.name)
            if not any(part in item.name for part in mark.args):
                item.add_marker(pytest.mark.slow)
    if any("::" in word for word in config.args):  # of some tests not all cases are here
        return
    for (test, parts), names in cases.items():
        for part in parts:
            if not any(part in name for name in names):
                raise pytest.UsageError(f"{test}: often names {part!r}, and no case is called so")
