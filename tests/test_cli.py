"""The verbs: results on standard output, and bad input answered in one line, status 2, with nothing written over."""

import json
import os
import re
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

import jaxgpt.runs
from jaxgpt.cli import DIVERGED, STOPPED, main
from jaxgpt.lab.sweep.folder import from_file
from jaxgpt.seal import seal
from jaxgpt.spec import dump_yaml, seams

LICENCE = Path(__file__).parents[1] / "LICENSE"


@pytest.fixture(scope="module")
def config(tiny, tmp_path_factory):
    """A run of 4 steps on the project's own licence."""
    fixed = {"model.num_layers": 1, "model.vocab_size": None, "data.corpus": str(LICENCE), "data.val_tokens": 64}
    path = tmp_path_factory.mktemp("config") / "little.yaml"
    path.write_text(dump_yaml(tiny(**(fixed | {"steps": 4, "exec.log_every": 1}))))
    return path


@pytest.fixture
def refused(jaxgpt_):
    """`refused(...)`: the one line that a verb answers bad input with."""

    def call(*words):
        status, out, err = jaxgpt_(*words)
        assert (status, out, len(err)) == (2, "", 1), (status, out, err)
        assert err[0].startswith("error: ")
        return err[0].removeprefix("error: ").replace(f"{Path.cwd()}/", "")

    return call


@pytest.fixture(scope="module")
def trained(config, tmp_path_factory):
    out = tmp_path_factory.mktemp("trained")
    jaxgpt.run(jaxgpt.spec.load_yaml(jaxgpt.runs.Run, config), out, quiet=True)
    return out


def content(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_training_twice_prints_the_same_result_and_writes_nothing_new(jaxgpt_, config, trained):
    before = content(trained)
    status, out, err = jaxgpt_("train", config, "--out", trained)
    assert (status, err) == (0, []) and json.loads(out) == json.loads(before["result.json"])
    assert content(trained) == before


def test_a_runs_own_config_repeats_the_run(jaxgpt_, trained, tmp_path):
    status, out, _ = jaxgpt_("train", trained / "config.yaml", "--out", tmp_path / "again")
    one, two = json.loads(out), json.loads((trained / "result.json").read_text())
    assert status == 0 and one["val/loss"] == two["val/loss"] and one["train/loss"] == two["train/loss"]


def test_a_stopped_run_exits_with_its_own_status_and_continues(jaxgpt_, config, tmp_path, monkeypatch):
    def watch(row):
        if row["step"] == 1:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr("jaxgpt.runs.run.run", partial(jaxgpt.run, watch=watch))
        status, out, err = jaxgpt_("train", config, "--out", tmp_path)
    assert status == STOPPED == 75 and json.loads(out)["status"] == "stopped"
    assert re.fullmatch("stopped at step [1-3] and saved; the same command continues", err[-1])
    status, out, _ = jaxgpt_("train", config, "--out", tmp_path)
    assert status == 0 and json.loads(out)["status"] == "finished"


def test_a_run_that_diverges_ends_what_follows(config, jaxgpt_, tmp_path):
    """`jaxgpt train ... && jaxgpt eval ...` stops, now and when it is called again."""
    wild = [config, "optim.lr=1e25", "optim.weight_decay=1e20", "--out", tmp_path]
    for _ in range(2):
        status, out, err = jaxgpt_("train", *wild)
        assert status == DIVERGED == 3 and json.loads(out)["status"] == "diverged"
        told = [line for line in err if line.startswith("error: ")]
        assert len(told) == 1 and "diverged at step 2" in told[0] and "optim.lr" in told[0]


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("optim.lrr=1", "optim.lrr: unknown field; did you mean 'lr'?"),
        ("optim.lr=-1", "optim.lr: "),
        ("optim.lr=fast", "optim.lr: "),
        ("optim.kind=adam", "optim: unknown optim kind 'adam'; did you mean 'adamw'?"),
        ("steps=0", "steps: "),
        ("steps=[", "steps: cannot read the value '[' as YAML"),
        ("steps", "steps: not an override; write path=value"),
        ("batch_size=12", "batch_size: 12 rows do not divide over exec.mesh"),
        ("model.num_heads=3", "model: d_model 16 is not a multiple of num_heads 3"),
        ("model.vocab_size=100", "model.vocab_size: 100 is below the tokenizer's 257"),
        ("data.seq_len=9", "data.seq_len 9 exceeds model.context 8"),
        ("model.pattern={kind: banded, window: 0}", "model.pattern.0.window: input should be greater than 0, got 0"),
        ("model.pattern={kind: strided, stride: 9}", "model: pattern.0.stride 9 exceeds context 8; use at most 8"),
        (
            "model.pattern={kind: fixed, stride: 4, summary: 5}",
            "model.pattern.0: summary 5 exceeds stride 4; use at most",
        ),
        (
            "model.pattern={kind: bnded, window: 3}",
            "model.pattern.0: unknown pattern kind 'bnded'; did you mean 'banded'?",
        ),
        (
            "model.pattern={kind: prefix, length: 3}",
            "objective language_model predicts tokens that model.pattern.0 'prefix'",
        ),
        ("model.pattern={kind: per_head, of: [causal, causal, causal]}", "model: pattern.0 shares heads between 3"),
        ("exec.kernel=cudnn", "exec.kernel: cudnn cannot run on a cpu; use chunked (model.pattern.0)"),
        ("data.corpus=nowhere.txt", "data.corpus: 'nowhere.txt' is not there"),
        ("optim.lr=2e-2", "optim.lr: "),
    ],
)
def test_a_bad_field_is_one_line_that_names_it(refused, config, trained, override, line):
    before = content(trained)
    assert refused("train", config, override, "--out", trained).startswith(line)
    assert content(trained) == before


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["train"], "Missing argument"),
        (["train", "absent.yaml"], "absent.yaml: no such config file"),
        (["train", "{config}", "--oot", "x"], "No such option: --oot"),
        (["train", "{config}", "--out", "{config}"], "{config}/run.lock: cannot be opened"),
        (["trian", "{config}"], "No such command 'trian'"),
        (["show", "absent.yaml"], "absent.yaml: no such config file"),
        (["list", "optin"], "optin: no such seam; did you mean 'optim'?"),
        (["sample", "nowhere"], "nowhere: is not there; expected a run"),
        (["sample", "{trained}", "--top-k", "0"], "top_k: "),
        (["sample", "{trained}", "--temperature", "-1"], "temperature: "),
        (["sample", "{trained}", "--max-new", "many"], "Invalid value for '--max-new'"),
        (["sample", "{trained}", "--max-new", "-1"], "Invalid value for '--max-new'"),
        (["sample", "{trained}", "--prompt", ""], "prompt"),
        (["sample", "{trained}", "--prompt", "longer than the context"], "prompt"),
        (["ablate", "absent.py"], "absent.py: "),
    ],
)
def test_bad_words_are_one_line(refused, config, trained, words, line):
    fill = {"config": config, "trained": trained}
    assert refused(*(word.format(**fill) for word in words)).startswith(line.format(**fill))


