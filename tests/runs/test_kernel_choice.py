"""Which kernel a run gets: told before anything compiles, or refused in one line that names one that can."""

import pytest

from jaxgpt.ops.attention import Auto, Case, Cudnn
from jaxgpt.ops.patterns import Banded, Bidirectional, Causal, Dilated, GlobalWindow, Intersection, Strided
from jaxgpt.runs.kernel_choice import kernels
from jaxgpt.spec import ConfigError

LONG = {"model.context": 4096, "model.d_head": 64}


def chosen(tiny, platform="cpu", **overrides):
    return kernels(tiny(**overrides), platform)


def test_auto_says_what_it_chose_for_each_pattern(tiny):
    pattern = [
        "causal",
        {"kind": "banded", "window": 256},
        {"kind": "per_head", "of": ["causal", {"kind": "strided", "stride": 64}]},
    ]
    fields = LONG | {"model.pattern": pattern, "model.num_layers": 3}
    want = {
        "pattern.0": "chunked",
        "pattern.1": "block_sparse",
        "pattern.2.of.0": "chunked",
        "pattern.2.of.1": "block_sparse",
    }
    assert chosen(tiny, **fields) == want
    on_gpu = chosen(tiny, "gpu", **fields | {"dtype": "bfloat16"})
    want_on_gpu = {
        "pattern.0": "cudnn",
        "pattern.1": "cudnn",
        "pattern.2.of.0": "cudnn",
        "pattern.2.of.1": "cudnn_parts",
    }
    assert on_gpu == want_on_gpu
    assert set(chosen(tiny, "tpu", **fields | {"dtype": "bfloat16"}).values()) == {"splash"}
    assert set(chosen(tiny, **{"model.pattern": pattern[:1]}).values()) == {"reference"}


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"exec.kernel": "cudnn"}, "exec.kernel: cudnn cannot run on a cpu; use chunked (model.pattern.0)"),
        (
            {
                "exec.kernel": "block_sparse",
                "data.documents": "separate",
                "model.pattern": {"kind": "sinks", "window": 2},
            },
            "exec.kernel: block_sparse cannot lay out pattern 'sinks', which counts from each packed document's start; "
            "use chunked (model.pattern.0)",
        ),
    ],
)
def test_a_kernel_that_cannot_is_refused_in_one_line(tiny, fields, line):
    with pytest.raises(ConfigError) as caught:
        chosen(tiny, **fields)
    assert caught.value.problems == [line]


GPU = Case(Causal(), 1024, 1024, 64, "bfloat16", "gpu", "row")


@pytest.mark.parametrize(
    ("case", "why"),
    [
        (GPU, None),
        (GPU._replace(pattern=Banded(window=100)), None),
        (GPU._replace(pattern=Bidirectional()), None),
        (GPU._replace(pattern=Banded(window=100, right=3)), "pattern 'banded'"),
        (GPU._replace(pattern=Dilated(window=100, dilation=2)), "pattern 'dilated'"),
        (GPU._replace(dtype="float32"), "float32"),
        (GPU._replace(d_head=60), "d_head 60"),
        (GPU._replace(d_head=256), "d_head 256"),
        (GPU._replace(bias=True), "bias"),
        (GPU._replace(soft_cap=True), "soft cap"),
        (GPU._replace(dropout=True), "dropout"),
        (GPU._replace(segments=True), "apart"),
        (GPU._replace(numbering="any", queries=1), "cache"),
    ],
)
def test_cudnn_takes_what_the_library_takes(case, why):
    refusal = Cudnn().refusal(case)
    if why is None:
        assert refusal is None
    else:
        assert refusal.startswith("cannot ") and why in refusal and " use " in refusal


@pytest.mark.parametrize(
    ("changed", "kind"),
    [
        ({"pattern": Banded(window=1000)}, "cudnn"),
        ({"pattern": Strided(stride=128)}, "cudnn_parts"),
        ({"pattern": Banded(window=64, right=63)}, "cudnn_parts"),
        ({"pattern": Strided(stride=128), "dtype": "float32"}, "block_sparse"),
        ({"pattern": Strided(stride=128), "dropout": True}, "block_sparse"),
        ({"pattern": Strided(stride=128), "numbering": "any"}, "chunked"),
        ({"dtype": "float32"}, "chunked"),
        ({"pattern": Intersection(of=(Causal(), GlobalWindow(window=64)))}, "block_sparse"),
        ({"pattern": Banded(window=64, right=63), "queries": 300, "keys": 300}, "chunked"),
        ({"pattern": Strided(stride=16), "queries": 200, "keys": 200, "dropout": True}, "reference"),
    ],
    ids=str,
)
def test_auto_takes_what_is_cheapest_on_a_gpu(changed, kind):
    case = GPU._replace(queries=8192, keys=8192)._replace(**changed)
    assert Auto().choose(case).kind == kind


def test_auto_leaves_short_rows_and_single_queries_to_the_plain_kernel():
    auto = Auto()
    assert auto.choose(GPU._replace(queries=1, keys=100_000, numbering="any")).kind == "reference"
    assert auto.choose(GPU._replace(platform="cpu", queries=64, keys=64)).kind == "reference"
    assert (
        auto.choose(GPU._replace(platform="cpu", queries=256, keys=256, pattern=Banded(window=32))).kind
        == "block_sparse"
    )
    assert (
        auto.choose(GPU._replace(platform="cpu", queries=8192, keys=8192, pattern=Strided(stride=128))).kind
        == "block_sparse"
    )
    assert auto.choose(GPU._replace(platform="cpu", queries=700, keys=9000, numbering="any")).kind == "chunked"


@pytest.mark.parametrize(
    ("changed", "kind"),
    [
        ({"queries": 256, "keys": 256}, "spans"),
        ({"queries": 256, "keys": 256, "numbering": "any"}, "reference"),
        ({"queries": 512, "keys": 512}, "spans"),
        ({"queries": 513, "keys": 513}, "chunked"),
    ],
    ids=str,
)
def test_auto_unrolls_rows_of_middle_length_on_a_cpu(changed, kind):
    assert Auto().choose(GPU._replace(platform="cpu", **changed)).kind == kind
