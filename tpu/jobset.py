"""Renders a run as a JobSet for GKE, and checks before that the run fits the chips. Starts nothing.

    python tpu/jobset.py configs/gpt2/1558m.yaml exec.mesh.fsdp=64 --topology v5p:4x4x4 --image IMAGE --claim runs \
        > run.yaml
    kubectl apply -f run.yaml

The whole config, overrides included, travels inside the manifest, so the image need not hold it. Each slice is a Job of
the JobSet, each host of a slice a pod of that Job; JobSet makes the headless service that gives the pods names, GKE
tells each pod its place (TPU_WORKER_ID, TPU_WORKER_HOSTNAMES, MEGASCALE_*), and jaxgpt finds the rest by itself. When a
pod dies, all are started again, and the run continues from its last checkpoint.

Fields: github.com/kubernetes-sigs/jobset, api/jobset/v1alpha2/jobset_types.go and site/static/examples/tpu-multislice;
node labels: docs.cloud.google.com/kubernetes-engine/docs/concepts/plan-tpus.
"""

import argparse
import re
import shlex
import sys
from pathlib import Path
from typing import Any, NoReturn

import yaml
from accelerators import Slice, named

from jaxgpt.parallel.mesh import across
from jaxgpt.runs import ObjectiveRun
from jaxgpt.runs.fits import check_devices
from jaxgpt.spec import ConfigError, JaxgptError, dump_yaml, load_yaml

JOB = "slice"
"""Name of the replicated job; pods are called NAME-slice-SLICE-HOST."""
MOUNT = "/mnt/jaxgpt"
"""Where pods see the bucket or the volume."""
BUCKET_OPTIONS = "metadata-cache:ttl-secs:0,write:enable-streaming-writes:false"
"""Hosts see each other's files at once, and what was synced is in the bucket (README.md, "The run's folder")."""
START = 'printf "%s" "$JAXGPT_RUN" > /tmp/run.yaml && exec jaxgpt train /tmp/run.yaml --out "$JAXGPT_OUT"'


def volume(bucket: str | None, claim: str | None) -> dict[str, Any]:
    """What holds the run's folder: a bucket, a claim, or (neither) the pod's own disk."""
    if bucket:
        attributes = {"bucketName": bucket, "mountOptions": BUCKET_OPTIONS}
        return {"csi": {"driver": "gcsfuse.csi.storage.gke.io", "volumeAttributes": attributes}}
    if claim:
        return {"persistentVolumeClaim": {"claimName": claim}}
    return {"emptyDir": {}}


def manifest(name: str, part: Slice, slices: int, image: str, run: ObjectiveRun, options: Any) -> dict[str, Any]:
    """The JobSet: `slices` Jobs of `part.hosts` pods each. `options` has bucket, claim, spot and restarts."""
    selector = {
        "cloud.google.com/gke-tpu-accelerator": part.accelerator.gke,
        "cloud.google.com/gke-tpu-topology": part.shape,
    }
    if options.spot:
        selector["cloud.google.com/gke-spot"] = "true"
    container = {
        "name": "jaxgpt",
        "image": image,
        "command": ["sh", "-c", START],
        "env": [
            {"name": "JAXGPT_RUN", "value": _Block(dump_yaml(run).replace("$", "$$"))},  # Kubernetes expands $(NAME)
            {"name": "JAXGPT_OUT", "value": f"{MOUNT}/runs/{name}"},
        ],
        "resources": {"limits": {"google.com/tpu": part.chips_per_host}},
        "volumeMounts": [{"name": "runs", "mountPath": MOUNT}],
    }
    pod = {
        "restartPolicy": "Never",  # a pod alone cannot rejoin: JobSet starts all again
        "terminationGracePeriodSeconds": 300,  # SIGTERM: the run saves at its next step
        "nodeSelector": selector,
        "containers": [container],
        "volumes": [{"name": "runs", **volume(options.bucket, options.claim)}],
    }
    template = {"spec": pod}
    if options.bucket:
        template = {"metadata": {"annotations": {"gke-gcsfuse/volumes": "true"}}, **template}
    job = {
        "completionMode": "Indexed",
        "completions": part.hosts,
        "parallelism": part.hosts,
        "backoffLimit": 0,
        "template": template,
    }
    return {
        "apiVersion": "jobset.x-k8s.io/v1alpha2",
        "kind": "JobSet",
        "metadata": {
            "name": name,
            # One slice, one node pool: no two Jobs share one.
            "annotations": {"alpha.jobset.sigs.k8s.io/exclusive-topology": "cloud.google.com/gke-nodepool"},
        },
        "spec": {
            "network": {"enableDNSHostnames": True, "subdomain": name},
            "failurePolicy": {"maxRestarts": options.restarts},
            "replicatedJobs": [{"name": JOB, "replicas": slices, "template": {"spec": job}}],
        },
    }


