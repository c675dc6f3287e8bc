# shellcheck shell=bash
# The verbs of vm.sh and multislice.sh, which source this file: a queued resource from the request to its end.
# gcloud's commands and flags: cloud.google.com/sdk/gcloud/reference/compute/tpus/queued-resources
#
# They set PROGRAM (their name), HERE (this folder) and MULTI (1: several slices), and define `usage`.
# No bash newer than 3.2 is needed: macOS has no other.

LC_ALL=C # so that a-z means just that
: "${PROGRAM:?}" "${HERE:?}" "${MULTI?}"

die() {
  printf 'error: %s\n' "$*" >&2
  exit 2
}

note() {
  printf '%s\n' "$*" >&2
}

words() { # its arguments as one line of shell: what gcloud hands to the workers, and what --dry-run prints
  local word line='' quote="'\\''"
  for word in "$@"; do
    case "$word" in
      '' | *[!A-Za-z0-9_./:=,@%+-]*) word="'${word//\'/$quote}'" ;;
    esac
    line="$line $word"
  done
  printf '%s' "${line# }"
}

run() {
  if [[ -n "$DRY" ]]; then
    printf '%s\n' "$(words "$@")"
  else
    "$@"
  fi
}

tpus() { # a command on queued resources, in the right place
  run gcloud compute tpus queued-resources "$@" "${PLACE[@]}"
}

# --- the command line -------------------------------------------------------------------------------------------------

parse() {
  VERB='' NAME='' ZONE='' PROJECT='' TOPOLOGY='' SLICES='' TIER='' ACCOUNT='' PATIENCE='' SOURCE='' OUT='' DRY=''
  REST=()
  local word
  for word in "$@"; do
    [[ "$word" != *[[:cntrl:]]* ]] || die "an argument holds a line break or another control character; leave it out"
  done
  while (($#)); do
    case "$1" in
      --zone=* | --project=* | --topology=* | --slices=* | --service-account=* | --valid-until=* | --mount=* | --out=*)
        set -- "${1%%=*}" "${1#*=}" "${@:2}"
        ;;
    esac
    case "$1" in
      -h | --help)
        usage
        exit 0
        ;;
      --dry-run) DRY=1 && shift ;;
      --spot | --reserved)
        [[ -z "$TIER" || "$TIER" == "$1" ]] || die "$TIER, $1: give one of them"
        TIER="$1" && shift
        ;;
      --zone | --project | --topology | --slices | --service-account | --valid-until | --mount | --out)
        (($# > 1)) || die "$1: a value is needed"
        [[ -n "$2" && "$2" != -* ]] || die "$1: '$2' is not a value"
        case "$1" in
          --zone) ZONE="$2" ;;
          --project) PROJECT="$2" ;;
          --topology) TOPOLOGY="$2" ;;
          --slices) SLICES="$2" ;;
          --service-account) ACCOUNT="$2" ;;
          --valid-until) PATIENCE="$2" ;;
          --mount) SOURCE="$2" ;;
          --out) OUT="$2" ;;
        esac
        shift 2
        ;;
      -*) die "$1: no such option; see $PROGRAM --help" ;;
      *)
        if [[ -z "$VERB" ]]; then
          VERB="$1"
        elif [[ -z "$NAME" ]]; then
          NAME="$1"
        else
          REST+=("$1")
        fi
        shift
        ;;
    esac
  done
}

