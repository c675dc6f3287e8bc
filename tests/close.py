"""How near two arrays are, as a share of the largest value: an absolute tolerance fails on the next processor.

Rounding grows with the values that were summed, and every instruction set sums in another order.
"""

import jax
import numpy as np


def largest(tree):
    """The largest absolute finite value in any array of a tree; 0 where there is none."""
    return max((_largest(_wide(leaf)) for leaf in jax.tree.leaves(tree)), default=0.0)


def cancelled(grads):
    """The scale for a gradient in which some parameter has none but for rounding: a hundredth of its largest value.

    A key's bias is such a parameter. It adds the same to all scores of a query, which softmax takes off again.
    """
    return largest(grads) / 100


def difference(got, want, *, scale=0.0):
    """The largest difference as a share of each wanted array's largest value, or of `scale` where that is larger."""
    return max((_compare(name, *pair, scale)[0] for name, *pair in _pairs(got, want)), default=0.0)


def assert_close(got, want, share=1e-5, *, scale=0.0):
    """Each array of `got` differs from that of `want` by at most `share` of the largest value in the latter.

    Both are an array, or trees of arrays with one structure; a list of numbers is an array. Values that are not finite
    must be the same. Where a wanted array is nothing but zeros, so must be the other. `scale` is the least that any
    array is measured with: for arrays that are small only because large numbers cancel, pass the size of those.
    """
    __tracebackhide__ = True
    for name, *pair in _pairs(got, want):
        off, message = _compare(name, *pair, scale)
        if not off <= share:
            raise AssertionError(f"{message}; allowed: {share:.3g}")


def _pairs(got, want):
    """Path, array and wanted array of each leaf."""
    __tracebackhide__ = True
    ours, theirs = (jax.tree.structure(tree, _is_array) for tree in (got, want))
    assert ours == theirs, f"structures differ: {ours}, expected {theirs}"
    pairs = zip(jax.tree.leaves_with_path(got, _is_array), jax.tree.leaves(want, _is_array), strict=True)
    for (path, leaf), other in pairs:
        yield jax.tree_util.keystr(path), _wide(leaf), _wide(other)


def _is_array(value):
    """A list of numbers, of such lists, and so on."""
    return isinstance(value, list) and all(isinstance(part, int | float) or _is_array(part) for part in value)


def _wide(leaf):
    leaf = np.asarray(leaf)
    return leaf.astype(np.complex128 if np.iscomplexobj(leaf) else np.float64)


def _largest(array):
    return float(np.abs(array[np.isfinite(array)]).max(initial=0.0))


def _compare(name, got, want, scale):
    """The largest difference as a share of the scale, and what to say of it."""
    __tracebackhide__ = True
    where = f"{name}: " if name else ""
    assert got.shape == want.shape, f"{where}shape {got.shape}, expected {want.shape}"
    finite = np.isfinite(want)
    same = np.where(finite, np.isfinite(got), (got == want) | (np.isnan(got) & np.isnan(want)))
    off = np.where(finite & same, np.abs(np.where(finite & same, got, 0) - np.where(finite, want, 0)), 0.0)
    off[~same] = np.inf
    if not off.any():
        return 0.0, ""
    at = np.unravel_index(off.argmax(), off.shape)
    place = f"{name}{[int(index) for index in at]}" if at else name or "value"
    what = f"{place}: {got[at]:.9g}, expected {want[at]:.9g}"
    own = _largest(want)
    size = max(own, float(scale))
    if not size > 0:
        return np.inf, f"{what}; nothing but zeros is wanted and no scale is given"
    share, name = float(off[at]) / size, "the largest value" if own >= scale else "the scale"
    return share, f"{what}; off by {off[at]:.3g}, which is {share:.3g} of {name} {size:.6g}"
