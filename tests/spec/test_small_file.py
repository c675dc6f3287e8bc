import os
import subprocess
import sys

import pytest

from jaxgpt.spec import ConfigError
from jaxgpt.spec.small_file import MOST, read_small


def refusal(path, **options):
    with pytest.raises(ConfigError) as caught:
        read_small(path, **options)
    line = str(caught.value)
    assert line.isprintable() and len(line) < len(str(path)) + 100
    return line


def test_a_text_is_read_as_it_stands(tmp_path):
    path = tmp_path / "a"
    path.write_bytes("né\r\n☃".encode())
    assert read_small(path) == read_small(str(path)) == "né\r\n☃"


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"\xef\xbb\xbfx: 1")
    assert read_small(path) == "x: 1"


def test_utf_8_does_not_depend_on_the_locale(tmp_path):
    path = tmp_path / "a"
    path.write_text("☃", encoding="utf-8")
    code = "import sys; from jaxgpt.spec.small_file import read_small; print(ascii(read_small(sys.argv[1])))"
    env = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run([sys.executable, "-c", code, str(path)], env=env, capture_output=True, text=True)
    assert done.stdout.strip() == r"'\u2603'", done.stderr


@pytest.mark.parametrize("link", [False, True], ids=["itself", "by a link"])
@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "huge", "binary", "missing"])
def test_what_is_no_small_text_is_one_line_at_once(tmp_path, kind, link):
    path = tmp_path / "x"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "folder":
        path.mkdir()
    elif kind == "huge":
        with path.open("wb") as file:
            file.truncate(10**10)
    elif kind == "binary":
        path.write_bytes(b"ab\xff")
    if link:
        (tmp_path / "link").symlink_to(path)
        path = tmp_path / "link"
    want = {
        "huge": "10,000,000,000 bytes; at most 1,048,576 are read",
        "binary": "not UTF-8: byte 0xff at offset 2; save it as UTF-8",
        "missing": "no such file",
    }
    assert refusal(path) == f"{path}: {want.get(kind, f'is a {kind}; give a regular file')}"


@pytest.mark.skipif(not os.path.exists("/proc/cpuinfo"), reason="no /proc here")
def test_a_file_that_does_not_say_its_size_is_bounded_too():
    assert "more than 8 bytes" in refusal("/proc/cpuinfo", most=8)


def test_the_bound_is_the_last_that_is_read(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"x" * MOST)
    assert len(read_small(path)) == MOST
    path.write_bytes(b"x" * (MOST + 1))
    assert "1,048,577 bytes" in refusal(path)


@pytest.mark.parametrize("path", ["a\0b", "x" * 10_000], ids=["NUL", "long"])
def test_what_cannot_be_a_path_is_one_line(path):
    refusal(path)
