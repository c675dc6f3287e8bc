"""Safetensors: what their own package writes is read lazily and bit for bit; what lies about itself is refused."""

import json
import os

import ml_dtypes
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from jaxgpt.interop.safetensors import FILE, INDEX, MAX_HEADER, read_tensors, write_tensors
from jaxgpt.spec import ConfigError, JaxgptError


def arrays():
    draw = np.random.default_rng(0)
    kinds = ["f8", "f4", "f2", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1"]
    held = {f"layer.{kind}": (100 * draw.random((3, 5))).astype(kind) for kind in kinds}
    return held | {"mask": draw.random((2, 3)) > 0.5, "scalar": np.array(2.5, "f4"), "empty": np.zeros((0, 4), "f4")}


def same(tensors, want):
    assert tensors.keys() == want.keys()
    for name, array in want.items():
        tensor = tensors[name]
        found = tensor.read()
        assert (tensor.shape, tensor.dtype) == (array.shape, array.dtype) == (found.shape, found.dtype)
        np.testing.assert_array_equal(found, array)


def test_reads_what_their_package_writes(tmp_path):
    save_file(arrays(), tmp_path / FILE, metadata={"format": "pt"})
    same(read_tensors(tmp_path / FILE), arrays())
    same(read_tensors(tmp_path), arrays())


def test_their_package_reads_what_we_write(tmp_path):
    write_tensors(tmp_path, arrays())
    assert os.listdir(tmp_path) == [FILE]
    assert (tmp_path / FILE).stat().st_mode & 0o777 == tmp_path.stat().st_mode & 0o666
    found = load_file(tmp_path / FILE)
    assert all(np.array_equal(found[name], array) for name, array in arrays().items())
    with safe_open(tmp_path / FILE, "numpy") as file:
        assert file.metadata() == {"format": "pt"}


def test_brain_floats_come_and_go(tmp_path):
    want = {"w": np.arange(6, dtype=np.float32).reshape(2, 3).astype(ml_dtypes.bfloat16)}
    write_tensors(tmp_path, want)
    same(read_tensors(tmp_path), want)
    with safe_open(tmp_path / FILE, "numpy") as file:
        assert file.get_slice("w").get_dtype() == "BF16"


def test_shards_hold_each_tensor_once(tmp_path):
    want, done = {f"w{i}": np.full((4, 5), i, np.float32) for i in range(7)}, []
    write_tensors(tmp_path, want, shard_bytes=170, progress=done.append)
    names = [f"model-0000{i}-of-00004.safetensors" for i in range(1, 5)]
    assert sorted(os.listdir(tmp_path)) == sorted([*names, INDEX])
    index = json.loads((tmp_path / INDEX).read_text())
    assert index["metadata"]["total_size"] == 560 == done[-1] and len(done) == 4
    assert {name: shard for shard in names for name in load_file(tmp_path / shard)} == index["weight_map"]
    same(read_tensors(tmp_path), want)


def test_a_tensor_larger_than_a_shard_has_one_to_itself(tmp_path):
    want = {"a": np.ones(2, np.float32), "b": np.ones(50, np.float32), "c": np.ones(2, np.float32)}
    write_tensors(tmp_path, want, shard_bytes=16)
    assert len(list(tmp_path.glob("*.safetensors"))) == 3
    same(read_tensors(tmp_path), want)


def test_nothing_is_read_before_it_is_asked_for(tmp_path):
    save_file(arrays(), tmp_path / FILE)
    tensors = read_tensors(tmp_path)
    raw = bytearray((tmp_path / FILE).read_bytes())
    raw[-40:] = bytes(40)
    (tmp_path / FILE).write_bytes(raw)
    assert tensors["layer.u1"].read() is not None
    (tmp_path / FILE).write_bytes(raw[:100])
    with pytest.raises(JaxgptError, match="changed while it was read"):
        tensors["layer.f8"].read()


def entry(begin, end, dtype="F32", shape=None):
    return {"dtype": dtype, "shape": [(end - begin) // 4] if shape is None else shape, "data_offsets": [begin, end]}


def spoiled(path, header, body=b"", length=None):
    """A file of that header, given as an object or as bytes, and of those numbers."""
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes((len(raw) if length is None else length).to_bytes(8, "little") + raw + body)
    return path


TWO = b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}'
DAMAGE = {
    "giant-header": (dict(header={}, length=2**63), "header claims 9,223,372,036,854,775,808 bytes"),
    "large-header": (dict(header=b"{" + b" " * MAX_HEADER + b"}"), "at most 50,000,000"),
    "header-past-the-end": (dict(header={}, length=3), "within the file's 10"),
    "no-header": (dict(header=b"", length=0), "header claims 0 bytes"),
    "not-json": (dict(header=b"{'a': 1}"), "not sound JSON"),
    "not-utf8": (dict(header=b'{"\xff": 1}'), "not sound JSON"),
    "deep-json": (dict(header=b'{"a":' + b"[" * 200_000), "not sound JSON"),
    "long-number": (dict(header=b'{"a":' + b"9" * 5000 + b"}"), "not sound JSON"),
    "a-list": (dict(header=b"[1]"), "a JSON list"),
    "key-twice": (dict(header=TWO, body=bytes(8)), "key 'a' more than once"),
    "beyond-the-end": (dict(header={"a": entry(0, 8)}, body=bytes(4)), "tensors end at byte"),
    "bytes-left-over": (dict(header={"a": entry(0, 4)}, body=bytes(8)), "tensors end at byte"),
    "overlap": (dict(header={"a": entry(0, 8), "b": entry(4, 12)}, body=bytes(12)), "b: overlaps"),
    "same-bytes-twice": (dict(header={"a": entry(0, 8), "b": entry(0, 8)}, body=bytes(8)), "b: overlaps"),
    "hole": (dict(header={"a": entry(0, 4), "b": entry(8, 12)}, body=bytes(12)), "b: leaves 4 bytes unused"),
    "end-before-begin": (dict(header={"a": entry(8, 4, shape=[1])}, body=bytes(8)), "data_offsets"),
    "negative-offset": (dict(header={"a": entry(-4, 0, shape=[1])}, body=bytes(4)), "data_offsets"),
    "fractional-offset": (dict(header={"a": entry(0, 4.0, shape=[1])}, body=bytes(4)), "data_offsets"),
    "size-is-not-shape": (dict(header={"a": entry(0, 8, shape=[3])}, body=bytes(8)), "8 bytes do not make F32"),
    "negative-shape": (dict(header={"a": entry(0, 4, shape=[-1, -1])}, body=bytes(4)), "is no list of sizes"),
    "truth-as-size": (dict(header={"a": entry(0, 4, shape=[True])}, body=bytes(4)), "is no list of sizes"),
    "huge-shape": (dict(header={"a": entry(0, 4, shape=[2**62, 2**62])}, body=bytes(4)), "do not make"),
    "many-dimensions": (dict(header={"a": entry(0, 4, shape=[1] * 100)}, body=bytes(4)), "is no list of sizes"),
    "eight-bit-floats": (dict(header={"a": entry(0, 4, "F8_E4M3", [4])}, body=bytes(4)), "give unquantised weights"),
    "no-dtype-at-all": (dict(header={"a": entry(0, 4, ["F32"], [1])}, body=bytes(4)), "is not read"),
    "missing-offsets": (dict(header={"a": {"dtype": "F32", "shape": [1]}}, body=bytes(4)), "expected dtype, shape"),
    "not-an-entry": (dict(header={"a": 3}), "expected dtype, shape"),
    "name-with-a-line-break": (dict(header={"a\nb": entry(0, 4)}, body=bytes(4)), "printable"),
    "name-that-colours": (dict(header={"\x1b[31m": entry(0, 4)}, body=bytes(4)), "printable"),
    "long-name": (dict(header={"a" * 10_000: entry(0, 4)}, body=bytes(4)), "printable"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_a_file_that_lies_is_refused_in_one_line(case, tmp_path):
    parts, message = DAMAGE[case]
    path = spoiled(tmp_path / FILE, **parts)
    with pytest.raises(ConfigError) as caught:
        read_tensors(path)
    (line,) = str(caught.value).splitlines()
    assert line.startswith(str(path)) and message in line and line.isprintable() and len(line) < 600


def test_every_bad_tensor_of_a_file_is_named(tmp_path):
    header = {"a": entry(0, 4, "F8_E5M2", [4]), "b": entry(4, 8), "c": entry(8, 12, shape=[7])}
    with pytest.raises(ConfigError) as caught:
        read_tensors(spoiled(tmp_path / FILE, header, bytes(12)))
    assert len(caught.value.problems) == 2


def test_an_empty_file_and_none(tmp_path):
    (tmp_path / FILE).touch()
    with pytest.raises(ConfigError, match="header claims 0 bytes"):
        read_tensors(tmp_path)
    (tmp_path / FILE).unlink()
    with pytest.raises(ConfigError, match="holds neither"):
        read_tensors(tmp_path)
    with pytest.raises(ConfigError, match="no such file"):
        read_tensors(tmp_path / FILE)


@pytest.fixture
def sharded(tmp_path):
    """A folder of one shard, beside a file that is none of its business; `sharded(weight_map)` writes the index."""
    folder = tmp_path / "model"
    folder.mkdir()
    for place in (folder / "one.safetensors", tmp_path / "secret.safetensors"):
        save_file({"a": np.ones(3, np.float32)}, place)

    def write(table):
        (folder / INDEX).write_text(json.dumps({"weight_map": table}))
        return folder

    return write


@pytest.mark.parametrize(
    "name",
    [
        "../secret.safetensors",
        "..",
        "./one.safetensors",
        "sub/../one.safetensors",
        "{tmp}/secret.safetensors",
        "..\\secret.safetensors",
        "one.safetensors\x00",
        "one.safetensors\n",
        "one.bin",
        "",
    ],
)
def test_a_shard_lies_in_its_folder_and_is_safetensors(name, sharded, tmp_path):
    folder = sharded({"a": name.format(tmp=tmp_path)})
    with pytest.raises(ConfigError, match="is not the name of a") as caught:
        read_tensors(folder)
    assert str(caught.value).isprintable()


def test_a_shard_may_not_link_out_of_its_folder(sharded, tmp_path):
    folder = sharded({"a": "two.safetensors"})
    (folder / "two.safetensors").symlink_to(tmp_path / "secret.safetensors")
    with pytest.raises(ConfigError, match=r"links to .*secret\.safetensors, out of its folder"):
        read_tensors(folder)
    (folder / "two.safetensors").unlink()
    (folder / "two.safetensors").symlink_to("two.safetensors")
    with pytest.raises(ConfigError, match="no such file"):
        read_tensors(folder)
    (folder / "two.safetensors").unlink()
    (folder / "two.safetensors").symlink_to("one.safetensors")
    assert list(read_tensors(folder)) == ["a"]


def test_the_hubs_cache_keeps_files_elsewhere(tmp_path):
    blobs, folder = tmp_path / "blobs", tmp_path / "snapshots" / "0123"
    blobs.mkdir()
    folder.mkdir(parents=True)
    save_file({"a": np.ones(3, np.float32)}, blobs / "f00d")
    (folder / FILE).symlink_to("../../blobs/f00d")
    assert list(read_tensors(folder)) == ["a"]


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ({"weight_map": {"a": "gone.safetensors"}}, "gone.safetensors: no such file"),
        ({"weight_map": {"b": "one.safetensors"}}, "'b' is not in one.safetensors"),
        ({"weight_map": {"a": 1}}, "expected a map from tensor to file name"),
        ({"weight_map": {}}, "expected a map from tensor to file name"),
        ({}, "expected a map from tensor to file name"),
        ([], "a JSON list; expected an index of shards"),
    ],
)
def test_an_index_that_does_not_fit_is_refused(index, message, sharded):
    folder = sharded({})
    (folder / INDEX).write_text(json.dumps(index))
    with pytest.raises(ConfigError, match=message):
        read_tensors(folder)


def test_a_full_disk_is_one_line(tmp_path):
    with pytest.raises(JaxgptError, match="cannot be written") as caught:
        write_tensors(tmp_path / "absent", {"a": np.ones(3, np.float32)})
    assert "\n" not in str(caught.value)
