#!/usr/bin/env bash
# What vm.sh and multislice.sh run on every worker, in its home folder. Not for your own machine.
#
#   worker.sh install [gs://BUCKET | SERVER:/SHARE]
#   worker.sh start OUT [a.b=c ...]        trains ~/jaxgpt-run.yaml; log in ~/jaxgpt.log, process in ~/jaxgpt.pid
#   worker.sh stop
set -euo pipefail
cd -- "$HOME"
ENVIRONMENT="$HOME/jaxgpt-env"
POINT=/mnt/jaxgpt

die() {
  printf 'error: %s: %s\n' "$(hostname)" "$*" >&2
  exit 2
}

install() {
  (($# == 0)) || attach "$1"
  python3 -m pip install --quiet --user uv # the images' own Python is 3.10; jaxgpt needs 3.11
  python3 -m uv venv --quiet --clear --python 3.12 "$ENVIRONMENT"
  python3 -m uv pip install --quiet --python "$ENVIRONMENT/bin/python" './jaxgpt[tpu,hf]'
  printf '%s: installed\n' "$(hostname)"
}

attach() { # mounts a bucket or a share; see README.md, "The run's folder"
  ! mountpoint -q "$POINT" || return 0
  sudo mkdir -p "$POINT"
  case "$1" in
    gs://*)
      command -v gcsfuse >/dev/null || add_gcsfuse
      sudo chown "$(id -u):$(id -g)" "$POINT"
      printf 'metadata-cache: {ttl-secs: 0}\nwrite: {enable-streaming-writes: false}\n' >gcsfuse.yaml
      gcsfuse --config-file gcsfuse.yaml "${1#gs://}" "$POINT"
      ;;
    *)
      sudo apt-get -qq update
      sudo apt-get -qq install -y nfs-common
      sudo mount -t nfs -o hard "$1" "$POINT"
      sudo chmod 1777 "$POINT"
      ;;
  esac
}

add_gcsfuse() { # docs.cloud.google.com/storage/docs/cloud-storage-fuse/install
  local key=/usr/share/keyrings/cloud.google.asc site=https://packages.cloud.google.com/apt
  curl -fsS "$site/doc/apt-key.gpg" | sudo tee "$key" >/dev/null
  printf 'deb [signed-by=%s] %s gcsfuse-%s main\n' "$key" "$site" "$(lsb_release -cs)" |
    sudo tee /etc/apt/sources.list.d/gcsfuse.list >/dev/null
  sudo apt-get -qq update
  sudo apt-get -qq install -y gcsfuse
}

going() { # the process that trains here, if one does
  local process
  process="$(cat jaxgpt.pid 2>/dev/null)" || return 1
  [[ "$process" =~ ^[0-9]+$ ]] || return 1
  grep -qa jaxgpt "/proc/$process/cmdline" 2>/dev/null || return 1 # numbers are used again
  printf '%s' "$process"
}

start() {
  local out="$1" process
  shift
  [[ -x "$ENVIRONMENT/bin/jaxgpt" ]] || die "jaxgpt is not installed here; run install"
  ! process="$(going)" || die "process $process trains here; stop it first"
  # umask: users have other numbers on other hosts, and all write into one run.
  (umask 000 && exec setsid nohup "$ENVIRONMENT/bin/jaxgpt" train jaxgpt-run.yaml "$@" --out "$out" >>jaxgpt.log 2>&1 </dev/null) &
  printf '%s\n' "$!" >jaxgpt.pid
  sleep 2
  process="$(going)" || { tail -n 3 jaxgpt.log >&2 && die "it ended at once; the log is above and in ~/jaxgpt.log"; }
  printf '%s: process %s trains\n' "$(hostname)" "$process"
}

stop() {
  local process left=900
  process="$(going)" || { printf '%s: nothing trains here\n' "$(hostname)" && return 0; }
  kill -TERM "$process" # once: the second would end it unsaved
  while going >/dev/null; do
    ((left-- > 0)) || die "process $process still saves after 15 minutes; look at the log"
    sleep 1
  done
  printf '%s: stopped\n' "$(hostname)"
}

case "${1:-}" in
  install | start | stop) "$@" ;;
  *) die "'${1:-}' is not install, start or stop" ;;
esac