@pytest.fixture(scope="module")
def sweep(tiny, tmp_path_factory):
    """A question's file, and the folder of its sweep: both runs done, one of them by other code."""
    folder = tmp_path_factory.mktemp("asked") / "sweep"
    folder.mkdir()
    base = tiny(**{"data.corpus": str(LICENCE), "steps": 4, "model.vocab_size": 257}).model_dump(mode="json")
    question = folder / "rate.py"
    question.write_text(
        "from jaxgpt.lab import Experiment\narms = {'a': {}, 'b': {'optim.lr': 1e-3}}\n"
        f"e = Experiment(question='q', base={base}, arms=arms, baseline='a', seeds=1)\n"
    )
    made = from_file(question, [], None, folder, "jaxgpt ablate rate.py")
    made.write()
    for cell, commit in zip(made.plan().cells, ("0123456789abcdef", "fedcba9876543210"), strict=True):
        home = made.folder / cell.path
        home.mkdir(parents=True)
        (home / "result.json").write_text('{"status": "finished", "step": 4, "val/loss": 1.0, "seconds": 1.0}')
        seal(home)
        (home / "provenance.json").write_text(json.dumps({"commit": commit}))
    return question, made.folder


@pytest.fixture
def _old_signals():
    """`lab work` leaves its answer to SIGTERM in place, for its process ends with it."""
    old = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, old)


@pytest.mark.usefixtures("_old_signals")
@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["wrok"], "No such command 'wrok'"),
        (["plan"], "Missing argument"),
        (["plan", "absent.py"], "absent.py: no such experiment file"),
        (["plan", "{question}", "stepz=3"], "stepz: unknown field; did you mean 'steps'?"),
        (["plan", "{question}", "steps=0"], "steps: "),
        (["plan", "{question}", "lab.fues=on"], "lab.fues: unknown field; did you mean 'fuse'?"),
        (["plan", "{question}", "lab.fuse=maybe"], "lab.fuse: "),
        (["plan", "{question}", "lab.engine=slrm"], "lab.engine: unknown engine kind 'slrm'; did you mean 'slurm'?"),
        (["plan", "{question}", "--seeds", "0"], "seeds: expected 1 or more, got 0"),
        (["plan", "{question}", "--detect", "0"], "--detect: expected a difference above 0, got 0.0"),
        (["plan", "{question}", "--detect", "0.1"], "--detect: "),
        (["plan", "{question}", "--detect", "little"], "Invalid value for '--detect'"),
        (["plan", "{folder}", "steps=3"], "{folder}: a planned sweep takes no changes"),
        (["why", "{folder}", "--seeds", "3"], "{folder}: a planned sweep takes no changes"),
        (["why", "nowhere"], "nowhere: no such experiment file"),
        (["work", "nowhere"], "nowhere: no sweep here"),
        (["work", "{question}"], "{question}: no sweep here"),
        (["work", "{folder}", "--watch"], "No such option: --watch"),
        (["status", "nowhere"], "nowhere: no sweep here"),
        (["status", "{question}"], "{question}: no sweep here"),
        (["report", "nowhere"], "nowhere: no sweep here"),
        (["report", "{folder}", "--strict"], "{folder}: commit differs: 0123456789 (1 runs, as "),
    ],
)
def test_bad_words_for_the_lab_are_one_line_and_change_nothing(refused, sweep, tmp_path, words, line):
    question, folder = sweep
    before, fill = content(folder.parent), {"question": question, "folder": folder}
    out = ["--out", tmp_path] if "{question}" in words and words[0] == "plan" else []
    assert refused("lab", *(word.format(**fill) for word in words), *out).startswith(line.format(**fill))
    assert content(folder.parent) == before and not list(tmp_path.iterdir())


