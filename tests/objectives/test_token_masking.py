"""Which tokens are hidden, and as what."""

import jax
import numpy as np

from jaxgpt.objectives.token_masking import hide
from jaxgpt.ops.random_masks import by_row

KEY = jax.random.key(0)


def test_masks_of_words():
    """Special tokens are never told; whole words are told together; shares are as asked; a part hides what all do."""
    tokens = np.broadcast_to(np.arange(64, dtype=np.int32), (400, 64))
    words = np.broadcast_to(np.repeat(np.arange(32, dtype=np.int32), 2), (400, 64))  # word 0: special
    run = jax.jit(lambda rows, t, w: masked(rows, t, w))

    def masked(rows, t, w):
        with by_row(rows):
            return hide(KEY, t, w, 0.15, 0.1, 0.1, mask_id=99, vocab_size=64)

    read, told = map(np.asarray, run(np.arange(400), tokens, words))
    assert not told[:, :2].any()
    np.testing.assert_array_equal(told[:, 2::2], told[:, 3::2])
    np.testing.assert_array_equal(read[~told], tokens[~told])
    assert abs(told[:, 2:].mean() - 0.15) < 0.01
    assert abs((read[told] == 99).mean() - 0.8) < 0.03
    assert abs((read[told] == tokens[told]).mean() - 0.1 - 0.1 / 64) < 0.02
    assert read[told & (read != 99)].max() < 64
    part = run(np.array([5, 9]), tokens[:2], words[:2])
    np.testing.assert_array_equal(part[0], read[[5, 9]])
