"""Recurrent language models: Elman RNNs, LSTMs and GRUs. B batch, T tokens, D width of the last layer, V vocabulary."""

from typing import Annotated, Any, ClassVar, Self

import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict
from jax import lax
from jax.typing import DTypeLike
from pydantic import Field, NonNegativeFloat, PositiveFloat, model_validator

from jaxgpt.models.model import Model, Trained, all_trained
from jaxgpt.models.text_module import TextModule
from jaxgpt.models.transformer import MOST_PARAMETERS
from jaxgpt.nn.dropout import Dropout
from jaxgpt.nn.layout import Layout
from jaxgpt.nn.linear import Linears
from jaxgpt.nn.recurrent import RecurrentLayer, TokenTable, Unembed
from jaxgpt.nn.remat import Remat
from jaxgpt.nn.stack import Loop
from jaxgpt.ops.attention import Case, Kernel, Numbering, Reference
from jaxgpt.ops.cells import LSTM, Cell, State
from jaxgpt.ops.patterns import Pattern
from jaxgpt.ops.pooling import last
from jaxgpt.ops.sharding import constrain
from jaxgpt.spec.inputs import enabled
from jaxgpt.spec.sizes import Width

HEADS = 10**6
"""Above all layers."""
Rate = Annotated[NonNegativeFloat, Field(lt=1)]


class Recurrent(Model):
    """Layers of one kind of cell between an embedding and a softmax over the vocabulary.

    Rows begin with a state of zeros. A row may be as long as one likes: `context` is the longest in training.
    """

    citation = "Mikolov et al. 2010; Zaremba et al. 2014; Merity et al. 2018 (AWD-LSTM)"
    inputs = switches = (
        "dropout",
        "input_dropout",
        "output_dropout",
        "word_dropout",
        "weight_drop",
        "activation_penalty",
        "slowness_penalty",
    )
    sizes: ClassVar[dict[str, dict[str, Any]]] = {
        "small": {"d_model": 200, "units": (200, 200), "init_range": 0.1},
        "medium": {"d_model": 650, "units": (650, 650), "init_range": 0.05},
        "large": {"d_model": 1500, "units": (1500, 1500), "init_range": 0.04},
        "awd": {"d_model": 400, "units": (1150, 1150, 400), "tied": True, "two_biases": True},
    }
    cell: Cell = LSTM()
    d_model: Width
    """Of a token's vector."""
    units: Annotated[tuple[Width, ...], Field(max_length=64)]
    """Of each layer, from the first on."""
    two_biases: bool = False
    """Whether what the state contributes has a bias of its own, as in torch and cuDNN."""
    lm_head: bool = True
    """Whether hidden states are scored against the vocabulary; without it the model ends with them."""
    tied: bool = False
    """Whether the output scores against the token embedding, beside a bias (Press & Wolf 2017)."""
    init_range: PositiveFloat | None = None
    """Parameters start evenly over ±this; None: over ±1/√units of a layer, ±0.1 in tables (torch; AWD-LSTM)."""
    dropout: Rate = 0.0
    """Between layers. Never from a state to the next, as Zaremba et al. 2014 have it."""
    input_dropout: Rate = 0.0
    """Of token vectors."""
    output_dropout: Rate = 0.0
    """Of what the last layer gives."""
    locked: bool = False
    """Whether those three drop the same numbers at all tokens of a row."""
    word_dropout: Rate = 0.0
    """Share of the vocabulary whose vectors are zero in a step."""
    weight_drop: Rate = 0.0
    """Share of the numbers of the states' matrices that are zero in a step (Wan et al. 2013)."""
    activation_penalty: NonNegativeFloat = 0.0
    """α of AWD-LSTM: times the mean square of what the last layer gives, after dropout, added to the loss."""
    slowness_penalty: NonNegativeFloat = 0.0
    """β of AWD-LSTM: times the mean square of its change from a token to the next, before dropout."""

    @model_validator(mode="after")
    def _can_be_built(self) -> Self:
        problems = [] if self.text_head is None else self.text_head.problems()
        if not self.units:
            raise ValueError("units needs at least one layer, for example [200, 200]")
        inputs = (self.d_model, *self.units)
        matrices = sum(self.cell.gates * out * (into + out) for into, out in zip(inputs, self.units, strict=False))
        if matrices + (self.d_model + self.units[-1]) * (self.vocab_size or 0) > MOST_PARAMETERS:
            problems.append(
                f"d_model {self.d_model}, units {self.units}: more than {MOST_PARAMETERS:.0e} parameters; lower one"
            )
        if self.lm_head and self.tied and self.units[-1] != self.d_model:
            problems.append(
                f"tied scores {self.units[-1]} units of the last layer against vectors of d_model {self.d_model}; make "
                "them the same, or set tied false"
            )
        if self.text_head is not None and self.text_head.layered and len({*self.units}) > 1:
            problems.append(f"text_head reads all layers, and units {self.units} differ; use one size, or another head")
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def build(
        self, kernel: Kernel = Reference(), dtype: DTypeLike = "float32", loop: Loop = "unroll", remat: Remat = "none"
    ) -> "RecurrentLM":
        """The module; `vocab_size` must be known by now. The other arguments are for models with attention."""
        if self.vocab_size is None:
            raise ValueError("model.vocab_size is not set")
        return RecurrentLM(self, jnp.dtype(dtype))

    def init(self, key: jax.Array) -> dict[str, Any]:
        """See `Model.init`."""
        module = self.build()
        params: dict[str, Any] = module.init(key, jnp.zeros((1, 1), jnp.int32), method="init_all_heads")["params"]
        return params

    def flops_per_token(
        self, length: int, dense: bool = True, scored: float = 1.0, trained: Trained = all_trained
    ) -> float:
        """6·(parameters that a token meets), where all are trained; see `Transformer.flops_per_token`. A gradient goes
        back through the states of the lowest layer in which anything is trained, and not below it."""
        paths = flatten_dict(self.shapes(), sep="/")
        lowest = min((_height(path) for path in paths if trained(path)), default=HEADS)
        total = 0.0
        for path, leaf in paths.items():
            scores = path.startswith("lm_head/") or (path == "embed/token" and self.lm_head and self.tied)
            height = HEADS if scores else _height(path)
            through = lowest < height or (lowest == height and path.endswith("/state_weight"))
            met = scored if scores else 0 if path.startswith(("embed/", "text_head/")) else 1
            total += met * leaf.size * (2 + 2 * trained(path) + 2 * through)
        return total

    def named_patterns(self) -> dict[str, Pattern]:
        """None: nothing attends."""
        return {}

    def cases(
        self, length: int, dtype: str, platform: str, numbering: Numbering, segments: bool, token_parts: int = 1
    ) -> dict[str, Case]:
        """None."""
        return {}

    def cache(self, rows: int, slots: int, dtype: DTypeLike = "float32") -> Any:
        """The state of each layer, float32 (rows, 1, 1, units), as a cache has axes of heads and slots: as large for a
        long row as for a short one."""
        return tuple((jnp.zeros((rows, 1, 1, units), jnp.float32),) * self.cell.arrays for units in self.units)

    @property
    def embedded_tokens(self) -> int:
        """None: there is no adapter."""
        return 0

    @property
    def depth(self) -> int:
        """One: its layers are no loop, and no pipeline divides them."""
        return 1

    @property
    def sequential(self) -> bool:
        """True."""
        return True

    @property
    def width(self) -> int:
        """Units of the last layer."""
        return self.units[-1]

    @property
    def heads(self) -> int:
        """One: a mesh's tensor axis divides nothing."""
        return 1

    @property
    def layer_patterns(self) -> tuple[Pattern, ...]:
        """None."""
        return ()

    @property
    def continues(self) -> bool:
        """Whether there is an output over the vocabulary."""
        return self.lm_head

    @property
    def endless(self) -> bool:
        """True: a state forgets at its own pace."""
        return True

    @property
    def pooling(self) -> str:
        """`last`: the last token has seen all others."""
        return "last"


