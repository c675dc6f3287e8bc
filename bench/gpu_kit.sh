#!/usr/bin/env bash
# Collects what a lent machine lacks, whose image has jax, flax, optax, orbax and torch but not all that jaxgpt imports.
#
#   bash bench/gpu_kit.sh [FOLDER [PYTHON]]       default: .kit, for Python 3.12 on x86-64 Linux
#
# Wheels go to FOLDER/wheels, and tiny Shakespeare to FOLDER/data where JAXGPT_DATA names it. Nothing is installed here.
# Carry FOLDER with the working tree; the lines printed last say what to run there. Needs pip and its index here alone.
set -euo pipefail
kit=${1:-.kit} version=${2:-3.12} python=${PYTHON:-python3}
root=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "$kit/wheels"

# The least versions that pyproject.toml asks for.
wanted() {
  "$python" - "$root/pyproject.toml" "$@" <<'PY'
import re, sys, tomllib
with open(sys.argv[1], "rb") as file:
    asked = {re.split(r"[<>=!~\[ ]", line)[0]: line for line in tomllib.load(file)["project"]["dependencies"]}
print(*[asked.get(name, name) for name in sys.argv[2:]], sep="\n")
PY
}

platforms=()
for glibc in 2_39 2_35 2_34 2_31 2_28 2_27 2_24 2_17; do platforms+=(--platform "manylinux_${glibc}_x86_64"); done
platforms+=(--platform manylinux2014_x86_64 --platform manylinux1_x86_64)
get() {
  "$python" -m pip download --quiet --disable-pip-version-check --only-binary=:all: --implementation cp \
    --python-version "$version" "${platforms[@]}" --dest "$kit/wheels" "$@"
}
rm -f "$kit"/wheels/*.whl
mapfile -t alone < <(wanted grain array-record portpicker more-itertools gguf)
mapfile -t whole < <(wanted pydantic)
get --no-deps "${alone[@]}"
get "${whole[@]}"  # with its own: pydantic-core has to be exactly the one that it names

if [ -n "${JAXGPT_DATA:-}" ] && [ -f "$JAXGPT_DATA/tinyshakespeare/input.txt" ]; then
  mkdir -p "$kit/data/tinyshakespeare"
  cp "$JAXGPT_DATA/tinyshakespeare/input.txt" "$kit/data/tinyshakespeare/"
fi

ls -l "$kit/wheels" | awk 'NR > 1 {printf "%8.2f MB  %s\n", $5 / 1e6, $NF}'
bytes=$(find "$kit" -type f -printf '%s\n' | awk '{sum += $1} END {print sum}')
awk -v bytes="$bytes" 'BEGIN {printf "%8.2f MB in all\n", bytes / 1e6}'
[ "$bytes" -lt 60000000 ] || { echo "error: more than 60 MB"; exit 1; }
case $kit in /*) data=$kit/data ;; *) data=\$PWD/$kit/data ;; esac
cat <<END
carry $kit with the working tree: git ignores .kit; there, in the root of the project:
  python3 -m pip install -q --no-index --no-deps --no-compile --target /tmp/site $kit/wheels/*.whl
  export PYTHONPATH=/tmp/site:\$PWD JAXGPT_DATA=$data
  python3 bench/gpu.py --minutes 8 --json FILE
END
