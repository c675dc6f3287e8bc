"""Every position: packed documents restart, order is seen, and the formulas are the papers'."""

from functools import partial

import jax
import numpy as np
import pytest
from close import assert_close, difference

from jaxgpt.models import Decoder
from jaxgpt.ops.patterns import Bidirectional
from jaxgpt.ops.positions import (
    Added,
    ALiBi,
    Biased,
    Learned,
    Position,
    RelativeBias,
    Rotary,
    RotaryLinear,
    RotaryLlama3,
    RotaryNTK,
    RotaryYaRN,
    Rotated,
    alibi_slopes,
)

SEAM = "position"
EXAMPLES = {
    "rotary": [{"pairing": "interleaved"}, {"pairing": "half"}, {"width": 4}, {"width": 4, "pairing": "half"}],
    "rotary_linear": [{"factor": 4}],
    "rotary_llama3": [{"factor": 4, "trained": 32}],
    "rotary_ntk": [{"factor": 4, "pairing": "half"}],
    "rotary_yarn": [{"factor": 4, "trained": 16, "fast": 2, "slow": 0.5}],
    "t5": [{"buckets": 8, "max_distance": 12}, {"buckets": 8, "max_distance": 12, "two_sided": True}],
}
rng = np.random.default_rng(0)


def decoder(member, **fields):
    return Decoder(num_layers=1, d_model=16, num_heads=2, context=32, vocab_size=16, position=member, **fields)


@partial(jax.jit, static_argnums=0)
def run(spec, params, *inputs):
    return spec.build().apply({"params": params}, *inputs, method="hidden")


def hidden(spec, params, *inputs):
    return np.asarray(run(spec, params, *inputs))


@pytest.mark.often("[learned]", "[alibi]", "rotary pairing", "yarn", "12]")
def test_packed_documents_equal_the_documents_apart(member, weights):
    spec = decoder(member)
    params, tokens = weights(spec), rng.integers(0, 16, (1, 8), dtype=np.int32)
    positions = np.array([[0, 1, 2, 3, 4, 0, 1, 2]], np.int32)
    segments = np.array([[1, 1, 1, 1, 1, 2, 2, 2]], np.int32)
    packed = hidden(spec, params, tokens, positions, segments)
    # One batch of two rows, padded at their ends, which causality hides.
    apart = np.stack([np.pad(tokens[0, :5], (0, 3)), np.pad(tokens[0, 5:], (0, 5))])
    alone = hidden(spec, params, apart, np.tile(np.arange(8, dtype=np.int32), (2, 1)))
    assert_close(packed[0], np.concatenate([alone[0, :5], alone[1, :3]]), 2e-6)


def test_a_later_start_matters_to_absolute_positions_alone(member, weights):
    spec = decoder(member)
    params, tokens = weights(spec), rng.integers(0, 16, (2, 8), dtype=np.int32)
    positions = np.stack([np.arange(8), np.arange(8) + 20]).astype(np.int32)
    tokens[1] = tokens[0]
    first, shifted = hidden(spec, params, tokens, positions)
    same = difference(first, shifted) < 1e-5
    assert same != member.bounded


@pytest.mark.often("[learned]", "[alibi]", "[none]", "pairing=half]", "12]")
def test_without_a_mask_only_positions_tell_order(member, weights):
    spec = decoder(member, pattern=(Bidirectional(),))
    params, tokens = weights(spec), np.arange(8, dtype=np.int32)
    shuffle = rng.permutation(8)
    positions = np.tile(np.arange(8, dtype=np.int32), (2, 1))
    straight, shuffled = hidden(spec, params, np.stack([tokens, tokens[shuffle]]), positions)
    assert (difference(straight[shuffle], shuffled) < 1e-5) == (member.kind == "none")