check() {
  case "$VERB" in
    up | install | train | log | status | stop | down) ;;
    '') die "a verb is needed: up, install, train, log, status, stop or down; see $PROGRAM --help" ;;
    *) die "$VERB: no such verb; up, install, train, log, status, stop and down are" ;;
  esac
  [[ -n "$NAME" ]] || die "$VERB: the name of the TPU is needed; see $PROGRAM --help"
  [[ "$NAME" =~ ^[a-z]([-a-z0-9]{0,48}[a-z0-9])?$ ]] ||
    die "name '$NAME': use a-z, 0-9 and -, a letter first, at most 50 characters"
  [[ -n "$ZONE" ]] || die "--zone is needed, such as us-central1-a"
  [[ "$ZONE" =~ ^[a-z]+-[a-z0-9]+-[a-z0-9]+$ ]] || die "--zone: '$ZONE' is not the name of a zone, such as us-central1-a"
  [[ "$PROJECT" =~ ^([a-z][a-z0-9.:-]*)?$ ]] || die "--project: '$PROJECT' is not the id of a project"
  [[ "$ACCOUNT" =~ ^([A-Za-z0-9._-]+@[A-Za-z0-9.-]+)?$ ]] || die "--service-account: '$ACCOUNT' is not an address"
  [[ "$PATIENCE" =~ ^([0-9]+[smhd])?$ ]] || die "--valid-until: '$PATIENCE' is not a duration, such as 6h"
  [[ "$VERB" == train ]] || ((${#REST[@]} == 0)) || die "$VERB: '${REST[0]}' is one word too many"
  if [[ -n "$MULTI" && "$VERB" == up ]]; then
    [[ "$SLICES" =~ ^([2-9]|[1-9][0-9]+)$ ]] ||
      die "--slices: '$SLICES' is not a number of slices; give 2 or more (one slice: vm.sh)"
  elif [[ -n "$SLICES" ]]; then
    die "--slices: multislice.sh up takes it; this is $PROGRAM $VERB"
  fi
  PLACE=("--zone=$ZONE")
  [[ -z "$PROJECT" ]] || PLACE+=("--project=$PROJECT")
  ALL=(--worker=all) FIRST=(--worker=0)
  [[ -z "$MULTI" ]] || ALL=(--node=all --worker=all) FIRST=(--node=0 --worker=0)
  [[ -n "$DRY" ]] || command -v gcloud >/dev/null ||
    die "gcloud is not installed: cloud.google.com/sdk/docs/install, then gcloud auth login (--dry-run works without)"
}

# --- the verbs --------------------------------------------------------------------------------------------------------

up() {
  [[ -n "$TOPOLOGY" ]] || die "--topology is needed, such as v5e:4x4 or v5p:4x4x4"
  command -v python3 >/dev/null || die "python3 is not installed; it reads the table of topologies"
  local facts hosts chips runtime flags shape nodes
  facts="$(python3 "$HERE/accelerators.py" "$TOPOLOGY")" || exit 2
  read -r hosts chips runtime flags <<<"$facts"
  read -r -a shape <<<"$flags"
  note "$NAME: ${SLICES:-1} x $TOPOLOGY, each of $chips chips, hosts: $hosts; billed from ACTIVE until '$PROGRAM down'"
  nodes=("--node-id=$NAME")
  [[ -z "$MULTI" ]] || nodes=("--node-count=$SLICES" "--node-prefix=$NAME")
  [[ -z "$TIER" ]] || nodes+=("$TIER")
  [[ -z "$PATIENCE" ]] || nodes+=("--valid-until-duration=$PATIENCE")
  [[ -z "$ACCOUNT" ]] ||
    nodes+=("--service-account=$ACCOUNT" --scopes=https://www.googleapis.com/auth/cloud-platform)
  tpus create "$NAME" "${shape[@]}" "--runtime-version=$runtime" "${nodes[@]}"
  wait_until_active
}

state() {
  tpus describe "$NAME" '--format=value(state.state)'
}

wait_until_active() {
  local now start="$SECONDS" failures=0
  if [[ -n "$DRY" ]]; then
    state
    note "(again every 30 s until it says ACTIVE)"
    return
  fi
  trap 'note "stopped waiting; $NAME stays in the queue: \"$PROGRAM down\" takes it out"; exit 130' INT TERM
  while true; do
    if now="$(state)"; then
      failures=0
    else
      now='no answer' failures=$((failures + 1))
      ((failures < 5)) || { note "error: gcloud has failed 5 times in a row; $NAME may be in the queue still" && exit 1; }
    fi
    note "$((SECONDS - start)) s  $NAME  $now"
    case "$now" in
      ACTIVE) break ;;
      FAILED | SUSPENDING | SUSPENDED | DELETING)
        note "error: $NAME is $now and will not come; '$PROGRAM status' says why, '$PROGRAM down' clears it"
        exit 1
        ;;
    esac
    sleep 30
  done
  trap - INT TERM
}

status() {
  tpus describe "$NAME"
}

install() {
  local root="${HERE%/tpu}" folder list gone
  [[ -z "$SOURCE" || "$SOURCE" =~ ^gs://[a-z0-9][a-z0-9._-]+$ || "$SOURCE" =~ ^[A-Za-z0-9.-]+:/[A-Za-z0-9._/-]+$ ]] ||
    die "--mount: '$SOURCE' is neither gs://BUCKET nor SERVER:/SHARE"
  list=(git -C "$root" ls-files -z --cached --others --exclude-standard)
  if [[ -n "$DRY" ]]; then
    folder=/tmp
    printf '%s | %s\n' "$(words "${list[@]}")" "$(words tar -C "$root" --null -T - -czf /tmp/jaxgpt.tar.gz)"
  else
    folder="$(mktemp -d)"
    # shellcheck disable=SC2064 # the folder of now
    trap "rm -rf '$folder'" EXIT
    gone="$(git -C "$root" ls-files --deleted)" || die "$root: not a git checkout; clone jaxgpt and run this from there"
    [[ -z "$gone" ]] || die "${gone%%[[:cntrl:]]*} is deleted, but not for git; git rm it, or restore it"
    "${list[@]}" | tar -C "$root" --null -T - -czf "$folder/jaxgpt.tar.gz"
  fi
  tpus scp "$folder/jaxgpt.tar.gz" "$NAME:jaxgpt.tar.gz" "${ALL[@]}"
  local unpack='rm -rf jaxgpt && mkdir jaxgpt && tar -xzf jaxgpt.tar.gz -C jaxgpt'
  on "${ALL[@]}" "$unpack && $(words bash jaxgpt/tpu/worker.sh install ${SOURCE:+"$SOURCE"})"
}

on() { # WORKERS... COMMAND: runs it there
  local command="${*: -1}"
  tpus ssh "$NAME" "${@:1:$#-1}" "--command=$command"
}

train() {
  ((${#REST[@]})) || die "train: a config is needed, such as configs/gpt2/124m.yaml"
  local config="${REST[0]}" field
  [[ -f "$config" && -r "$config" ]] || die "$config: no such config file"
  [[ "$config" != *:* ]] || die "$config: a colon in a path means another machine to gcloud; rename it"
  for field in "${REST[@]:1}"; do
    [[ "$field" =~ ^[A-Za-z_][A-Za-z0-9_.]*= ]] || die "override '$field': write a.b=c"
  done
  [[ -n "$OUT" ]] || die "--out is needed: where workers keep the run; several hosts need a folder they share, /mnt/jaxgpt/..."
  [[ "$OUT" != *://* ]] || die "--out: '$OUT' is no path; mount it (install --mount) and give /mnt/jaxgpt/..."
  [[ -z "$MULTI" || "$OUT" == /* ]] || die "--out: '$OUT' would be on each host's own disk; give /mnt/jaxgpt/..."
  tpus scp "$config" "$NAME:jaxgpt-run.yaml" "${ALL[@]}"
  on "${ALL[@]}" "$(words bash jaxgpt/tpu/worker.sh start "$OUT" "${REST[@]:1}")"
}

log() {
  on "${FIRST[@]}" 'tail -n 100 -F jaxgpt.log'
}

stop() {
  on "${ALL[@]}" 'bash jaxgpt/tpu/worker.sh stop'
}

down() {
  tpus delete "$NAME" --force --quiet
}

main() {
  parse "$@"
  check
  "$VERB"
}
