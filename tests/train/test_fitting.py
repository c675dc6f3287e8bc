"""`objective.chunk: auto`: whole logits where the compiled step fits, fewer at once where it does not."""

import jax
import numpy as np
import pytest

from jaxgpt.parallel import device_memory
from jaxgpt.spec import parse
from jaxgpt.train import fitting
from jaxgpt.train.compiled_step import batch_shapes, compile_step
from jaxgpt.train.fitting import SPARE, fitted
from jaxgpt.train.program import hyper, program

WIDE = {"model.vocab_size": 4096, "model.num_layers": 1, "batch_size": 32}
ENOUGH = 2**40


@pytest.fixture(scope="module")
def run(tiny):
    return tiny(**WIDE)


@pytest.fixture(scope="module")
def bytes_of(run):
    """`bytes_of(chunk)`: what the step takes with so many logits at once."""
    sizes = {}

    def get(chunk):
        if chunk not in sizes:
            fixed = run.evolve(objective=run.objective.evolve(chunk=chunk or "all"))
            sizes[chunk] = compile_step(fixed, program(fixed, jax.devices()[:1])).memory
        return sizes[chunk]

    return get


def test_what_older_files_call_null_is_auto(run):
    """So that a run of theirs is the same as one of now, and goes on."""
    assert parse(type(run), run.model_dump() | {"objective": {"kind": "language_model", "chunk": None}}) == run


def test_small_logits_are_whole_and_nothing_is_compiled(run):
    fit = fitted(run, ENOUGH)
    assert fit.run.objective.chunk == "all" and fit.step is None and fit.facts == {"chunk": None}


def test_a_number_rules(run):
    fixed = run.evolve(objective=run.objective.evolve(chunk=64))
    fit = fitted(fixed, 1)
    assert fit.run == fixed and fit.facts == {} and fit.step is None


def test_without_a_limit_nothing_is_cut(run):
    assert fitted(run, None).run.objective.chunk == "all"


def test_the_first_step_that_fits_is_taken(run, bytes_of):
    """Whole, a quarter, a sixteenth: by the compiler's count, less what is spared."""
    whole, quarter = bytes_of(None), bytes_of(64)
    assert quarter < 0.8 * whole
    for memory, chunk in ((whole / (1 - SPARE) + 1, None), (whole, 64), (quarter / (1 - SPARE) + 1, 64), (quarter, 16)):
        fit = fitted(run, int(memory), jax.devices()[:1])
        assert fit.facts["chunk"] == chunk and fit.run.objective.chunk == (chunk or "all")
        assert fit.facts["step_bytes"] == fit.step.memory == bytes_of(chunk)
        assert fit.facts["memory_bytes"] == int(memory)
        assert fit.program is program(fit.run, jax.devices()[:1])


def test_what_does_not_fit_at_all_is_said_before_the_first_step(run):
    line = fitted(run, 2**20, jax.devices()[:1]).remark
    assert line.startswith("warning: a step takes") and "exec.accumulate" in line and "\n" not in line


def test_what_the_compiler_refuses_is_cut(run, monkeypatch):
    """A TPU's compiler raises where a GPU's counts; what fits in no way is an error of the compiler's."""
    tried = []

    def refusing(run, program):
        tried.append(run.objective.chunk)
        if run.objective.chunk == "all" or ENOUGH in tried:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Ran out of memory")
        return compile_step(run, program)

    monkeypatch.setattr(fitting, "compile_step", refusing)
    assert fitted(run, 2**28, jax.devices()[:1]).run.objective.chunk == 64 and tried == ["all", 64]
    tried.append(ENOUGH)
    with pytest.raises(jax.errors.JaxRuntimeError, match="Ran out"):
        fitted(run, 2**28, jax.devices()[:1])


@pytest.mark.slow
def test_the_measured_step_is_not_compiled_again(tiny, monkeypatch):
    """Running it finds the program that was measured: of the step's size, one is compiled."""
    run = tiny(**WIDE | {"model.d_model": 32})
    compiled = []
    name = "/jax/core/compile/backend_compile_duration"
    listen = lambda event, seconds, **_: compiled.append(seconds) if event == name else None  # noqa: E731
    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        fit = fitted(run, 2**28, jax.devices()[:1])
        key, values = jax.random.key(0), hyper(run)
        state = fit.program.init(key, values)
        batch = {name: np.zeros(x.shape, x.dtype) for name, x in batch_shapes(run, fit.program).items()}
        batch = jax.device_put(batch, fit.program.batch_shardings(batch))
        compiled.clear()
        jax.block_until_ready(fit.program.step(state, batch, key, values))
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    assert fit.step is not None and not compiled


def test_a_cpu_shares_the_memory_of_its_machine():
    limit = device_memory.memory_limit(jax.devices()[0])
    assert limit is None or 2**25 < limit < 2**46
