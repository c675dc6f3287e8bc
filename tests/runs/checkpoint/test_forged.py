"""A stranger's checkpoint, with a manifest that vouches for it: nothing runs, nothing is read from elsewhere."""

import json
import pickle
import shutil
from pathlib import Path

import pytest
from checkpoints import array_store, make_tree

from jaxgpt.runs.checkpoint import manifest
from jaxgpt.runs.checkpoint.checkpoint import restore
from jaxgpt.spec import digest
from jaxgpt.terminal import console


def forge(folder, change):
    """A stranger's checkpoint: whatever `change` does, with a manifest that vouches for it."""
    change(folder)
    body = json.loads((folder / "manifest.json").read_text())
    del body["sha256"]
    shutil.move(folder / "manifest.json", folder.parent / "old")
    manifest.write_manifest(folder, **{key: body[key] for key in ("step", "meta", "leaves")})


def test_a_vouched_for_compressed_array_is_refused(ckpt):
    def compress(folder):
        store = array_store(folder)
        facts = json.loads(store["params/embed/zarr.json"])
        facts["codecs"][0]["configuration"]["codecs"].append({"name": "zstd", "configuration": {"level": 3}})
        store["params/embed/zarr.json"] = json.dumps(facts)

    forge(ckpt / "step_00000200", compress)
    with console.capture() as said:
        assert restore(ckpt, make_tree(0))[0] == 100
    assert "params/embed is not an uncompressed bfloat16 array" in said.get()


def test_nothing_is_unpickled(ckpt, tmp_path):
    class Bomb:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    def plant(folder):
        for path in list(folder.rglob("*")):
            if path.is_file() and path.name != "manifest.json":
                path.write_bytes(pickle.dumps(Bomb()))

    forge(ckpt / "step_00000200", plant)
    with console.capture():
        assert restore(ckpt, make_tree(0))[0] == 100
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["../../secret", "/etc/hostname"])
def test_a_manifest_cannot_point_outside(ckpt, tmp_path, name):
    (tmp_path / "secret").write_text("x")
    path = ckpt / "step_00000200" / "manifest.json"
    body = json.loads(path.read_text())
    del body["sha256"]
    body["files"][name] = {"size": 1, "sha256": "0"}
    path.write_text(json.dumps({"sha256": digest(body, length=64), **body}))
    with console.capture() as said:
        assert restore(ckpt, make_tree(0))[0] == 100
    assert "is missing" in said.get()


@pytest.mark.parametrize(
    "body", [[], {}, {"format": 2}, {"format": 1, "step": 200, "meta": 0, "leaves": 3, "files": []}]
)
def test_a_nonsense_manifest_is_damage(ckpt, body):
    path = ckpt / "step_00000200" / "manifest.json"
    path.write_text(json.dumps({"sha256": digest(body, length=64), **body} if isinstance(body, dict) else body))
    with console.capture():
        assert restore(ckpt, make_tree(0))[0] == 100
