import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxgpt.spec import ConfigError, Spec, dump_yaml, load_yaml


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


class Named(Spec):
    name: str = ""
    words: tuple[str, ...] = ()
    point: Point = Point(x=0)


@settings(deadline=None)
@given(st.text(max_size=20), st.lists(st.sampled_from(["yes", "on", "010", "1e4", "0o7", "1:30", "null", "~", "None"])))
def test_what_is_dumped_reads_back(tmp_path_factory, name, words):
    path = tmp_path_factory.mktemp("dump") / "n.yaml"
    named = Named(name=name, words=tuple(words), point=Point(x=1e-5, y=1e300))
    path.write_text(dump_yaml(named), encoding="utf-8")
    assert load_yaml(Named, path) == named


def test_anchors_may_stand_under_keys_that_start_with_a_line(tmp_path):
    path = tmp_path / "n.yaml"
    path.write_text("_common: &c {x: 3}\n_more: {anything: [1]}\npoint:\n  <<: *c\n  y: 2\n")
    assert load_yaml(Named, path).point == Point(x=3, y=2)
    path.write_text("point: {_x: 3, x: 1}")
    with pytest.raises(ConfigError, match=r"point\._x: unknown field; did you mean 'x'"):
        load_yaml(Named, path)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("name: a\nwords: []\nname: b\n", ":3: not safe YAML: key 'name' again, first on line 1; keep one"),
        ("na-me: a", "'na-me': unknown field; did you mean 'name'?"),
        ("point.x: 1", "'point.x': unknown field; a dot reaches into a field on the command line only: in a file nest"),
        ("my point: {x: 1}", "'my point': unknown field; did you mean 'point'?"),
        ("point: {x: 010, y: yes}", "point.y: expected a number, got the text 'yes'"),
        ("{[1]: 2}", ":1: not safe YAML: a key must be a word"),
        ("\u00e9: 1", "\u00e9: unknown field; known: name, point, words"),
    ],
)
def test_slips_are_answered_in_one_line(tmp_path, text, line):
    path = tmp_path / "n.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_yaml(Named, path)
    assert str(caught.value).removeprefix(str(path)).startswith(line) and len(caught.value.problems) == 1


def test_a_byte_order_mark_and_any_line_end_do(tmp_path):
    path = tmp_path / "p.yaml"
    for text in ("\ufeffx: 1\ny: 2", "x: 1\r\ny: 2\r\n", "x: 1\ry: 2", "# \u2603\nx: 1\ny: 2"):
        path.write_bytes(text.encode())
        assert load_yaml(Point, path) == Point(x=1, y=2)


@pytest.mark.parametrize("kind", ["pipe", "link to a pipe", "device", "folder", "large", "latin", "binary", "bomb"])
def test_a_hostile_file_is_one_short_line(tmp_path, kind):
    path = tmp_path / "p.yaml"
    if kind == "folder":
        path.mkdir()
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif "pipe" in kind:
        os.mkfifo(tmp_path / "pipe")
        path = path if "link" in kind else tmp_path / "pipe"
        if "link" in kind:
            path.symlink_to(tmp_path / "pipe")
    elif kind == "large":
        path.write_text("x: 1\n" + "#" * 2**18)
    else:
        bomb = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}, *a{i - 1}]\n" for i in range(1, 30))
        path.write_bytes({"latin": b"x: 1 # \xe9", "binary": b"\x7fELF\0\0", "bomb": bomb.encode()}[kind])
    with pytest.raises(ConfigError) as caught:
        load_yaml(Point, path)
    line = str(caught.value)
    assert line.startswith(str(path)) and line.isprintable() and len(line) < len(str(path)) + 120


def test_too_many_problems_are_counted_not_listed(tmp_path):
    path = tmp_path / "p.yaml"
    path.write_text("".join(f"k{i}: 1\n" for i in range(3000)))
    with pytest.raises(ConfigError) as caught:
        load_yaml(Point, path)
    assert len(caught.value.problems) == 21 and caught.value.problems[-1] == "... and 2981 more"
