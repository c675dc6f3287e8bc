"""How a run is computed, where that is left to the library."""

import pytest

from jaxgpt.runs import exec as module
from jaxgpt.runs.exec import Exec


@pytest.mark.parametrize(
    ("platform", "remat", "longest"),
    [("tpu", "none", 15), ("gpu", "none", 48), ("gpu", "block", 15), ("cpu", "none", 10**4)],
)
def test_layers_are_unrolled_up_to_a_depth_by_platform(monkeypatch, platform, remat, longest):
    monkeypatch.setattr(module, "platform", lambda: platform)
    how = Exec(remat=remat)
    assert how.loop(longest) == "unroll"
    assert how.loop(longest + 1) == ("unroll" if platform == "cpu" else "scan")
    assert Exec(layers="scan", remat=remat).loop(1) == "scan"