@pytest.mark.often("[learned]", "[alibi]", "two_sided")
def test_another_position_leaves_all_other_starts_bitwise_unchanged(member: Position, starts):
    expected, got = starts(Learned()), starts(member)
    own = {"['embed']['position']", "['blocks']['bias']"}
    assert expected.keys() - own == got.keys() - own
    for path in expected.keys() - own:
        np.testing.assert_array_equal(expected[path], got[path], err_msg=path)


@pytest.fixture(scope="module")
def starts():
    held = {}

    def draw(member):
        if member not in held:
            params = jax.jit(decoder(member).init)(jax.random.key(7))
            flat = jax.tree_util.tree_flatten_with_path(params)[0]
            held[member] = {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in flat}
        return held[member]

    return draw


def test_rotated_scores_depend_on_distance_alone(member: Rotated):
    q, k = (rng.standard_normal((1, 1, 1, 8)).astype(np.float32) for _ in range(2))
    q_BHTK, k_BHTK = np.repeat(q, 40, 2), np.repeat(k, 40, 2)
    at = np.arange(40, dtype=np.int32)
    scores = np.asarray(member.turn(q_BHTK, at))[0, 0] @ np.asarray(member.turn(k_BHTK, at))[0, 0].T
    for distance in range(-39, 40):
        diagonal = np.diagonal(scores, distance)
        assert_close(diagonal, np.full_like(diagonal, diagonal[0]), 2e-6, scale=np.abs(scores).max())
    assert np.ptp(scores[0]) > 0.1


def test_rotation_keeps_length_dtype_and_position_zero(member: Rotated):
    x = rng.standard_normal((1, 2, 5, 8)).astype(np.float32)
    y = np.asarray(member.turn(x, np.arange(5)))
    size = 0.1 * np.log(4) + 1 if member.kind == "rotary_yarn" else 1  # YaRN, equation 22
    assert_close(np.linalg.norm(y, axis=-1), size * np.linalg.norm(x, axis=-1))
    assert_close(y[:, :, 0], size * x[:, :, 0], 1e-6)
    assert member.turn(jax.numpy.bfloat16(x), np.arange(5)).dtype == jax.numpy.bfloat16


def test_a_width_turns_the_first_channels_and_leaves_the_rest(member: Rotated):
    x = rng.standard_normal((1, 2, 5, 8)).astype(np.float32)
    width = member.width or 8
    y = np.asarray(member.turn(x, np.arange(5)))
    np.testing.assert_array_equal(y[..., width:], x[..., width:])
    np.testing.assert_array_equal(y[..., :width], member.rotate(x[..., :width], np.arange(5)))
    assert (y[..., 1:, :width] != x[..., 1:, :width]).all()


