"""Compiling for TPUs that are not there: what is checked first, what is predicted, and one that is really compiled."""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import jax
import pytest

from jaxgpt.aot.adaptation import adapted, changes
from jaxgpt.aot.child_process import refusal
from jaxgpt.aot.collectives import Collective
from jaxgpt.aot.compilation import TOO_LARGE, check
from jaxgpt.aot.link_time import Place, seconds, taken
from jaxgpt.aot.memory_traffic import traffic
from jaxgpt.aot.mesh_search import candidates
from jaxgpt.aot.roofline import predict
from jaxgpt.cli import main
from jaxgpt.parallel.chips import CHIPS, PEAK, parse_slice
from jaxgpt.runs import Run
from jaxgpt.spec import ConfigError, dump_yaml, load_yaml
from jaxgpt.train import peak_flops as devices
from jaxgpt.train.compiled_step import batch_shapes
from jaxgpt.train.program import hyper, program

V5P = parse_slice("v5p:4x4x8")
LINK = 100e9
CUBE = [Place(0, (x, y, z)) for x in range(4) for y in range(4) for z in range(8)]


def test_a_slice_is_read_from_its_name():
    assert (V5P.chips, V5P.wrapped, V5P.copies) == (128, (True, True, True), 1)
    two = parse_slice("v5e:4x8*2")
    assert (two.name, two.chips, two.wrapped) == ("v5e:4x8", 64, (False, False))
    assert parse_slice("v6e:16x16").wrapped == (True, True)


def test_links_add_up_to_what_the_pages_print():
    both_ways = {kind: 2 * chip.link * chip.links for kind, chip in CHIPS.items()}
    assert both_ways["v5p"] == 1200e9 and both_ways["v5e"] == 400e9 and both_ways["v6e"] == 800e9


def test_training_and_predicting_divide_by_the_same_table():
    assert all(PEAK[chip.kind] == chip.flops for chip in CHIPS.values())
    assert devices.PEAK is PEAK


@pytest.mark.parametrize(
    ("kind", "members", "want"),
    [
        ("all-gather", range(8), 7 / 8 / (2 * LINK)),  # a ring of 8 along z
        ("all-reduce", range(8), 2 * 7 / 8 / (2 * LINK)),
        ("reduce-scatter", range(4), 3 / 4 / LINK),  # half of z is a line
        ("all-gather", range(128), 127 / 128 / (6 * LINK)),  # three rings at once
        ("all-to-all", range(8), 8 / 8 / LINK),
        ("collective-permute", (0, 1, 2), 1 / LINK),
        ("collective-permute", (0, 4), 4 / LINK),  # four hops along z
        ("collective-permute", (0, 7), 1 / LINK),  # around the ring
    ],
)
def test_collectives_take_what_rings_take(kind, members, want):
    size = 1 << 30
    one = Collective(kind, size, len(members), 1, tuple(members), "")
    assert seconds(one, CUBE, V5P) == pytest.approx(size * want)


def test_between_slices_each_chip_sends_its_share_over_the_data_centre():
    two = parse_slice("v5p:4x4x8*2")
    where = CUBE + [place._replace(slice=1) for place in CUBE]
    size = 1 << 30
    one = Collective("all-reduce", size, 256, 1, tuple(range(256)), "")
    inside = 2 * 127 / 128 * size / (6 * LINK)
    assert seconds(one, where, two) == pytest.approx(inside + 2 * 1 / 2 * size / 128 / (50e9 / 8))


def test_permutes_that_go_opposite_ways_go_at_once():
    forth, back = tuple(range(8)), (0, *range(7, 0, -1))
    both = [Collective("collective-permute", 1 << 30, 8, times, way, "") for times, way in ((3, forth), (2, back))]
    assert taken(both, CUBE, V5P) == {"collective-permute": pytest.approx(3 * (1 << 30) / LINK)}
    gather = Collective("all-gather", 1 << 30, 8, 5, forth, "")
    assert taken([gather, gather], CUBE, V5P)["all-gather"] == pytest.approx(10 * seconds(gather, CUBE, V5P))


def facts(**changed):
    spoken = {"all-gather": {"seconds": 0.25}, "all-reduce": {"seconds": 0.5}}
    fixed = {"traffic_bytes": 2765e9, "collectives": spoken, "flops_per_token": 6e9, "flops_per_token_true": 5e9}
    return fixed | changed


