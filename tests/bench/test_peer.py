"""A peer's own prints are no answers, and what it cannot do leaves ours alone."""

from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "bench"
SCRIPT = f"""
import sys
sys.path.insert(0, {str(BENCH)!r})
from peer import serve


def answer(word, count=0):
    print("a library's own words")
    if word == "leave":
        raise SystemExit(3)
    return [word, 1 / count]


serve(answer)
"""


@pytest.fixture
def peer(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(BENCH))
    import peer

    (tmp_path / "script.py").write_text(SCRIPT)
    with peer.Peer(str(tmp_path / "script.py"), {"any": 1}) as process:
        yield peer, process


def test_questions_are_answered_in_order(peer):
    _, process = peer
    first, second = process.begin("a", 2), process.begin("b", 4)
    assert (second.result(), first.result()) == (["b", 0.25], ["a", 0.5])


def test_an_error_is_one_line_and_the_next_question_is_answered(peer):
    module, process = peer
    with pytest.raises(module.PeerError, match="ZeroDivisionError: division by zero"):
        process.ask("a", 0)
    assert process.ask("a", 1) == ["a", 1]


def test_a_peer_that_ends_is_left_out(peer):
    module, process = peer
    notes = []
    calls = {"ours": lambda: 2.0, "theirs": lambda: process.ask("leave")}
    assert module.turns(calls, rounds=3, note=notes.append) == {"ours": 2.0}
    assert len(notes) == 1 and notes[0].endswith("script.py ended with status 3")


def test_what_is_not_installed_is_named(peer):
    module, _ = peer
    assert module.missing("json", "no_such_package") == "no no_such_package here: ours alone"
    assert module.missing("json") is None
