"""What is compiled of decoding: read the prompts in one pass, then write tokens in a loop on the device.

B rows, P prompt slots, S slots, D model width, V vocabulary.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxgpt.decode.sampling import Steps, Values, draw, repeating
from jaxgpt.nn.cache import Cache, squeeze
from jaxgpt.nn.layout import Layout
from jaxgpt.ops.losses import cross_entropy
from jaxgpt.ops.sharding import constrain, path_name


class Program(NamedTuple):
    """What is known while compiling: for another value another program is compiled."""

    module: nn.Module
    steps: Steps
    ends: tuple[int, ...]
    """Ids that end a text; a row that has ended repeats the first of them."""
    log_probs: bool = False
    """Whether the log-probability of each token is noted as it is written."""
    piece: int = 1
    """Tokens that are written before it is asked again whether all rows have ended."""

    def slots(self, prompt: int) -> int:
        """Slots that prompts of so many take, with the adapter's tokens in front."""
        return prompt + int(self.module.spec.embedded_tokens)


class Inputs(NamedTuple):
    """Arrays that a compiled program is given, the same for every token that it writes."""

    params: Any
    values: Values
    drawable_V: jax.Array | np.ndarray | None
    """bool: which ids may be drawn; None: all."""
    early_V: Any = None
    """bool: which ids may be drawn in slots before `first_end`, where no text may end yet."""
    first_end: Any = np.int32(0)


class Decoding(NamedTuple):
    """Everything that changes while rows are written."""

    tokens_BS: jax.Array
    """int32: padding, prompt, what has been written."""
    cursor: jax.Array
    """int32 scalar: the slot of the last written token, whose keys are not cached yet."""
    padding_B: jax.Array
    """int32: the empty slots on the left of each row's first token."""
    cache: Cache
    seen_BV: jax.Array | None
    log_probs_BS: jax.Array | None
    """float32: that of the token in each slot by the model itself, whatever the sampling; 0 in the prompt."""
    done_B: jax.Array
    finite: jax.Array
    """bool scalar: whether all that tokens were drawn from was numbers."""
    key: jax.Array


def begin(
    program: Program,
    capacity: int,
    inputs: Inputs,
    tokens_BP: jax.Array,
    lengths_B: jax.Array,
    key: jax.Array,
) -> Decoding:
    """Reads the prompts in one pass, writes the first token of each."""
    tokens_BP, padding_B, cache, hidden_BD = read(program.module, capacity, inputs.params, tokens_BP, lengths_B)
    B, P = tokens_BP.shape
    seen = None
    if program.steps.penalises:
        own_BP = jnp.arange(P) >= padding_B[:, None]
        hot = jax.nn.one_hot(tokens_BP, program.module.spec.vocab_size, dtype=jnp.bool_) & own_BP[..., None]
        seen = jnp.any(hot, 1)
    state = Decoding(
        tokens_BS=jnp.pad(tokens_BP, ((0, 0), (0, capacity - P))),
        cursor=jnp.int32(P - 1),
        padding_B=padding_B,
        cache=cache,
        seen_BV=seen,
        log_probs_BS=jnp.zeros((B, capacity)) if program.log_probs else None,
        done_B=jnp.zeros(B, bool),
        finite=jnp.bool_(True),
        key=key,
    )
    return write_token(program, inputs, state, hidden_BD)


def read(
    module: nn.Module, capacity: int, params: Any, tokens_BP: jax.Array, lengths_B: jax.Array
) -> tuple[jax.Array, jax.Array, Cache, jax.Array]:
    """Prompts, int32, padded on the left, in one pass: them with an adapter's tokens in front, the empty slots on the
    left of each, the cache of `capacity` slots, and the last token's hidden states (B, D)."""
    spec = module.spec
    tokens_BP, lengths_B = _with_virtual(tokens_BP, lengths_B, spec.vocab_size, spec.embedded_tokens)
    B, P = tokens_BP.shape
    padding_B = P - lengths_B
    pos_BP = jnp.arange(P, dtype=jnp.int32) - padding_B[:, None]
    layout = Layout(pos_BP, cursor=jnp.int32(0), padding=padding_B, capacity=capacity)
    cache = jax.tree.map(lambda x: constrain(x, "heads"), spec.cache(B, capacity, module.dtype))
    hidden, cache = module.apply({"params": params}, tokens_BP, layout, cache, method="extend")
    return tokens_BP, padding_B, cache, hidden[:, -1]


def extend(
    module: nn.Module,
    params: Any,
    last_B: jax.Array,
    cursor: jax.Array,
    padding_B: jax.Array,
    capacity: int,
    cache: Cache,
) -> tuple[jax.Array, Cache]:
    """The hidden states (B, D) of one more token of each row, which lies in slot `cursor`, and the cache with it."""
    pos_B1 = cursor - padding_B[:, None]
    layout = Layout(pos_B1, cursor=cursor, padding=padding_B, capacity=capacity)
    hidden, cache = module.apply({"params": params}, last_B[:, None], layout, cache, method="extend")
    return hidden[:, -1], cache