def test_the_longest_term_binds(tiny):
    run = tiny(**{"exec.remat": "block"})
    tokens = run.batch_size * run.seq_len
    guess = predict(run, V5P, facts())
    ideal = tokens * 5e9 / (128 * 459e12)
    assert guess.compute == pytest.approx(ideal * 4 / 3) and guess.memory == 1.0 and guess.network == 0.75
    assert (guess.binds, guess.step, guess.apart) == ("memory", 1.0, 1.75)
    figures = guess.figures()
    assert figures["mfu"] == pytest.approx(ideal) and figures["mfu_apart"] == pytest.approx(ideal / 1.75)
    assert figures["mfu_dense"] == pytest.approx(ideal * 6 / 5)
    assert predict(run, V5P, facts(traffic_bytes=1)).binds == "network"
    assert predict(run, V5P, facts(flops_per_token_true=5e18)).binds == "compute"
    assert predict(tiny(), V5P, facts()).compute == pytest.approx(ideal)


def test_a_pipeline_waits_for_its_bubble(tiny):
    changes = {"batch_size": 128, "exec.mesh": {"pipeline": 2, "data": 64}, "exec.pipeline.microbatches": 2}
    guess = predict(tiny(**changes), V5P, facts())
    assert guess.compute == pytest.approx(guess.ideal * 3 / 2)  # two microbatches in three ticks


PROGRAM = """HloModule jit_step

%inner (a: f32[96,64], b: f32[64], i: s32[]) -> (f32[64], f32[96,64]) {
  %a = f32[96,64] parameter(0)
  %zero = f32[] constant(0)
  %wide = f32[97,64]{1,0} pad(%a, %zero), padding=0_1x0_0
  %flat = f32[97,64]{1,0} bitcast(%wide)
  %b = f32[64] parameter(1)
  %i = s32[] parameter(2)
  %row = f32[1,64] dynamic-slice(%flat, %i, %i), dynamic_slice_sizes={1,64}
  %line = f32[64] bitcast(%row)
  %sum = f32[64] add(%line, %b)
  %new = f32[1,64] bitcast(%sum)
  %put = f32[96,64] dynamic-update-slice(%a, %new, %i, %i)
  ROOT %both = (f32[64], f32[96,64]) tuple(%sum, %put)
}

ENTRY %main (a: f32[96,64], b: f32[64], i: s32[]) -> f32[96,64] {
  %a = f32[96,64] parameter(0)
  %b = f32[64]{0:S(1)} parameter(1)
  %i = s32[] parameter(2)
  %fusion = (f32[64], f32[96,64]) fusion(%a, %b, %i), kind=kLoop, calls=%inner
  %sum = f32[64] get-tuple-element(%fusion), index=0
  ROOT %twice = f32[64] add(%sum, %sum)
}
"""


def test_a_slice_of_a_stack_is_read_and_changed_in_place():
    index, row = 4, 64 * 4
    read, written = row + index, row + (row + index + index)
    assert traffic(PROGRAM) == read + written + 3 * row


def test_candidates_divide_batch_and_heads(tiny):
    run = tiny(batch_size=8, **{"model.num_heads": 4})
    meshes = [one.exec.mesh.shape(16) for one in candidates(run, parse_slice("v5e:4x4"), {})]
    assert [(mesh["fsdp"], mesh["tensor"], mesh["sequence"]) for mesh in meshes] == [(8, 2, 1), (4, 4, 1)]
    fixed = [one.exec.mesh.shape(16) for one in candidates(run, parse_slice("v5e:4x4"), {"fsdp": 8, "data": 1})]
    assert [(mesh["fsdp"], mesh["tensor"]) for mesh in fixed] == [(8, 2)]


@pytest.mark.parametrize(
    ("said", "too_large"),
    [
        ("INTERNAL: x\n  Used 120.00G of 95.74G hbm. Exceeded by 24G.", True),
        ("RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required (131G) exceeds 95G.", True),
        ("INTERNAL: Mosaic failed", False),
    ],
)
def test_a_refusal_for_want_of_memory_is_told_from_others(said, too_large):
    line = refusal(said, V5P)
    assert (TOO_LARGE in line) == too_large and "\n" not in line


CONFIGS = Path(__file__).parents[2] / "configs"
GPT3 = CONFIGS / "gpt3/175b.yaml"
SMALL = {"model.vocab_size": 8, "model.num_layers": 1, "model.d_model": 12, "data.seq_len": 8}


@pytest.mark.often("simcse/demo")
@pytest.mark.parametrize("name", ["bert/small_cpu", "simcse/demo", "simcse/sup_bert_base"])
def test_the_step_takes_the_batch_that_is_promised(name):
    run = load_yaml(Run, CONFIGS / f"{name}.yaml", SMALL)
    compiled = program(run)
    metrics = jax.eval_shape(compiled.step, compiled.state, batch_shapes(run, compiled), jax.random.key(0), hyper(run))[
        1
    ]
    assert metrics["loss"].shape == ()


