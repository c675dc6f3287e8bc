#!/usr/bin/env bash
# Several slices that train one run, through one queued resource. Google sets MEGASCALE_* on them, jax reads it.
set -euo pipefail
PROGRAM=multislice.sh MULTI=1
HERE="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)"

usage() {
  cat <<'END'
usage: tpu/multislice.sh VERB NAME --zone ZONE [--project ID] [--dry-run] [...]

  up NAME --topology v5p:4x4x4 --slices 2 [--spot | --reserved]    ask for the slices and wait until all are there
      [--valid-until 6h]         leave the queue after that long
      [--service-account EMAIL]  whose rights the machines have
  install NAME --mount SOURCE    this checkout onto every worker; SOURCE at /mnt/jaxgpt: SERVER:/SHARE or gs://BUCKET
  train NAME CONFIG.yaml [a.b=c ...] --out DIR        start `jaxgpt train` on every worker; DIR is one they all share
  log NAME                       follow the first worker's log; Ctrl-C ends only that
  status NAME                    what Google says about them
  stop NAME                      end the run after it has saved; the same `train` continues it
  down NAME                      delete machines and disks: the cost ends here

exec.mesh needs pipeline, data or fsdp to be a multiple of the slices: those axes cross them.
--dry-run prints the commands, runs none, and needs no gcloud. `python tpu/accelerators.py` lists topologies.
END
}

# shellcheck source=tpu/queued.sh
source "$HERE/queued.sh"
main "$@"