def test_rotary_is_the_papers_complex_product():
    K, at = 8, np.arange(50)
    x = rng.standard_normal((1, 1, 50, K)).astype(np.float32)
    theta = 10000.0 ** (-2 * (np.arange(1, K // 2 + 1) - 1) / K)  # RoFormer, equation 15
    turned = (x[..., 0::2] + 1j * x[..., 1::2]) * np.exp(1j * at[:, None] * theta)
    got = np.asarray(Rotary().rotate(x, at))
    assert_close(got[..., 0::2], turned.real)
    assert_close(got[..., 1::2], turned.imag)


def test_stretched_rotations_meet_the_plain_one_where_their_papers_say():
    K, factor, plain = 32, 4.0, Rotary().rates(32)
    assert_close(RotaryLinear(factor=factor).rates(K), plain / factor, 1e-12)
    ntk = RotaryNTK(factor=factor).rates(K) / plain
    assert ntk[0] == 1 and ntk[-1] == pytest.approx(1 / factor) and (np.diff(ntk) < 0).all()
    yarn = RotaryYaRN(factor=factor, trained=2048).rates(K) / plain
    turns = 2048 * plain / (2 * np.pi)
    assert (yarn[turns > 32] == 1).all() and turns[yarn == 1].min() > 16
    np.testing.assert_allclose(yarn[turns < 0.8], 1 / factor, rtol=1e-7)
    assert (np.diff(yarn) <= 0).all()
    llama3 = RotaryLlama3(factor=factor, trained=2048).rates(K) / plain
    np.testing.assert_array_equal(llama3[turns > 4], 1)
    np.testing.assert_allclose(llama3[turns < 1], 1 / factor, rtol=1e-7)
    assert ((llama3 > 1 / factor) & (llama3 < 1)).any() and (np.diff(llama3) <= 0).all()


def test_t5_buckets_are_exact_then_logarithmic():
    one = RelativeBias(buckets=32, max_distance=128)
    at = np.asarray(one.bucket(np.arange(-3, 300)))
    assert (at[:3] == 0).all() and (at[3:19] == np.arange(16)).all() and (at[3 + 128 :] == 31).all()
    assert (np.diff(at[3:]) >= 0).all() and set(at) == set(range(32))
    two = RelativeBias(buckets=32, max_distance=128, two_sided=True)
    behind, ahead = np.asarray(two.bucket(np.arange(300))), np.asarray(two.bucket(-np.arange(1, 300)))
    np.testing.assert_array_equal(ahead, behind[1:] + 16)


def test_rotary_pairings_agree_under_a_channel_permutation():
    x, at = rng.standard_normal((1, 2, 9, 8)).astype(np.float32), np.arange(9)
    order = [0, 2, 4, 6, 1, 3, 5, 7]
    interleaved = np.asarray(Rotary(pairing="interleaved").rotate(x, at))
    half = np.asarray(Rotary(pairing="half").rotate(x[..., order], at))
    assert_close(interleaved[..., order], half, 1e-6)


def test_added_tables_are_prefixes_of_longer_ones(member: Added):
    table = member.table(12, 16)
    assert table.shape == (12, 16) and table.dtype == np.float32
    np.testing.assert_array_equal(member.table(30, 16)[:12], table)


@pytest.mark.parametrize("d_model", [6, 16])
def test_sinusoidal_is_the_papers_formula(d_model):
    from jaxgpt.ops.positions import Sinusoidal

    table = Sinusoidal().table(20, d_model)
    for pos in range(20):
        for i in range(d_model // 2):
            angle = pos / 10000 ** (2 * i / d_model)
            assert_close(table[pos, 2 * i : 2 * i + 2], [np.sin(angle), np.cos(angle)], 1e-6)


def test_biases_depend_on_distance_alone(member: Biased):
    table = np.asarray(member.table(4)) + rng.standard_normal(member.table(4).shape).astype(np.float32)
    bias_HTS = np.asarray(member.bias(table, np.arange(6), np.arange(6)))
    moved_BHTS = np.asarray(member.bias(table, np.arange(6)[None] + 9, np.arange(6)[None] + 9))
    assert bias_HTS.shape == (4, 6, 6) and moved_BHTS.shape == (1, 4, 6, 6)
    assert_close(moved_BHTS[0], bias_HTS, 1e-6)


@pytest.mark.parametrize(
    ("heads", "exponents"),
    [
        (4, [2, 4, 6, 8]),
        (8, [1, 2, 3, 4, 5, 6, 7, 8]),
        (6, [2, 4, 6, 8, 1, 3]),
        (12, [1, 2, 3, 4, 5, 6, 7, 8, 0.5, 1.5, 2.5, 3.5]),
        (16, [0.5 * (i + 1) for i in range(16)]),
    ],
)
def test_alibi_slopes_are_the_papers(heads, exponents):
    assert_close(alibi_slopes(heads), [2.0**-exponent for exponent in exponents], 1e-6)


def test_alibi_is_the_slope_times_the_distance():
    bias = np.asarray(ALiBi().bias(alibi_slopes(8), np.array([5]), np.arange(6)))
    assert_close(bias[1, 0], -0.25 * np.array([5, 4, 3, 2, 1, 0]), 1e-6)
