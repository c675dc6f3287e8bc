"""What a spec says beyond its defaults tells it from every other, and outlives fields that are added."""

from hypothesis import given
from hypothesis import strategies as st

from jaxgpt.spec import Seam, Spec, stated


def version(later: bool):
    """The same three specs, with a field more each where they are of a later version."""

    class Shape(Seam, seam=f"stated_shape_{later}"):
        pass

    class Round(Shape, kind="round"):
        radius: float = 1.0
        if later:
            smooth: bool = True

    class Square(Shape, kind="square"):
        pass

    class Part(Spec):
        name: str = "part"
        shape: Shape = Round()
        if later:
            weight: float | None = None

    class Whole(Spec):
        size: int
        part: Part = Part()
        parts: tuple[Part, ...] = ()
        if later:
            extra: tuple[Part, ...] = (Part(name="more"),)

    return Whole


BEFORE, LATER = version(False), version(True)
shapes = st.just({"kind": "square"}) | st.fixed_dictionaries(
    {"kind": st.just("round")}, optional={"radius": st.sampled_from([1.0, 2.0])}
)
parts = st.fixed_dictionaries({}, optional={"name": st.sampled_from(["part", "other"]), "shape": shapes})
wholes = st.fixed_dictionaries(
    {"size": st.sampled_from([0, 1])}, optional={"part": parts, "parts": st.lists(parts, max_size=2)}
)


@given(wholes, wholes)
def test_equal_specs_and_only_they_say_the_same_in_every_version(a, b):
    one, two = BEFORE.model_validate(a), BEFORE.model_validate(b)
    assert (stated(one) == stated(two)) == (one == two)
    assert stated(LATER.model_validate(a)) == stated(one)
    assert BEFORE.model_validate(stated(one)) == one


def test_only_what_is_not_at_its_default_is_said():
    whole = BEFORE.model_validate(
        {"size": 3, "part": {"shape": {"kind": "round", "radius": 2}}, "parts": [{"shape": "square"}]}
    )
    assert stated(whole) == {
        "size": 3,
        "part": {"shape": {"kind": "round", "radius": 2.0}},
        "parts": [{"shape": {"kind": "square"}}],
    }
    assert stated(whole, leave_out=["size", "parts"]) == {"part": {"shape": {"kind": "round", "radius": 2.0}}}
