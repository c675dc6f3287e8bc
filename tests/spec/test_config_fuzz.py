"""Seeded slips and hostile edits of the shipped configs: always a run, or lines that a person can read."""

import random
import re
import time
from pathlib import Path

import pytest

from jaxgpt.runs import Run
from jaxgpt.spec import ConfigError, dump_yaml, load_yaml, parse
from jaxgpt.spec.yaml_core import read

FOLDER = Path(__file__).parents[2] / "configs"
TEXTS = [path.read_text(encoding="utf-8") for path in sorted(FOLDER.rglob("*.yaml")) if path.parent.name != "eval"]
SECONDS = 10
"""Ten times what is promised: this machine may be busy."""
PLAIN = "null None true yes -1 0 1e400 1e9 .nan 'x' [ ] { } : - &a *a << !!int !x | > ~ ? --- ... # , 0x10 {}"
WORDS = [
    *PLAIN.split(),
    *"\t\0\u2028\ufeff",
    "9" * 19,
    "kind: moe",
    "%YAML 1.1",
    "[causal]",
    "{kind: union, of: [causal]}",
]


def mutated(text, rng):
    """One to four edits: a word put in, characters left out, a line said twice, a value or a name changed."""
    for _ in range(rng.randint(1, 4)):
        at, how = rng.randrange(len(text) + 1), rng.randrange(6)
        values = list(re.finditer(r"(?<=: )[^,}\n]+", text))
        names = list(re.finditer(r"\b[a-z_]+(?=:)", text))
        if how == 0:
            text = text[:at] + rng.choice(WORDS) + text[at:]
        elif how == 1:
            text = text[:at] + text[at + rng.randint(1, 8) :]
        elif how == 2:
            lines = text.split("\n")
            lines.insert(rng.randrange(len(lines) + 1), rng.choice(lines))
            text = "\n".join(lines)
        elif how == 3 and values:
            value = rng.choice(values)
            text = text[: value.start()] + rng.choice(WORDS) + text[value.end() :]
        elif how == 4:
            text = text[:at] + chr(rng.randrange(0x3000)) + text[at + 1 :]
        elif names:
            old, new = rng.choice(names), rng.choice(names)
            text = text[: old.start()] + new.group() + text[old.end() :]
    return text


def attack(path, seed):
    rng = random.Random(seed)
    raw = bytearray(mutated(rng.choice(TEXTS), rng).encode())
    if rng.random() < 0.1 and raw:
        raw[rng.randrange(len(raw))] = rng.randrange(256)
    path.write_bytes(raw)
    begin = time.perf_counter()
    try:
        run = load_yaml(Run, path)
    except ConfigError as error:
        assert error.problems and all(line.isprintable() and len(line) < 1500 for line in error.problems)
    else:
        assert parse(Run, read(dump_yaml(run))) == run
    assert time.perf_counter() - begin < SECONDS


@pytest.mark.parametrize("part", range(4))
def test_an_edited_config_is_a_run_or_readable_lines(tmp_path, part):
    for seed in range(50):
        attack(tmp_path / "edited.yaml", 50 * part + seed)


@pytest.mark.slow
def test_many_more_are_too(tmp_path):
    for seed in range(1000, 4000):
        attack(tmp_path / "edited.yaml", seed)
