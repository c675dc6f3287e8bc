from abc import abstractmethod
from typing import Any

import pytest

from jaxgpt.spec import ConfigError, Seam, Spec, dump_yaml, load_yaml, members, parse, seams


class Shape(Seam, seam="test_shape"):
    """Opens a seam for these tests."""

    @abstractmethod
    def area(self) -> float:
        """Square metres."""


class Square(Shape):
    side: float = 1.0

    def area(self) -> float:
        return self.side**2


class UnitDisc(Shape):
    def area(self) -> float:
        return 3.14


class Round(Shape):
    """Still abstract: a field of this type takes its members only."""

    @abstractmethod
    def radius(self) -> float:
        """Metres."""


class Ball(Round, kind="ball"):
    def area(self) -> float:
        return 1.0

    def radius(self) -> float:
        return 1.0


class House(Spec):
    floor: Shape = Square()
    rooms: tuple[Shape, ...] = ()
    dome: Round = Ball()


def refusal(tree: dict[str, Any]) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(House, tree)
    return caught.value.problems


def test_declaring_a_class_registers_it_under_its_name_in_snake_case():
    assert members("test_shape") == {"square": Square, "unit_disc": UnitDisc, "ball": Ball}
    assert seams()["test_shape"] is Shape


@pytest.mark.parametrize("given", ["square", {"kind": "square"}, Square(), {"kind": "square", "side": 1}])
def test_a_member_is_named_by_kind_mapping_or_instance(given):
    assert parse(House, {"floor": given}) == House(floor=Square())


def test_yaml_round_trip_keeps_identity(tmp_path):
    house = House(floor=Square(side=2), rooms=(UnitDisc(), Square(side=1e-4)))
    path = tmp_path / "house.yaml"
    path.write_text(dump_yaml(house))
    assert load_yaml(House, path) == house
    assert hash(load_yaml(House, path)) == hash(house)


def test_a_class_declared_later_is_accepted_at_once():
    class Triangle(Shape):
        def area(self) -> float:
            return 0.5

    try:
        assert parse(House, {"floor": "triangle"}).floor == Triangle()
    finally:
        del Shape._members["triangle"]


def test_two_classes_cannot_share_a_kind():
    with pytest.raises(TypeError, match="already declared"):

        class Other(Shape, kind="square"):
            def area(self) -> float:
                return 0.0


def test_every_problem_is_reported_at_once_with_path_and_remedy():
    problems = refusal(
        {"floor": {"kind": "sqare"}, "rooms": ["square", {"kind": "square", "sid": 2, "side": "x"}], "flor": 1}
    )
    assert len(problems) == 4
    assert "floor: unknown test_shape kind 'sqare'; did you mean 'square'?" in problems[0]
    assert any(line.startswith("rooms.1.sid: unknown field; did you mean 'side'?") for line in problems)
    assert any(line.startswith("rooms.1.side: ") and "'x'" in line for line in problems)
    assert any(line.startswith("flor: unknown field; did you mean 'floor'?") for line in problems)
    assert all("\n" not in line for line in problems)


def test_an_abstract_base_takes_its_own_members_only():
    assert "unknown test_shape kind 'square'" in refusal({"dome": "square"})[0]


def test_specs_are_frozen_and_hashable():
    with pytest.raises(ValueError, match="frozen"):
        Square().side = 2  # type: ignore[misc]
    assert {Square(): 1}[Square(side=1.0)] == 1


def test_evolve_validates():
    assert Square().evolve(side=3) == Square(side=3)
    with pytest.raises(ConfigError, match="side: expected a number, got the text 'wide'"):
        Square().evolve(side="wide")
