import pytest

from jaxgpt.spec import ConfigError, Spec, load_yaml


class Point(Spec):
    x: float
    y: float = 0.0


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x: !!python/object/apply:os.system [echo]", "not safe YAML"),
        ("x: [1", "not safe YAML"),
        ("- 1", "expected a mapping"),
        ("y: 1", "x: a value is required"),
        ("x: .nan", "x: "),
    ],
)
def test_bad_files_are_refused_by_name(tmp_path, text, says):
    path = tmp_path / "p.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_yaml(Point, path)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_suggests_its_neighbour(tmp_path):
    (tmp_path / "small.yaml").write_text("x: 1")
    with pytest.raises(ConfigError, match=r"no such config file; did you mean 'small.yaml'"):
        load_yaml(Point, tmp_path / "smal.yaml")


def test_exponents_without_a_dot_are_numbers(tmp_path):
    path = tmp_path / "p.yaml"
    path.write_text("x: 1e-4")
    assert load_yaml(Point, path).x == 1e-4
