"""Whatever a stranger's file holds, what reads it answers with a right load or with an error of a few short lines."""

import json
import random
import shutil
import sys

import pytest
import yaml
from bounds import outcome
from mutations import mutated_bytes, mutated_tree
from places import IN_ITS_PLACE
from subjects import SUBJECTS

CASES = [(name, file) for name, subject in SUBJECTS.items() for file in subject.files]
MUTATED = [(name, file) for name, file in CASES if not SUBJECTS[name].elsewhere]


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """`sound(name)`: the folder of a subject, built once for all that are built alike."""
    built = {}

    def get(name):
        build = SUBJECTS[name].build
        if build not in built:
            built[build] = tmp_path_factory.mktemp("sound")
            build(built[build])
        return built[build]

    return get


@pytest.fixture
def attack(sound, tmp_path, monkeypatch):
    """`attack(name, file, changes)`: what went wrong, by change; a change puts something in the file's place."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "setrecursionlimit", lambda limit: None)

    def run(name, file, changes):
        subject, folder, faults = SUBJECTS[name], tmp_path / "under attack", []
        for what, change in changes:
            if subject.writes or not folder.exists():
                shutil.rmtree(folder, ignore_errors=True)
                shutil.copytree(sound(name), folder)
            path = folder / file
            raw = path.read_bytes()
            path.unlink()
            change(path)
            if fault := outcome(lambda: subject.read(folder)):
                faults.append(f"{what}: {fault}")
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
            path.write_bytes(raw)
        return faults

    return run


def mutated(name, file, sound, count):
    """Damage by byte and, where the file is JSON or YAML, by value."""
    raw = (sound(name) / file).read_bytes()
    tree = tree_of(raw)
    for number in range(count):
        rng = random.Random(f"{name}/{file}/{number}")
        by_byte = tree is None or rng.random() < 0.3
        data = mutated_bytes(raw, rng) if by_byte else json.dumps(mutated_tree(tree, rng)).encode()
        yield number, lambda path, data=data: path.write_bytes(data)


def tree_of(raw):
    try:
        text = raw.decode()
        tree = json.loads(text) if text.lstrip()[:1] in ("{", "[") else yaml.safe_load(text)
    except (ValueError, yaml.YAMLError):
        return None
    return tree if isinstance(tree, dict | list) and tree else None


@pytest.mark.parametrize("name", SUBJECTS)
def test_a_sound_file_is_read(name, sound, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    SUBJECTS[name].read(shutil.copytree(sound(name), tmp_path / "copy"))


@pytest.mark.parametrize(("name", "file"), MUTATED)
def test_a_few_mutations(name, file, sound, attack):
    assert not attack(name, file, mutated(name, file, sound, 4))


@pytest.mark.parametrize(("name", "file"), CASES)
def test_what_stands_in_a_files_place(name, file, sound, attack):
    assert not attack(
        name, file, [(what, put) for what, put in IN_ITS_PLACE.items() if what != "vast" or not SUBJECTS[name].large]
    )


@pytest.mark.slow
@pytest.mark.parametrize(("name", "file"), MUTATED)
def test_two_hundred_mutations(name, file, sound, attack):
    assert not attack(name, file, mutated(name, file, sound, 200))