def test_the_labs_verbs_answer_on_standard_output(jaxgpt_, sweep):
    _, folder = sweep
    before = content(folder)
    status, out, err = jaxgpt_("lab", "status", folder)
    assert (status, err) == (0, []) and "2 runs: 2 finished" in out
    status, out, err = jaxgpt_("lab", "why", folder)
    assert (status, err) == (0, ["2 left alone; 0 continues; 0 runs"]) and out.count("left alone: finished") == 2
    status, out, err = jaxgpt_("lab", "plan", folder)
    assert (status, err) == (0, []) and "to start: jaxgpt ablate rate.py" in out
    assert content(folder) == before


def test_all_bad_fields_are_told_at_once(jaxgpt_, config):
    status, out, err = jaxgpt_("train", config, "optim.lrr=1", "steps=0", "model.dropout=2")
    assert (status, out) == (2, "") and len(err) == 3 and all(line.startswith("error: ") for line in err)


def test_a_corrupt_token_file_is_named_with_the_byte(refused, config, tmp_path, monkeypatch, tiny):
    corpus = tmp_path / "corpus.txt"
    corpus.write_text(LICENCE.read_text()[:2000])
    words = ["train", config, f"data.corpus={corpus}", "--out", tmp_path / "run"]
    monkeypatch.setenv("JAXGPT_CACHE", str(tmp_path / "cache"))
    spec = jaxgpt.spec.load_yaml(jaxgpt.runs.Run, config, words[2:3])
    jaxgpt.text.prepare(spec.data, spec.tokenizer, spec.model.context, quiet=True)
    (tokens,) = (tmp_path / "cache").rglob("train.tokens")
    raw = bytearray(tokens.read_bytes())
    raw[500] ^= 1
    tokens.write_bytes(raw)
    assert refused(*words).startswith(f"{tokens}: byte 104: SHA-256")
    assert tokens.read_bytes() == raw and not (tmp_path / "run").exists()


def test_debug_shows_the_traceback_wherever_it_stands(config, monkeypatch):
    from jaxgpt.spec import ConfigError

    for words in (["--debug", "train", config, "optim.lrr=1"], ["train", config, "optim.lrr=1", "--debug"]):
        monkeypatch.setattr(sys, "argv", ["jaxgpt", *map(str, words)])
        with pytest.raises(ConfigError, match="did you mean 'lr'"):
            main()


def test_show_tells_what_a_run_costs(jaxgpt_, config):
    status, out, err = jaxgpt_("show", config, "model.dropout=0.25", "--json")
    facts = json.loads(out)
    assert (status, err) == (0, [])
    assert facts.keys() >= {"params", "flops_per_token", "spec"} and facts["spec"]["model"]["dropout"] == 0.25
    status, out, _ = jaxgpt_("show", config)
    assert status == 0 and f"{facts['params']:,}" in out and "kind: gpt2" in out


def test_list_shows_every_seam_with_its_members(jaxgpt_):
    status, out, err = jaxgpt_("list")
    assert (status, err) == (0, []) and {line for line in out.splitlines() if not line.startswith(" ")} == set(seams())
    status, out, _ = jaxgpt_("list", "position")
    assert status == 0 and out.startswith("position\n") and "Su et al. 2021" in out and "optim" not in out


def test_sampling_is_deterministic_and_starts_with_the_prompt(jaxgpt_, trained):
    words = ["sample", trained, "--prompt", "The", "--max-new", 5]
    one, two = (jaxgpt_(*words, "--temperature", 0) for _ in range(2))
    assert one == two and one[0] == 0 and one[1].startswith("The") and one[2] == []
    assert jaxgpt_(*words, "--seed", 3) == jaxgpt_(*words, "--seed", 3)


def test_what_is_hardly_meant_is_told_and_done(jaxgpt_, config):
    status, out, err = jaxgpt_("show", config, "schedule.warmup=8")
    assert status == 0 and out.startswith("kind: objective\nmodel:") and len(err) == 1
    assert err[0].startswith("warning: schedule.warmup: 8 steps of warm-up in a run of 4")


def test_help_is_not_an_error(jaxgpt_):
    status, out, err = jaxgpt_("--help")
    assert (status, err) == (0, []) and "train" in out and "ablate" in out
    status, out, err = jaxgpt_()
    assert "train" in out + "\n".join(err) and not any(line.startswith("error") for line in err)


def test_the_console_script_answers_in_one_line(config):
    words = [Path(sys.executable).with_name("jaxgpt"), "train", config, "optim.lrr=1"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: optim.lrr: unknown field; did you mean 'lr'?\n"