def test_gpt3_is_changed_as_far_as_its_mesh_asks():
    asked, where = load_yaml(Run, GPT3, {"exec.mesh": {"fsdp": 128, "tensor": 8}}), parse_slice("v5p:8x8x16")
    run = adapted(asked, where)
    assert changes(asked, run) == {
        "batch_size": (1600, 1536),
        "batch_ramp": ("from 16 rows", None),
        "eval.batch_size": (64, None),
        "exec.remat": ("none", "block"),
        "model.vocab_size": (50257, 50304),
    }
    check(run, where)
    assert adapted(run, where) == run


def test_what_fits_as_it_is_stays_as_it_is(tiny):
    run = tiny(**{"exec.mesh.fsdp": 4})
    assert adapted(run, parse_slice("v5e:2x2")) == run and changes(run, run) == {}
    staged = tiny(**{"exec.mesh": {"pipeline": 2, "data": 2}, "batch_size": 7})
    assert adapted(staged, parse_slice("v5e:2x2")).batch_size == 8


def test_gpt3s_meshes_keep_about_its_rows_and_divide_them():
    asked, where = load_yaml(Run, GPT3), parse_slice("v5p:8x8x16")
    meshes = {}
    for run in candidates(asked, where, {}):
        check(run, where)
        mesh = run.exec.mesh.shape(where.chips)
        meshes[mesh["fsdp"], mesh["tensor"]] = run.batch_size
    assert meshes == {(512, 2): 1536, (256, 4): 1536, (128, 8): 1536, (64, 16): 1600}


@pytest.fixture
def compiler(monkeypatch):
    """Stands in for the compiling process: every step takes what `memory` says of its mesh and remat."""
    asked = []

    def run(command, input, **_):
        request = json.loads(input)
        asked.append(request["run"]["exec"])
        mesh, remat = request["run"]["exec"]["mesh"], request["run"]["exec"]["remat"]
        told = facts(
            memory_bytes=1e9 if remat == "block" else 1e12,
            collectives={"all-gather": {"seconds": mesh["tensor"], "times": 1, "bytes": 1, "largest": LARGEST}},
            kernels={"pattern.0": "splash"},
            **dict.fromkeys(("params_bytes", "optimizer_bytes", "temporary_bytes", "host_memory_bytes"), 1),
            **dict.fromkeys(("trace_seconds", "compile_seconds"), 1.0),
        )
        if mesh["tensor"] == 4:
            told = {"error": "exec.mesh: the step does not fit a chip of v5e:4x4: Used 20G of 16G hbm; split more"}
        return subprocess.CompletedProcess(command, 0, json.dumps(told), "")

    monkeypatch.setattr("subprocess.run", run)
    monkeypatch.setattr("jaxgpt.aot.topology.find_spec", lambda name: name)
    return asked


LARGEST = {"bytes": 1, "times": 1, "group": 1, "of": ""}


def test_without_a_mesh_the_best_is_found_and_what_changed_is_said(words, compiler, tmp_path, monkeypatch, capsys):
    found = tmp_path / "found.json"
    changed = ["batch_size=8", "model.num_heads=4", "model.vocab_size=30", "eval.batch_size=5"]
    monkeypatch.setattr(sys, "argv", ["jaxgpt", *words, *changed, "--topology", "v5e:4x4", "--json", str(found)])
    with pytest.raises(SystemExit) as caught:
        main()
    out, _ = capsys.readouterr()
    assert caught.value.code == 0
    assert [(each["mesh"]["tensor"], each["remat"]) for each in compiler] == [
        (2, "none"),  # its memory would not do,
        (2, "block"),
        (4, "none"),  # and these are refused
        (4, "block"),
    ]
    figures = json.loads(found.read_text())
    assert (
        figures["mesh"]["tensor"] == 2 and len(figures["tried"]) == 2 and "does not fit" in figures["tried"][1]["why"]
    )
    assert figures["changed"] == {"eval.batch_size": [5, None], "exec.remat": ["none", "block"]}
    assert "mesh               fsdp 8 x tensor 2\n" in out and "exec.remat none -> block: " in out


def test_on_a_named_mesh_rows_and_vocabulary_are_made_to_fit(words, compiler, tmp_path, monkeypatch, capsys):
    found = tmp_path / "found.json"
    options = ["model.vocab_size=31", "batch_size=7", "--topology", "v5e:2x2", "--mesh", "fsdp=2,tensor=2"]
    monkeypatch.setattr(sys, "argv", ["jaxgpt", *words, *options, "--json", str(found)])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 0 and len(compiler) == 2
    figures = json.loads(found.read_text())
    assert figures["changed"]["batch_size"] == [7, 6] and figures["changed"]["model.vocab_size"] == [31, 128]


def test_a_slice_that_holds_it_on_no_mesh_is_one_line(words, compiler, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["jaxgpt", *words, "model.num_heads=4", "--topology", "v5e:4x4", "--search"])
    monkeypatch.setattr(sys, "argv", [*sys.argv, "--mesh", "tensor=4"])
    with pytest.raises(SystemExit) as caught:
        main()
    _, err = capsys.readouterr()
    assert caught.value.code == 2
    assert err.splitlines()[-1].startswith("error: --mesh: none of 1 can be compiled for v5e:4x4; use a larger slice")


