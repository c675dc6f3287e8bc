#!/usr/bin/env bash
# One TPU VM, or one slice of several hosts, through a queued resource.
set -euo pipefail
PROGRAM=vm.sh MULTI=''
HERE="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)"

usage() {
  cat <<'END'
usage: tpu/vm.sh VERB NAME --zone ZONE [--project ID] [--dry-run] [...]

  up NAME --topology v5e:4x4 [--spot | --reserved]    ask for a TPU and wait until it is there; it costs from then on
      [--valid-until 6h]         leave the queue after that long
      [--service-account EMAIL]  whose rights its machines have
  install NAME [--mount SOURCE]  this checkout onto every worker; SOURCE at /mnt/jaxgpt: gs://BUCKET or SERVER:/SHARE
  train NAME CONFIG.yaml [a.b=c ...] --out DIR        start `jaxgpt train` on every worker; it outlives the connection
  log NAME                       follow the first worker's log; Ctrl-C ends only that
  status NAME                    what Google says about it
  stop NAME                      end the run after it has saved; the same `train` continues it
  down NAME                      delete machines and disks: the cost ends here

--dry-run prints the commands, runs none, and needs no gcloud. `python tpu/accelerators.py` lists topologies.
END
}

# shellcheck source=tpu/queued.sh
source "$HERE/queued.sh"
main "$@"
