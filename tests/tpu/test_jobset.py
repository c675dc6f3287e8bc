"""The JobSet manifest: its chips add up, its fields are JobSet's, its run is the one that was asked for."""

import argparse
import subprocess
import sys
from math import prod
from pathlib import Path

import pytest
import yaml

from jaxgpt.runs import Run
from jaxgpt.spec import dump_yaml, load_yaml

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tpu"))
import accelerators  # noqa: E402
import jobset  # noqa: E402

TEXTS = dict  # names that the user chooses, with text
META = {"name": str, "annotations": TEXTS, "labels": TEXTS}
# kubernetes-sigs/jobset, api/jobset/v1alpha2/jobset_types.go; Kubernetes, batch/v1 JobSpec and v1 PodSpec.
POD = {
    "restartPolicy": str,
    "terminationGracePeriodSeconds": int,
    "nodeSelector": TEXTS,
    "containers": [
        {
            "name": str,
            "image": str,
            "command": [str],
            "env": [{"name": str, "value": str}],
            "resources": {"limits": {"google.com/tpu": int}},
            "volumeMounts": [{"name": str, "mountPath": str}],
        }
    ],
    "volumes": [
        {
            "name": str,
            "emptyDir": {},
            "persistentVolumeClaim": {"claimName": str},
            "csi": {"driver": str, "volumeAttributes": TEXTS},
        }
    ],
}
JOB = {
    "completionMode": str,
    "completions": int,
    "parallelism": int,
    "backoffLimit": int,
    "template": {"metadata": META, "spec": POD},
}
JOBSET = {
    "apiVersion": str,
    "kind": str,
    "metadata": META,
    "spec": {
        "network": {"enableDNSHostnames": bool, "subdomain": str, "publishNotReadyAddresses": bool},
        "failurePolicy": {"maxRestarts": int, "restartStrategy": str},
        "replicatedJobs": [{"name": str, "replicas": int, "template": {"metadata": META, "spec": JOB}}],
    },
}


def conforms(value, fields, path=""):
    """Asserts that every field is one that the API has, of its type."""
    if isinstance(fields, list):
        assert isinstance(value, list) and value, path
        for item in value:
            conforms(item, fields[0], f"{path}[]")
    elif isinstance(fields, dict):
        assert isinstance(value, dict), path
        for name, held in value.items():
            assert name in fields, f"{path}.{name}"
            conforms(held, fields[name], f"{path}.{name}")
    elif fields is TEXTS:
        assert all(type(name) is str and type(held) is str for name, held in value.items()), path
    else:
        assert isinstance(value, fields) and isinstance(value, bool) == (fields is bool), f"{path}: {value!r}"


def options(**changes):
    return argparse.Namespace(**{"bucket": None, "claim": None, "spot": False, "restarts": 10, **changes})