def _with_virtual(tokens_BP: jax.Array, lengths_B: jax.Array, vocab: int, n: int) -> tuple[jax.Array, jax.Array]:
    """Prompts with the ids `vocab` to vocab + n - 1 in front of each row's first token, and their lengths."""
    if not n:
        return tokens_BP, lengths_B
    tokens_BP = jnp.pad(tokens_BP, ((0, 0), (n, 0)))
    lengths_B = lengths_B + n
    index_BP = jnp.arange(tokens_BP.shape[1], dtype=jnp.int32) - (tokens_BP.shape[1] - lengths_B)[:, None]
    return jnp.where((index_BP >= 0) & (index_BP < n), vocab + index_BP, tokens_BP), lengths_B


def advance(program: Program, inputs: Inputs, state: Decoding, count: int | jax.Array) -> Decoding:
    """Writes `count` more tokens, a multiple of `program.piece`, unless all rows end before."""
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), state.cache)
    dtype = program.module.dtype
    weights = in_dtype(inputs.params, dtype, {"weight"})
    inputs = inputs._replace(params=in_dtype(inputs.params, dtype, {"weight", "token"}))  # what logits are made of

    def go_on(carry: tuple[jax.Array, Decoding]) -> jax.Array:
        left, state = carry
        return (left > 0) & ~jnp.all(state.done_B)

    def token(_: Any, state: Decoding) -> Decoding:
        B, capacity = state.tokens_BS.shape
        last_B = jax.lax.dynamic_slice(state.tokens_BS, (0, state.cursor), (B, 1))[:, 0]
        cache = jax.tree.map(lambda x, s: x.reshape(s.shape), state.cache, shapes)
        hidden_BD, cache = extend(program.module, weights, last_B, state.cursor, state.padding_B, capacity, cache)
        return write_token(program, inputs, state._replace(cache=jax.tree.map(squeeze, cache)), hidden_BD)

    def piece(carry: tuple[jax.Array, Decoding]) -> tuple[jax.Array, Decoding]:
        left, state = carry
        state = token(0, state) if program.piece == 1 else jax.lax.fori_loop(0, program.piece, token, state)
        return left - program.piece, state

    state = state._replace(cache=jax.tree.map(squeeze, state.cache))
    state = jax.lax.while_loop(go_on, piece, (jnp.asarray(count, jnp.int32), state))[1]
    return state._replace(cache=jax.tree.map(lambda x, s: x.reshape(s.shape), state.cache, shapes))


def in_dtype(params: Any, dtype: Any, names: set[str]) -> Any:
    """The parameters, those of these names in the dtype that a product takes them in, but for a router's, which is
    float32. XLA leaves such a conversion within the loop, where each token would read and write all weights for it."""

    def convert(path: tuple[Any, ...], leaf: jax.Array) -> jax.Array:
        parts = path_name(path).split("/")
        return leaf.astype(dtype) if parts[-1] in names and "router" not in parts else leaf

    return jax.tree_util.tree_map_with_path(convert, params)


def write_token(program: Program, inputs: Inputs, state: Decoding, hidden_BD: jax.Array) -> Decoding:
    """Draws the next token of every row; rows that have ended repeat end-of-text."""
    own_BV = logits_BV = program.module.apply({"params": inputs.params}, hidden_BD[:, None], method="unembed")[:, 0]
    drawable_V = inputs.drawable_V
    if inputs.early_V is not None:
        later = state.cursor + 1 >= inputs.first_end
        drawable_V = inputs.early_V | later if drawable_V is None else jnp.where(later, drawable_V, inputs.early_V)
    if drawable_V is not None:
        logits_BV = jnp.where(drawable_V, logits_BV, -jnp.inf)
    if program.steps.no_repeat:
        n, V = program.steps.no_repeat, logits_BV.shape[1]
        again_BV = repeating(state.tokens_BS, state.cursor, state.padding_B, n, V)
        logits_BV = jnp.where(again_BV, -jnp.inf, logits_BV)
    key = jax.random.fold_in(state.key, state.cursor)
    new_B = draw(program.steps, inputs.values, logits_BV, state.seen_BV, key)
    done_B = state.done_B
    if program.ends:
        new_B = jnp.where(done_B, program.ends[0], new_B)
        done_B = done_B | jnp.isin(new_B, jnp.array(program.ends, jnp.int32))
    seen = state.seen_BV
    if seen is not None:
        seen = seen | jax.nn.one_hot(new_B, seen.shape[1], dtype=jnp.bool_)
    log_probs = state.log_probs_BS
    if log_probs is not None:
        new_log_probs_B = -cross_entropy(own_BV, new_B)[1]
        log_probs = jax.lax.dynamic_update_slice(log_probs, new_log_probs_B[:, None], (0, state.cursor + 1))
    return state._replace(
        tokens_BS=jax.lax.dynamic_update_slice(state.tokens_BS, new_B[:, None], (0, state.cursor + 1)),
        cursor=state.cursor + 1,
        seen_BV=seen,
        log_probs_BS=log_probs,
        done_B=done_B,
        finite=state.finite & jnp.all(jnp.isfinite(hidden_BD)),
    )