@pytest.fixture
def words(tiny, tmp_path):
    """`jaxgpt compile` of a tiny run, up to its options."""
    path = tmp_path / "tiny.yaml"
    path.write_text(dump_yaml(tiny()))
    return ["compile", str(path)]


@pytest.mark.parametrize(
    ("more", "line"),
    [
        (["--topology", "v5q:4x4x4"], "--topology: 'v5q:4x4x4' names no known chip; did you mean 'v5p'?"),
        (["--topology", "v5p:4x4"], "--topology: 'v5p:4x4' needs 3 sizes, as in v5p:4x4x4"),
        (["--topology", "v5e:4x0"], "--topology: 'v5e:4x0' needs 2 sizes"),
        (["--topology", "v5e:4x4*none"], "--topology: 'v5e:4x4*none' needs 2 sizes"),
        (["--topology", "v5e:2x2", "--mesh", "fsdp"], "--mesh: 'fsdp' is no axis=size; write --mesh fsdp=128,tensor=8"),
        (["--topology", "v5e:2x2", "--mesh", "fsp=4"], "exec.mesh.fsp: unknown field; did you mean 'fsdp'?"),
        (["--topology", "v5e:2x2", "--mesh", "fsdp=3"], "exec.mesh: "),
        (
            ["--topology", "v5e:4x4", "--search", "--mesh", "tensor=1,sequence=1"],
            "--mesh: none divides about 8 rows over 16 chips by data x fsdp x expert",
        ),
        (["--topology", "v5e:4x4", "--mesh", "sequence=16"], "data.seq_len: 8 tokens do not divide over exec.mesh"),
        (["model.vocab_size=null", "--topology", "v5e:2x2"], "model.vocab_size: not set"),
        (["model.vocab_size=null", "--topology", "v5e:2x2", "--mesh", "fsdp=4"], "model.vocab_size: not set"),
        (["--topology", "v5e:2x2", "--json", __file__], "--json: "),
        (["exec.kernel=cudnn", "--topology", "v5e:2x2"], "exec.kernel: cudnn cannot run on a tpu; use splash"),
    ],
)
def test_bad_input_is_one_line_before_anything_is_compiled(words, more, line, monkeypatch, capsys):
    monkeypatch.setattr("subprocess.run", None)
    monkeypatch.setattr("jaxgpt.aot.topology.find_spec", lambda name: name)
    assert refused(words + more, monkeypatch, capsys).startswith(line)


def test_without_libtpu_it_says_what_to_install(words, monkeypatch, capsys):
    monkeypatch.setattr("jaxgpt.aot.topology.find_spec", lambda name: None)
    said = refused([*words, "--topology", "v5e:2x2"], monkeypatch, capsys)
    assert said.endswith("pip install 'jaxgpt[tpu]'")


def refused(words, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["jaxgpt", *words])
    with pytest.raises(SystemExit) as caught:
        main()
    out, err = capsys.readouterr()
    assert (caught.value.code, out, len(err.splitlines())) == (2, "", 1), (out, err)
    return err.removeprefix("error: ").strip()


def test_names_of_slices_are_checked_in_python_too():
    with pytest.raises(ConfigError, match="names no known chip"):
        parse_slice("h100:8")


@pytest.mark.tpu
def test_a_tiny_step_compiles_for_a_slice(words, tmp_path, monkeypatch, capsys):
    if find_spec("libtpu") is None:
        pytest.skip("libtpu is not installed: run `make tpu-compile`, or pip install 'jax[tpu]'")
    found = tmp_path / "found.json"
    changes = ["model.context=512", "model.d_model=128", "dtype=bfloat16", "exec.layers=scan", "model.num_layers=4"]
    options = ["--topology", "v5e:2x2", "--mesh", "fsdp=2,tensor=2", "--json", str(found)]
    monkeypatch.setattr(sys, "argv", ["jaxgpt", *words, *changes, *options])
    with pytest.raises(SystemExit) as caught:
        main()
    out, err = capsys.readouterr()
    assert caught.value.code == 0, err
    figures = json.loads(found.read_text())
    assert figures["kernels"] == {"pattern.0": "splash"}
    assert figures["memory_bytes"] < figures["hbm_bytes"] and "memory per chip" in out
    assert figures["params_bytes"] * 2 <= figures["optimizer_bytes"] < figures["argument_bytes"]
    spoken = figures["collectives"]
    assert spoken["all-gather"]["times"] >= 4 * 6 and spoken["all-reduce"]["times"] >= 4 * 4  # weights, sublayers
    assert figures["prediction"]["binds"] in ("compute", "memory", "network")
