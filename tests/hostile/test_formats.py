"""Whatever a stranger's file holds, what reads it answers with a right load or with an error of a few short lines."""

import shutil
import sys

import pytest
from bounds import outcome
from mutate import STANDINS, mutations
from subjects import SUBJECTS

CASES = [(name, file) for name, subject in SUBJECTS.items() for file in subject.files]


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
    raw = (sound(name) / file).read_bytes()
    for what, data in mutations(raw, f"{name}/{file}", count):
        yield what, lambda path, data=data: path.write_bytes(data)


@pytest.mark.parametrize("name", SUBJECTS)
def test_a_sound_file_is_read(name, sound, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    SUBJECTS[name].read(shutil.copytree(sound(name), tmp_path / "copy"))


@pytest.mark.parametrize(("name", "file"), CASES)
def test_a_few_mutations(name, file, sound, attack):
    assert not attack(name, file, mutated(name, file, sound, 6))


@pytest.mark.parametrize(("name", "file"), CASES)
def test_what_stands_in_a_files_place(name, file, sound, attack):
    assert not attack(
        name, file, [(what, put) for what, put in STANDINS.items() if what != "vast" or not SUBJECTS[name].large]
    )


@pytest.mark.slow
@pytest.mark.parametrize(("name", "file"), CASES)
def test_two_hundred_mutations(name, file, sound, attack):
    assert not attack(name, file, mutated(name, file, sound, 200))
