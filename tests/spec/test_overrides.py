import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxgpt.spec import ConfigError, apply_overrides, canonical, diff, digest

TREE = {"model": {"position": "learned", "pattern": ["causal", {"kind": "banded", "window": 4}]}, "optim": {"lr": 1}}


def test_overrides_edit_a_copy():
    out = apply_overrides(TREE, ["optim.lr=3e-4", "model.pattern.1.window=8", "steps=5"])
    assert out["optim"] == {"lr": 3e-4}
    assert out["model"]["pattern"][1] == {"kind": "banded", "window": 8}
    assert out["steps"] == 5
    assert TREE["optim"] == {"lr": 1}


def test_reaching_into_a_bare_kind_opens_it():
    out = apply_overrides(TREE, ["model.position.kind=rotary", "model.position.theta=5"])
    assert out["model"]["position"] == {"kind": "rotary", "theta": 5}


def test_changing_the_kind_drops_the_fields_of_the_old_one():
    out = apply_overrides(TREE, ["model.pattern.1.kind=causal"])
    assert out["model"]["pattern"][1] == {"kind": "causal"}


@pytest.mark.parametrize(
    "text", ["optim.lr", "=3", "a..b=1", "optim.lr=[1", "model.pattern.7.window=1", "optim.lr.x=1"]
)
def test_malformed_overrides_are_refused_in_one_line(text):
    with pytest.raises(ConfigError) as caught:
        apply_overrides(TREE, [text])
    assert len(caught.value.problems) == 1
    assert "\n" not in str(caught.value)


leaves = st.none() | st.booleans() | st.integers() | st.text(max_size=5)
trees = st.dictionaries(st.text("abc", min_size=1, max_size=2), leaves | st.lists(leaves, max_size=2), max_size=4)


@given(trees)
def test_digest_does_not_depend_on_order(tree):
    assert digest(tree) == digest(dict(reversed(tree.items())))
    assert diff(tree, dict(reversed(tree.items()))) == {}


@given(trees, trees)
def test_equal_trees_and_only_they_have_one_digest_and_no_diff(a, b):
    assert (digest(a) == digest(b)) == (canonical(a) == canonical(b))
    if canonical(a) == canonical(b):
        assert diff(a, b) == {}
    for path, (old, new) in diff(a, b).items():
        assert a.get(path) == old and b.get(path) == new and old != new