def pod_of(tree):
    return tree["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]


@pytest.fixture(scope="module")
def config(tiny, tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "small run.yaml"
    path.write_text(dump_yaml(tiny(batch_size=64)))
    return path


@pytest.fixture
def render(config, capsys):
    """`render("v5e:4x4", ...)`: the manifest that the script prints, read back."""

    def call(topology, *words):
        assert jobset.main([str(config), "--topology", topology, "--image", "i", "--name", "small", *words]) == 0
        return yaml.safe_load(capsys.readouterr().out)

    return call


@pytest.mark.often("v5p")
@pytest.mark.parametrize("kind", accelerators.TABLE)
def test_hosts_times_chips_are_the_topology_for_every_shape(tiny, kind):
    run, accelerator = tiny(), accelerators.TABLE[kind]
    for shape in accelerator.shapes():
        part = accelerators.named(f"{kind}:{shape}")
        tree = jobset.manifest("a", part, 3, "i", run, options(claim="runs"))
        conforms(tree, JOBSET)
        (jobs,) = tree["spec"]["replicatedJobs"]
        job, pod = jobs["template"]["spec"], pod_of(tree)
        chips = pod["containers"][0]["resources"]["limits"]["google.com/tpu"]
        assert jobs["replicas"] == 3
        assert job["completions"] == job["parallelism"] and job["completionMode"] == "Indexed"
        assert job["completions"] * chips == prod(map(int, shape.split("x"))) <= accelerator.chips
        assert pod["nodeSelector"] == {
            "cloud.google.com/gke-tpu-accelerator": accelerator.gke,
            "cloud.google.com/gke-tpu-topology": shape,
        }


# Rows of Google's tables: docs.cloud.google.com/tpu/docs/v5p, /v6e, /v5e, /v4.
@pytest.mark.parametrize(
    ("topology", "chips", "hosts", "machine", "flags"),
    [
        ("v5p:2x2x1", 4, 1, "ct5p-hightpu-4t", ["--accelerator-type=v5p-8"]),
        ("v5p:2x4x4", 32, 8, "ct5p-hightpu-4t", ["--accelerator-type=v5p-64"]),
        ("v5p:4x8x8", 256, 64, "ct5p-hightpu-4t", ["--accelerator-type=v5p-512"]),
        ("v5p:8x8x16", 1024, 256, "ct5p-hightpu-4t", ["--accelerator-type=v5p-2048"]),
        ("v5p:16x16x24", 6144, 1536, "ct5p-hightpu-4t", ["--accelerator-type=v5p-12288"]),
        ("v5p:4x16x16", 1024, 256, "ct5p-hightpu-4t", ["--type=v5p", "--topology=4x16x16"]),
        ("v6e:1x1", 1, 1, "ct6e-standard-1t", ["--accelerator-type=v6e-1"]),
        ("v6e:2x4", 8, 1, "ct6e-standard-8t", ["--accelerator-type=v6e-8"]),
        ("v6e:4x4", 16, 4, "ct6e-standard-4t", ["--accelerator-type=v6e-16"]),
        ("v6e:16x16", 256, 64, "ct6e-standard-4t", ["--accelerator-type=v6e-256"]),
        ("v5e:2x2", 4, 1, "ct5lp-hightpu-4t", ["--accelerator-type=v5litepod-4"]),
        ("v5e:8x16", 128, 32, "ct5lp-hightpu-4t", ["--accelerator-type=v5litepod-128"]),
        ("v4:2x2x4", 16, 4, "ct4p-hightpu-4t", ["--accelerator-type=v4-32"]),
        ("v4:12x12x24", 3456, 864, "ct4p-hightpu-4t", ["--accelerator-type=v4-6912"]),
    ],
)
def test_the_table_agrees_with_googles(topology, chips, hosts, machine, flags):
    part = accelerators.named(topology)
    assert (part.chips, part.hosts, part.machine, part.flags) == (chips, hosts, machine, flags)


def test_the_manifest_carries_the_run_with_its_overrides(config, render, tmp_path):
    corpus = "data.corpus=/mnt/$HOME/$(NAME) and 'more'"
    container = pod_of(render("v5e:4x4", corpus, "exec.mesh.fsdp=16"))["containers"][0]
    env = {entry["name"]: entry["value"] for entry in container["env"]}
    (tmp_path / "back.yaml").write_text(env["JAXGPT_RUN"].replace("$$", "$"))  # as Kubernetes does
    assert load_yaml(Run, tmp_path / "back.yaml") == load_yaml(Run, config, [corpus, "exec.mesh.fsdp=16"])
    assert env["JAXGPT_OUT"] == "/mnt/jaxgpt/runs/small"


def test_the_container_starts_train_on_that_run(render, tmp_path):
    shell, flag, script = pod_of(render("v5e:2x2"))["containers"][0]["command"]
    stand_in = tmp_path / "jaxgpt"
    stand_in.write_text('#!/bin/sh\necho "$@"\ncat "$2"\n')
    stand_in.chmod(0o755)
    env = {"PATH": f"{tmp_path}:/usr/bin:/bin", "JAXGPT_RUN": "a: 100%\n\\n\n", "JAXGPT_OUT": "/x y"}
    script = script.replace("/tmp/run.yaml", f"{tmp_path}/run.yaml")
    done = subprocess.run([shell, flag, script], env=env, capture_output=True, text=True, check=True)
    assert done.stdout == f"train {tmp_path}/run.yaml --out /x y\na: 100%\n\\n\n"


def test_slices_spot_and_storage_are_where_kubernetes_looks(render):
    tree = render("v5p:4x4x4", "--slices", "2", "--spot", "--bucket", "my-bucket", "--restarts", "3", "batch_size=128")
    conforms(tree, JOBSET)
    pod = pod_of(tree)
    assert tree["metadata"]["annotations"] == {
        "alpha.jobset.sigs.k8s.io/exclusive-topology": "cloud.google.com/gke-nodepool"
    }
    assert tree["spec"]["replicatedJobs"][0]["replicas"] == 2
    assert tree["spec"]["failurePolicy"] == {"maxRestarts": 3}
    assert tree["spec"]["network"] == {"enableDNSHostnames": True, "subdomain": "small"}
    assert pod["nodeSelector"]["cloud.google.com/gke-spot"] == "true" and pod["restartPolicy"] == "Never"
    assert pod["volumes"][0]["csi"]["volumeAttributes"]["bucketName"] == "my-bucket"
    template = tree["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]
    assert template["metadata"]["annotations"] == {"gke-gcsfuse/volumes": "true"}

    claimed = pod_of(render("v5e:2x2", "--claim", "runs"))
    assert claimed["volumes"] == [{"name": "runs", "persistentVolumeClaim": {"claimName": "runs"}}]
    assert claimed["containers"][0]["volumeMounts"] == [{"name": "runs", "mountPath": "/mnt/jaxgpt"}]


def test_the_script_runs_by_itself_and_names_the_node_pool(config):
    command = [sys.executable, "tpu/jobset.py", config, "--topology", "v5e:4x4", "--image", "i", "--dry-run"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--machine-type=ct5lp-hightpu-4t --num-nodes=4 --tpu-topology=4x4" in done.stdout
    assert yaml.safe_load(done.stdout)["metadata"]["name"].endswith("small-run")
    assert done.stderr.startswith("note: ") and done.stderr.count("\n") == 1


BAD = {
    "a mesh that does not fit": (["exec.mesh={data: 1, fsdp: 8}"], "exec.mesh: {'fsdp': 8} does not use 16 devices"),
    "a batch that does not divide": (["batch_size=24"], "batch_size: 24 rows"),
    "a mesh that cannot cross slices": (["--slices", "2", "exec.mesh={tensor: 32, data: 1}"], "2 slices need pipeline"),
    "slices of one host": (["--slices", "2", "--topology", "v5e:2x2"], "several hosts only"),
    "an unknown field": (["optim.rl=1"], "optim.rl: unknown field"),
    "a TPU that is none": (["--topology", "v9:2x2"], "there is no 'v9'"),
    "a shape that is none": (["--topology", "v5p:8x4x4"], "v5p has no slice of '8x4x4'"),
    "no shape": (["--topology", "v5p-128"], "not TYPE:SHAPE"),
    "no slice": (["--slices", "0"], "--slices: 0"),
    "half a slice": (["--slices", "x"], "--slices"),
    "a name for nobody": (["--name", "My Run"], "--name: 'My Run'"),
    "a name too long for its pods": (["--name", "a" * 50], "at most"),
    "a bucket with its scheme": (["--bucket", "gs://b"], "--bucket: 'gs://b'"),
    "two folders": (["--bucket", "bucket", "--claim", "c"], "give one of them"),
    "an unknown option": (["--gpus", "8"], "--gpus"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gets_one_line_and_status_2(config, capsys, case):
    words, message = BAD[case]
    try:
        status = jobset.main([str(config), "--topology", "v5e:4x4", "--image", "i", *words])
    except SystemExit as end:
        status = end.code
    out, err = capsys.readouterr()
    assert status == 2 and out == ""
    assert err.startswith("error: ") and message in err and err.count("\n") == 1


def test_a_missing_config_or_image_gets_one_line_too(config, capsys):
    assert jobset.main(["none.yaml", "--topology", "v5e:4x4", "--image", "i"]) == 2
    assert capsys.readouterr().err == "error: none.yaml: no such config file\n"
    with pytest.raises(SystemExit) as end:
        jobset.main([str(config), "--topology", "v5e:4x4"])
    err = capsys.readouterr().err
    assert end.value.code == 2 and err.count("\n") == 1 and "--image" in err


def test_a_config_names_its_job():
    assert jobset.named_after(Path("configs/gpt3/1.3b.yaml")) == "gpt3-1-3b"
