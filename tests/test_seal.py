"""A run that has ended is vouched for: a changed digit in what it left is an error that names the file."""

import json
import os
import random
import time

import pytest

from jaxgpt import seal as sealing
from jaxgpt.seal import RESULT, SEAL, SEALED, ChangedError, read_result, seal, unseal

RESULT_TEXT = json.dumps({"status": "finished", "val/loss": 2.5})


@pytest.fixture
def ended(tmp_path):
    (tmp_path / "config.yaml").write_text("steps: 20\n")
    (tmp_path / "metrics.jsonl").write_text('{"step": 10, "val/loss": 2.5}\n')
    (tmp_path / RESULT).write_text(RESULT_TEXT)
    seal(tmp_path)
    return tmp_path


def refusal(folder):
    with pytest.raises(ChangedError) as caught:
        read_result(folder)
    line = str(caught.value)
    assert "\n" not in line
    assert line.endswith("; put back a copy, or move the run's folder away to have the run done again")
    return line


def test_what_is_as_it_was_is_believed(ended):
    assert read_result(ended) == json.loads(RESULT_TEXT)
    assert read_result(ended) is not read_result(ended)


def test_without_result_or_seal_a_run_has_not_ended(ended):
    (ended / RESULT).rename(ended / "away")
    assert read_result(ended) is None
    (ended / "away").rename(ended / RESULT)
    unseal(ended)
    assert read_result(ended) is None
    unseal(ended)


@pytest.mark.parametrize("name", SEALED)
@pytest.mark.parametrize("seed", range(20))
def test_any_changed_byte_of_any_file_is_noticed(ended, name, seed):
    draw, path = random.Random(seed), ended / name
    raw = bytearray(path.read_bytes())
    kind = draw.choice(["flip", "cut", "grow", "gone", "pipe", "folder"])
    place = draw.randrange(len(raw))
    if kind == "flip":
        raw[place] ^= 1 << draw.randrange(8)
    if kind in ("flip", "cut", "grow"):
        path.write_bytes({"flip": raw, "cut": raw[:place], "grow": raw + b" "}[kind])
    else:
        path.unlink()
        {"gone": lambda _: None, "pipe": os.mkfifo, "folder": os.mkdir}[kind](path)
    if name == RESULT and kind == "gone":
        assert read_result(ended) is None
    else:
        assert refusal(ended).startswith(f"{path}: ")


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"files": 3}', '{"files": {"result.json": 1}}', "[" * 10**5])
def test_a_torn_seal_is_named(ended, text):
    (ended / SEAL).write_text(text)
    assert refusal(ended).startswith(f"{ended / SEAL}: ")


@pytest.mark.parametrize("text", ["", "[]", "3", '{"status": "stopped"}', '{"status": []}', '{"status": NaN}'])
def test_a_seal_of_what_is_no_result_is_not_believed(ended, text):
    (ended / RESULT).write_text(text)
    seal(ended)
    assert refusal(ended).startswith(f"{ended / RESULT}: ")


def test_files_that_have_not_changed_are_hashed_once(ended, monkeypatch):
    for name in (SEAL, *SEALED):
        os.utime(ended / name, (1e9, 1e9))
    monkeypatch.setattr(sealing, "_RECENT", -(10**12))
    assert read_result(ended) is not None
    monkeypatch.setattr(sealing, "_fingerprint", None)
    assert read_result(ended) == json.loads(RESULT_TEXT)
    monkeypatch.undo()
    (ended / RESULT).write_text(RESULT_TEXT.replace("2.5", "2.4"))
    assert "another SHA-256" in refusal(ended)


def test_a_change_right_after_a_look_is_noticed(ended):
    """Of the same size, and maybe within one tick of the file system's clock."""
    for number in range(50):
        assert read_result(ended) is not None
        (ended / RESULT).write_text(RESULT_TEXT.replace("2.5", f"2.{number % 4}"))
        refusal(ended)
        (ended / RESULT).write_text(RESULT_TEXT)
        time.sleep(0.0005)