def _height(path: str) -> int:
    """From the bottom up: tables, layers, heads."""
    top = path.split("/")[0]
    return 0 if top == "embed" else 1 + int(top.removeprefix("layers_")) if top.startswith("layers_") else HEADS


class RecurrentLM(TextModule):
    """The assembled model. `apply({"params": p}, tokens)` gives logits, or hidden states without an output.

    Parameters `embed/token`, `layers_0` and so on, `lm_head` and `text_head`.
    """

    spec: Recurrent
    dtype: DTypeLike

    def setup(self) -> None:
        """Names the children."""
        spec = self.spec
        vocab, bound = int(spec.vocab_size or 0), spec.init_range or 0.1
        self.embed = TokenTable(vocab, spec.d_model, bound, spec.word_dropout, self.dtype)
        self.layers = [
            RecurrentLayer(
                spec.cell,
                units,
                spec.two_biases,
                spec.init_range or units**-0.5,
                spec.weight_drop,
                self.dtype,
            )
            for units in spec.units
        ]
        rates = [spec.input_dropout, *[spec.dropout] * (len(spec.units) - 1), spec.output_dropout]
        self.drops = [Dropout(rate, spec.locked) for rate in rates]
        self.lm_head = Unembed(vocab, spec.tied, bound, self.dtype) if spec.lm_head else None
        linears = Linears(self.dtype, 0.02, 0.02, True)
        self.text_head = spec.text_head and spec.text_head.module(linears)

    def _run(
        self, tokens_BT: jax.Array, layout: Layout, cache: Any = None, train: bool = False
    ) -> tuple[list[jax.Array], Any]:
        """Outputs (B, T, H) of all layers, the last one's after dropout, and the last states as a cache."""
        spec, outputs, states = self.spec, list[jax.Array](), list[State]()
        x = self.drops[0](constrain(self.embed(tokens_BT, train), "sublayer"), not train)
        for number, (layer, drop) in enumerate(zip(self.layers, self.drops[1:], strict=True)):
            start = None if cache is None else tuple(s[:, 0, 0] for s in cache[number])
            y, state = layer(x, layout, start, train)
            x = constrain(drop(y, not train), "sublayer")
            outputs.append(x)
            states.append(tuple(s[:, None, None] for s in state))
        if train and enabled(spec.activation_penalty):
            self.sow("losses", "activation", spec.activation_penalty * _mean_square(x))
        if train and enabled(spec.slowness_penalty):
            self.sow("losses", "slowness", spec.slowness_penalty * _mean_square(y[:, 1:] - y[:, :-1]))
        return outputs, tuple(states)

    def hidden(
        self,
        tokens_BT: jax.Array,
        positions: jax.Array | None = None,
        segments: jax.Array | None = None,
        train: bool = False,
        token_types: jax.Array | None = None,
    ) -> jax.Array:
        """int (B, T) -> what the last layer gives (B, T, D). Where `segments` change, a row begins anew. `token_types`
        are not read."""
        return self.states(tokens_BT, segments, train, False, positions=positions)[0]

    def states(
        self,
        tokens_BT: jax.Array,
        segments: jax.Array | None = None,
        train: bool = False,
        every: bool = True,
        token_types: jax.Array | None = None,
        positions: jax.Array | None = None,
    ) -> list[jax.Array]:
        """The outputs (B, T, H) of all layers, or of the last alone."""
        outputs, _ = self._run(tokens_BT, Layout.of_rows(tokens_BT, positions, segments), train=train)
        return outputs if every else outputs[-1:]

    def branches(self, tokens_BT: jax.Array, positions: jax.Array, segments: jax.Array) -> jax.Array:
        """int (B, T) -> (B, T, D) of texts that begin alike, each of which goes on from the state after what they
        share; see `Layout.branching`."""
        return self._run(tokens_BT, Layout.branching(positions, segments))[0][-1]

    def extend(self, tokens_BT: jax.Array, layout: Layout, cache: Any) -> tuple[jax.Array, Any]:
        """Goes on from a cache's states by T tokens: (B, T, D), and the states after them."""
        outputs, cache = self._run(tokens_BT, layout, cache)
        return outputs[-1], cache

    def carry_on(
        self, tokens_BT: jax.Array, cache: Any, continues_B: jax.Array, train: bool = False
    ) -> tuple[jax.Array, Any]:
        """`hidden` of rows that go on from the states of a cache, or where not `continues_B` begin, and the states
        after them. No gradient goes back into the cache."""
        on_B111 = continues_B[:, None, None, None] > 0
        cache = jax.tree.map(lambda s: jnp.where(on_B111, s, 0.0), lax.stop_gradient(cache))
        outputs, cache = self._run(tokens_BT, Layout.of_rows(tokens_BT, None, None), cache, train)
        return outputs[-1], cache

    def __call__(self, tokens_BT: jax.Array, train: bool = False) -> jax.Array:
        """int (B, T) -> logits (B, T, V), or (B, T, D) without an output, in the compute dtype."""
        hidden_BTD = self.hidden(tokens_BT, train=train)
        return self.unembed(hidden_BTD) if self.spec.lm_head else hidden_BTD

    def unembed(self, hidden: jax.Array, columns: int | None = None) -> jax.Array:
        """(..., D) -> logits (..., V), or (..., columns), of which those beyond V belong to no token."""
        if self.lm_head is None:
            raise ValueError("model.lm_head is off: the model has no logits")
        return constrain(self.lm_head(hidden, self.embed.attend, columns), "logits")

    def summary(self, hidden_BTD: jax.Array, real_BT: jax.Array) -> jax.Array:
        """float32 (B, D): what the last layer gives at the last real token."""
        return last(hidden_BTD, real_BT)

    def init_all_heads(self, tokens_BT: jax.Array) -> tuple[Any, ...]:
        """The outputs of all heads: initialising by it makes all parameters."""
        return self(tokens_BT), None if self.text_head is None else self.represent(tokens_BT)


def _mean_square(x: jax.Array) -> jax.Array:
    return jnp.mean(jnp.square(x.astype(jnp.float32)))
