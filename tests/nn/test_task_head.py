"""The task head: which state it reads, what dropout does to it, and what the data settle of it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from close import assert_close

from jaxgpt.models import BERT, GPT2
from jaxgpt.nn.task_head import TaskHead
from jaxgpt.spec import ConfigError, parse

SIZE = {"num_layers": 1, "d_model": 16, "num_heads": 2, "context": 8, "vocab_size": 32}
HEAD = {"kind": "task", "labels": ("no", "yes", "maybe"), "dropout": 0.5}
MODELS = {
    "decoder": GPT2(**SIZE, text_head=HEAD),
    "encoder": BERT(**SIZE, text_head=HEAD),
    "without pooler": BERT(**SIZE, pooler=False, text_head=HEAD),
    "mean": GPT2(**SIZE, text_head=HEAD | {"pooling": "mean"}),
}
LENGTHS = np.array([8, 3, 5, 1])
REAL = np.arange(8) < LENGTHS[:, None]


@pytest.mark.parametrize("name", MODELS)
def test_it_reads_what_the_model_sums_a_row_up_to(name, weights, batch):
    spec = MODELS[name]
    model, given = spec.build(), {"params": weights(spec)}
    tokens, segments = jnp.asarray(batch["tokens"][:4]), jnp.asarray(REAL.astype(np.int32))
    hidden = model.apply(given, tokens, segments=segments, method="hidden")
    first, last = hidden[:, 0], hidden[np.arange(4), LENGTHS - 1]
    pooled = {
        "decoder": lambda: last,
        "encoder": lambda: model.apply(given, hidden, method="pool"),
        "without pooler": lambda: first,
        "mean": lambda: (hidden * REAL[..., None]).sum(1) / LENGTHS[:, None],
    }[name]()
    out = given["params"]["text_head"]["out"]
    made = model.apply(given, tokens, segments=segments, method="represent")
    assert made.shape == (4, 3) and made.dtype == jnp.float32
    assert_close(made, pooled @ out["weight"] + out["bias"])


def test_token_types_reach_it(weights, batch):
    spec = MODELS["encoder"]
    read = jax.jit(
        lambda types: spec.build().apply(
            {"params": weights(spec)}, batch["tokens"], token_types=types, method="represent"
        )
    )
    types = np.zeros((8, 8), np.int32)
    types[:4, 4:] = 1
    assert (read(types) != read(np.zeros_like(types))).any(1).tolist() == [True] * 4 + [False] * 4


def test_rows_of_several_states_lose_the_same_channels(weights):
    spec = MODELS["decoder"]
    params = weights(spec) | {"text_head": {"out": {"weight": jnp.eye(16, 3), "bias": jnp.zeros(3)}}}
    judge = lambda x: spec.build().apply(  # noqa: E731
        {"params": params}, x, True, method="judge", rngs={"dropout": jax.random.key(1)}
    )
    lost = np.asarray(judge(jnp.ones((64, 5, 16)))) == 0
    assert (lost == lost[:, :1]).all() and 0.3 < lost.mean() < 0.7


def test_the_data_name_its_outputs():
    head = TaskHead()
    assert head.size(16) == 1 and head.settle(("a", "b"), None).size(16) == 2
    assert head.settle(None, (2.5, 1.0)).scale == (2.5, 1.0)
    named = TaskHead(labels=("a", "b"))
    assert named.settle(("a", "b"), None) == named == named.settle(None, None)
    with pytest.raises(ConfigError, match=r"model\.text_head\.labels: \('a', 'b'\) are not those of the data"):
        named.settle(("b", "a"), None)


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"labels": ("a", "b", "a")}, "'a' stands there twice"),
        ({"labels": ("a",)}, "at least 2"),
        ({"pooling": "men"}, "unknown pooling 'men'; did you mean 'mean'"),
        ({"scale": (0.0, 0.0)}, "greater than 0"),
    ],
)
def test_what_does_not_fit_is_one_line(fields, line):
    with pytest.raises(ConfigError, match=line) as caught:
        parse(TaskHead, fields)
    assert len(caught.value.problems) == 1