def check(run: ObjectiveRun, part: Slice, slices: int) -> None:
    """Raises ConfigError, one line, when the run's mesh or batch does not fit `slices` times these chips."""
    chips = part.chips * slices
    try:
        check_devices(run, chips)
    except ConfigError as error:
        shape = f"{slices} x {part.shape}" if slices > 1 else part.shape
        raise ConfigError(
            [f"{problem} (--topology: {shape} has {chips} chips)" for problem in error.problems]
        ) from None
    across(run.exec.mesh.shape(chips), slices)
    if slices > 1 and part.hosts == 1:
        raise ConfigError(
            f"--slices: GKE joins slices of several hosts only, and {part.shape} is one; take a larger shape"
        )


def named_after(config: Path) -> str:
    """`configs/gpt3/1.3b.yaml` -> `gpt3-1-3b`."""
    return re.sub(r"[^a-z0-9]+", "-", f"{config.parent.name}-{config.stem}".lower()).strip("-")


def check_name(name: str, part: Slice, slices: int) -> str:
    """Returns it. Raises ConfigError when Kubernetes would refuse it, or the names of the pods made from it."""
    longest = f"{name}-{JOB}-{slices - 1}-{part.hosts - 1}-abcde"
    if not re.fullmatch(r"[a-z]([a-z0-9-]*[a-z0-9])?", name) or len(longest) > 63:
        most = len(name) + 63 - len(longest)
        raise ConfigError(
            f"--name: {name!r} must be a-z, 0-9 and -, start with a letter and have at most {most} characters"
        )
    return name


def text(tree: dict[str, Any], part: Slice, slices: int, spot: bool, command: list[str]) -> str:
    """The manifest as YAML, headed by the command that made it and the node pools that it needs."""
    pool = ["gcloud", "container", "node-pools", "create", "NAME", "--cluster=CLUSTER", "--location=ZONE"]
    pool += [f"--machine-type={part.machine}", f"--num-nodes={part.hosts}"]
    pool += [f"--tpu-topology={part.shape}"] * (part.hosts > 1) + ["--spot"] * spot
    head = [
        f"# Rendered by: {shlex.join(['python', 'tpu/jobset.py', *command])}",
        f"# {part.chips * slices} chips: {slices} x {part.hosts} hosts x {part.chips_per_host}. One node pool a slice:",
        f"#   {shlex.join(pool)}",
    ]
    return "\n".join(head) + "\n" + yaml.dump(tree, Dumper=_Dumper, sort_keys=False, width=120)


class _Block(str):
    """Text that is written as it reads, over several lines."""


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


_Dumper.add_representer(_Block, lambda dumper, data: dumper.represent_scalar("tag:yaml.org,2002:str", data, style="|"))


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        print(f"error: {message}; see --help", file=sys.stderr)
        sys.exit(2)


def main(arguments: list[str]) -> int:
    """Reads the command line and prints the manifest; returns the exit status."""
    parser = _Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    parser.add_argument("config", type=Path, metavar="CONFIG.yaml")
    parser.add_argument("overrides", nargs="*", metavar="a.b=c", help="fields to change")
    parser.add_argument(
        "--topology", required=True, help="v5e:4x4, v5p:4x4x4, ...: `python tpu/accelerators.py` lists them"
    )
    parser.add_argument("--slices", type=int, default=1, help="slices, each in a node pool of its own")
    parser.add_argument("--image", required=True, help="a container image with jaxgpt (tpu/Dockerfile)")
    parser.add_argument("--name", help="of the JobSet, and of the run's folder; default: from the config's path")
    parser.add_argument("--bucket", help="a Cloud Storage bucket to hold the run, with hierarchical namespace")
    parser.add_argument("--claim", help="a PersistentVolumeClaim to hold the run, ReadWriteMany, such as Filestore's")
    parser.add_argument("--restarts", type=int, default=10, help="how often all pods may be started again")
    parser.add_argument("--spot", action="store_true", help="spot nodes only")
    parser.add_argument("--dry-run", action="store_true", help="print the manifest and start nothing: as always")
    options = parser.parse_intermixed_args(arguments)
    try:
        for flag, value, least in (("--slices", options.slices, 1), ("--restarts", options.restarts, 0)):
            if value < least:
                raise ConfigError(f"{flag}: {value} is too small; give {least} or more")
        if options.bucket and options.claim:
            raise ConfigError("--bucket, --claim: the run has one folder; give one of them")
        if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]", options.bucket or "none"):
            raise ConfigError(f"--bucket: {options.bucket!r} is not the name of a bucket; leave out gs:// and folders")
        part = named(options.topology)
        name = check_name(options.name or named_after(options.config.absolute()), part, options.slices)
        run = load_yaml(ObjectiveRun, options.config, options.overrides)
        check(run, part, options.slices)
    except (JaxgptError, ValueError) as error:
        for line in str(error).splitlines():
            print(f"error: {line}", file=sys.stderr)
        return 2
    tree = manifest(name, part, options.slices, options.image, run, options)
    print(text(tree, part, options.slices, options.spot, arguments), end="")
    if not (options.bucket or options.claim):
        print(
            "note: no --bucket or --claim: the run is lost with its pod, and several hosts cannot save", file=sys.stderr
        )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
