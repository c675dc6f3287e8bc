"""A token file is read back exactly, appears whole or not at all, and is refused when anything about it is wrong."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxgpt.disk import atomic
from jaxgpt.spec import ConfigError, JaxgptError
from jaxgpt.text.batches.tokenfile import TokenWriter, dtype_for, open_token_file

MADE_OF = "ab" * 32
HEADER = 104  # bytes before the ids


def write(path: Path, documents: list[list[int]], vocab_size: int = 300, made_of: str = MADE_OF) -> Path:
    with TokenWriter(path, vocab_size, made_of) as writer:
        for ids in documents:
            writer.add(np.array(ids, np.int64))
    return path


def refused(path: Path, match: str, vocab_size: int = 300, made_of: str = MADE_OF) -> None:
    before = path.read_bytes() if path.exists() else None
    with pytest.raises(ConfigError, match=match) as caught:
        open_token_file(path, vocab_size, made_of)
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and len(message.splitlines()) == 1
    assert (path.read_bytes() if path.exists() else None) == before


@given(documents=st.lists(st.lists(st.integers(0, 299), max_size=9), max_size=9), big=st.booleans())
def test_reads_back_what_was_written(documents: list[list[int]], big: bool, tmp_path_factory):
    vocab_size = 70_000 if big else 300
    path = write(tmp_path_factory.mktemp("round") / "x.tokens", documents, vocab_size)
    file = open_token_file(path, vocab_size, MADE_OF)
    assert file.ids_N.dtype == dtype_for(vocab_size) == (np.uint32 if big else np.uint16)
    assert file.ids_N.tolist() == [token for ids in documents for token in ids]
    lengths = [len(ids) for ids in documents if ids]
    assert file.starts_D.tolist() == np.cumsum([0, *lengths]).tolist()[: len(lengths)]


def test_ids_beyond_uint16_survive(tmp_path: Path):
    path = write(tmp_path / "x.tokens", [[70_000, 65_535, 65_536]], 100_000)
    assert open_token_file(path, 100_000).ids_N.tolist() == [70_000, 65_535, 65_536]


@pytest.mark.parametrize("bad", [300, -1, 70_000])
def test_an_id_outside_the_vocabulary_is_never_written(bad: int, tmp_path: Path):
    with pytest.raises(ConfigError, match=rf"x\.tokens: token 4: id {bad} is outside the vocabulary of 300"):
        write(tmp_path / "x.tokens", [[1, 2, 3], [4, bad]])
    assert list(tmp_path.iterdir()) == []


def test_every_flipped_byte_is_detected(tmp_path: Path):
    path = write(tmp_path / "x.tokens", [[1, 2, 3], [4, 5]])
    good = path.read_bytes()
    for offset in range(len(good)):
        path.write_bytes(good[:offset] + bytes([good[offset] ^ 0x10]) + good[offset + 1 :])
        refused(path, r"byte \d+: ")


def test_every_length_but_the_right_one_is_detected(tmp_path: Path):
    path = write(tmp_path / "x.tokens", [[1, 2, 3], [4, 5]])
    good = path.read_bytes()
    for size in range(len(good)):
        path.write_bytes(good[:size])
        refused(path, rf"byte {size}: ")
    path.write_bytes(good + b"\0")
    refused(path, rf"byte {len(good)}: the file has {len(good) + 1} bytes")


def test_refusals_say_what_is_wrong(tmp_path: Path):
    path = write(tmp_path / "x.tokens", [[1, 2, 299]])
    refused(path, r"byte 32: made for a vocabulary of 300, the tokenizer has 257", vocab_size=257)
    refused(path, r"byte 40: made of abababababab, expected cdcdcdcdcdcd", made_of="cd" * 32)
    refused(tmp_path / "none.tokens", r"cannot be read: No such file")
    good = path.read_bytes()
    path.write_bytes(b"\x93NUMPY" + good[6:])
    refused(path, r"byte 0: .* is not the magic of a token file")
    path.write_bytes(good[:8] + b"\x09" + good[9:])
    refused(path, r"byte 8: version 9, expected 1")
    path.write_bytes(good[:-12] + b"\x05" + good[-11:])
    refused(path, rf"byte {HEADER}: SHA-256 from here on is .* delete the file and it will be built again")


def test_a_well_formed_file_with_an_id_out_of_range_names_its_offset(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(
        TokenWriter, "add", lambda self, ids, ends=True: (self._starts.append(0), self._write(ids.tobytes()))
    )
    with TokenWriter(tmp_path / "x.tokens", 300, MADE_OF) as writer:
        writer.count = 3
        writer.add(np.array([7, 300, 8], "<u2"))
    refused(tmp_path / "x.tokens", rf"byte {HEADER + 2}: id 300 of token 1 is outside the vocabulary of 300")


def test_a_write_that_fails_leaves_the_old_file_and_no_draft(tmp_path: Path):
    path = write(tmp_path / "x.tokens", [[1, 2, 3]])
    good = path.read_bytes()
    with pytest.raises(RuntimeError), TokenWriter(path, 300, MADE_OF) as writer:
        writer.add(np.array([4]))
        raise RuntimeError("killed here")
    assert path.read_bytes() == good
    assert list(tmp_path.iterdir()) == [path]


def test_kill_dash_nine_in_mid_write_leaves_no_file_of_that_name(tmp_path: Path):
    code = (
        "import os, signal, sys, numpy as np; from pathlib import Path\n"
        "from jaxgpt.text.batches.tokenfile import TokenWriter\n"
        "with TokenWriter(Path(sys.argv[1]), 300, 'ab' * 32) as writer:\n"
        "    writer.add(np.arange(300)); os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(tmp_path / "x.tokens")], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not (tmp_path / "x.tokens").exists()
    assert open_token_file(write(tmp_path / "x.tokens", [[1, 2]]), 300).ids_N.tolist() == [1, 2]


def test_a_file_has_its_name_only_once_it_is_whole(tmp_path: Path):
    with atomic(tmp_path / "new" / "x") as file:
        file.write(b"all")
        assert not (tmp_path / "new" / "x").exists()
    assert (tmp_path / "new" / "x").read_bytes() == b"all"


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(JaxgptError, match=r"x\.tokens: cannot be written: .*; free space, or choose another folder$"):
        write(tmp_path / "file" / "x.tokens", [[1]])
    full = pytest.raises(JaxgptError, match=r"x\.tokens: cannot be written: No space left on device")
    with full, atomic(tmp_path / "x.tokens") as file:
        file.write(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
