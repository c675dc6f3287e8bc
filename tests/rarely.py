"""What `make slow` runs beside the cases of `make test`: variations of a property that another case holds."""

import pytest


def rarely(*case, **options):
    """A case of a parametrised test, for `make slow` alone."""
    return pytest.param(*case, marks=pytest.mark.slow, **options)


def mostly(cases, *kept):
    """The cases with those that are not `kept` for `make slow` alone."""
    return [case if case in kept else rarely(*case) if isinstance(case, tuple) else rarely(case) for case in cases]
