"""What the command says of itself: help in 80 columns, the version, and what a shell completes."""

import os
import subprocess
import sys

import pytest
import typer

import jaxgpt
from jaxgpt.cli import app

VERBS = [
    *(command.name or command.callback.__name__ for command in app.registered_commands),
    *(f"lab {command.name}" for group in app.registered_groups for command in group.typer_instance.registered_commands),
]


@pytest.fixture
def said(jaxgpt_):
    """`said("--version")`: standard output of a call that succeeds, without a word beside it."""

    def call(*words):
        status, out, err = jaxgpt_(*words)
        assert not status and not err
        return out

    return call


@pytest.mark.parametrize("verb", ["", "lab", *VERBS])
def test_help_is_readable_in_80_columns(said, monkeypatch, verb):
    monkeypatch.setenv("COLUMNS", "80")
    text = said(*verb.split(), "--help")
    assert all(len(line) <= 80 for line in text.splitlines()), text
    assert f"Usage: jaxgpt {verb}".rstrip() in text and "[[" not in text and "]]" not in text and "…" not in text
    assert "[default:  " not in text


def test_help_names_every_verb_and_exit_status(said):
    text = " ".join(said("--help").split())
    assert all(f" {verb} " in text for verb in VERBS if " " not in verb)
    for status in ("0 done", "2 bad input", "3 the run diverged", "75 a signal stopped it", "130 Ctrl-C"):
        assert status in text


def test_the_version(said):
    assert said("--version") == f"jaxgpt {jaxgpt.__version__}\n"


@pytest.mark.often("tr-", "posi", "--o")
@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("jaxgpt tr", ["train"]),
        ("jaxgpt show gpt2/de", ["gpt2/demo"]),
        ("jaxgpt ablate posi", ["position", "positions"]),
        ("jaxgpt lab plan norm", ["norm", "norm_place"]),
        ("jaxgpt list c", ["configs"]),
        ("jaxgpt train no-such-config op", []),
        ("jaxgpt train gpt2/demo --o", ["--out"]),
    ],
)
def test_bash_completes(words, offered):
    facts = {"COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1), "_JAXGPT_COMPLETE": "complete_bash"}
    command = [sys.executable, "-m", "jaxgpt"]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | facts, timeout=60)
    assert (done.returncode, done.stderr, done.stdout.split()) == (0, "", offered)


def test_every_path_comes_in_by_a_door():
    """A word that is a path is resolved where it is parsed: no verb takes it as it was typed."""
    groups = [app, *(group.typer_instance for group in app.registered_groups)]
    for command in (command for group in groups for command in group.registered_commands):
        for parameter in typer.main.get_params_from_function(command.callback).values():
            if "Path" in str(parameter.annotation):
                assert parameter.default.parser is not None, (command.callback.__name__, parameter.name)
