"""Two layers of each cell are torch's: outputs, last states, and gradients of inputs and parameters."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from close import assert_close

from jaxgpt.nn.layout import Layout
from jaxgpt.nn.recurrent import RecurrentLayer
from jaxgpt.ops.cells import GRU, LSTM, Elman

pytestmark = pytest.mark.parity
torch = pytest.importorskip("torch", reason="needs torch: pip install 'jaxgpt[peer]'")

B, T, INPUTS, H = 3, 7, 5, 6
CELLS = {"RNN": Elman(), "LSTM": LSTM(), "GRU": GRU()}


def ours(cell, layers, x, start):
    modules = [RecurrentLayer(cell, H, True, 1.0, 0.0, jnp.dtype("float32")) for _ in layers]
    layout, last = Layout(jnp.arange(T)), []
    for number, (module, params) in enumerate(zip(modules, layers, strict=True)):
        x, state = module.apply({"params": params}, x, layout, tuple(s[number] for s in start))
        last.append(state)
    return x, tuple(jnp.stack(s) for s in zip(*last, strict=True))


@pytest.mark.parametrize("name", CELLS)
def test_two_layers_are_torchs(name):
    torch.manual_seed(0)
    cell, theirs = CELLS[name], getattr(torch.nn, name)(INPUTS, H, num_layers=2, batch_first=True)
    rng = np.random.default_rng(0)
    x, *start = (rng.normal(size=shape).astype(np.float32) for shape in ((B, T, INPUTS), *[(2, B, H)] * cell.arrays))
    weigh_y, weigh_last = rng.normal(size=(B, T, H)).astype(np.float32), rng.normal(size=(2, B, H)).astype(np.float32)

    x_t, start_t = torch.tensor(x, requires_grad=True), [torch.tensor(s, requires_grad=True) for s in start]
    y_t, last_t = theirs(x_t, tuple(start_t) if len(start_t) > 1 else start_t[0])
    last_t = last_t if isinstance(last_t, tuple) else (last_t,)
    ((y_t * torch.tensor(weigh_y)).sum() + sum((s * torch.tensor(weigh_last)).sum() for s in last_t)).backward()

    def of(layer, read):
        rows = {name: read(getattr(theirs, f"{name}_l{layer}")).detach().numpy() for name in NAMES}
        return {
            "weight": rows["weight_ih"].T,
            "state_weight": rows["weight_hh"].T,
            "bias": rows["bias_ih"],
            "state_bias": rows["bias_hh"],
        }

    def loss(layers, x, start):
        y, last = ours(cell, layers, x, start)
        return jnp.sum(y * weigh_y) + sum(jnp.sum(s * weigh_last) for s in last), (y, last)

    layers = [of(number, lambda p: p) for number in range(2)]
    grad = jax.jit(jax.value_and_grad(loss, argnums=(0, 1, 2), has_aux=True))
    (_, (y, last)), (d_layers, d_x, d_start) = grad(layers, x, tuple(start))
    assert_close(y, y_t.detach().numpy(), 1e-6)
    assert_close(last, tuple(s.detach().numpy() for s in last_t), 1e-6)
    assert_close(d_layers, [of(number, lambda p: p.grad) for number in range(2)], 2e-6)
    assert_close(d_x, x_t.grad.numpy(), 2e-6)
    assert_close(d_start, tuple(s.grad.numpy() for s in start_t), 2e-6)


NAMES = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
