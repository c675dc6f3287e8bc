"""Pickles and code are refused in one line, with a command that works; nothing of them runs."""

import pickle
import shlex
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from jaxgpt.interop.pickles import pickled
from jaxgpt.interop.recognize import read_source
from jaxgpt.spec import ConfigError


class Trap:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


@pytest.fixture
def trap(tmp_path):
    return tmp_path / "it-ran"


def objects(path, trap):
    with path.open("wb") as file:
        np.save(file, np.array({"w": Trap(str(trap))}, dtype=object), allow_pickle=True)


def archive(path, trap):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("archive/data.pkl", pickle.dumps(Trap(str(trap))))


def bare(path, trap, protocol=4):
    path.write_bytes(pickle.dumps(Trap(str(trap)), protocol))


FORMS = {"model.bin": archive, "model.pt": archive, "old.pth": bare, "weights.npy": objects, "weights.npz": archive}


@pytest.mark.parametrize("name", FORMS)
def test_a_pickled_file_is_refused_with_the_way_around(name, tmp_path, trap):
    path = tmp_path / name
    FORMS[name](path, trap)
    with pytest.raises(ConfigError) as caught:
        read_source(path)
    (line,) = str(caught.value).splitlines()
    assert (
        line.startswith(f"{path}: is pickled") and "python -c" in line and str(path.with_suffix(".safetensors")) in line
    )
    assert ("weights_only=True" in line) == (path.suffix not in (".npy", ".npz"))
    assert not trap.exists()


@pytest.mark.parametrize(
    "names", [["pytorch_model.bin"], ["pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin"]]
)
def test_a_folder_of_pickles_is_refused_with_all_its_files(names, tmp_path, trap):
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    for name in names:
        archive(tmp_path / name, trap)
    with pytest.raises(ConfigError) as caught:
        read_source(tmp_path)
    (line,) = str(caught.value).splitlines()
    assert all(str(tmp_path / name) in line for name in [*names, "model.safetensors"]) and not trap.exists()


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_pickles_are_told_from_llama2c_headers(protocol, tmp_path, trap):
    bare(tmp_path / "a.bin", trap, protocol)
    assert pickled(tmp_path / "a.bin")
    for width in (640, 896, 1152, 1408):  # begin with 0x80 and 2, 3, 4, 5
        (tmp_path / "b.bin").write_bytes(np.array([width, 8, 2, 2, 2, 32, 16], "<i4").tobytes())
        assert not pickled(tmp_path / "b.bin")


def test_numpys_command_writes_the_arrays(tmp_path):
    path = tmp_path / "w e.npy"
    np.save(path, np.array({"w": np.arange(3.0)}, dtype=object), allow_pickle=True)
    with pytest.raises(ConfigError) as caught:
        read_source(path)
    _run_command(str(caught.value))
    _holds(path.with_suffix(".safetensors"), {"w": np.arange(3.0)})


@pytest.mark.parity
@pytest.mark.parametrize("nested", [None, "model", "state_dict"])
def test_torchs_command_writes_the_tensors(nested, tmp_path):
    torch = pytest.importorskip("torch")
    shared = torch.arange(6.0).reshape(2, 3)
    tree = {"a": shared, "b": shared, "c": shared.T}
    torch.save(tree if nested is None else {nested: tree}, tmp_path / "it.pt")
    with pytest.raises(ConfigError) as caught:
        read_source(tmp_path / "it.pt")
    _run_command(str(caught.value))
    _holds(tmp_path / "it.safetensors", {name: tensor.numpy() for name, tensor in tree.items()})


def _run_command(line):
    words = shlex.split(line[line.index("python -c") :])
    subprocess.run([sys.executable, *words[1:]], check=True)


def _holds(path, want):
    from jaxgpt.interop.safetensors import read_tensors

    found = {name: tensor.read() for name, tensor in read_tensors(path).items()}
    assert found.keys() == want.keys()
    assert all(np.array_equal(found[name], array) for name, array in want.items())


def test_a_config_with_code_is_refused_and_the_code_does_not_run(tmp_path, trap):
    config = '{"model_type": "gpt2", "auto_map": {"AutoModelForCausalLM": "modeling.Model"}}'
    (tmp_path / "config.json").write_text(config)
    (tmp_path / "modeling.py").write_text(f"open({str(trap)!r}, 'w')")
    (tmp_path / "model.safetensors").write_bytes(b"\2\0\0\0\0\0\0\0{}")
    with pytest.raises(ConfigError, match="auto_map: names code in the folder, which is never run") as caught:
        read_source(tmp_path)
    assert "\n" not in str(caught.value) and not trap.exists()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (None, b"", "is not there; expected a run"),
        ("notes.txt", b"dear diary", "is none of the formats"),
        ("empty.pt", b"", "is none of the formats"),
        ("model.safetensors", b"\2\0\0\0\0\0\0\0{}", "give their folder"),
        ("folder/readme", b"", "holds no config.yaml or config.json"),
        ("folder/tiny.gguf", b"GGUF", "give .*tiny.gguf itself"),
    ],
)
def test_what_is_no_checkpoint_is_one_line(name, content, message, tmp_path):
    path = tmp_path / (name or "absent")
    path.parent.mkdir(exist_ok=True)
    if name:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=message) as caught:
        read_source(path.parent if path.parent != tmp_path else path)
    assert "\n" not in str(caught.value)
