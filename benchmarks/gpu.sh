#!/usr/bin/env bash
# Runs benchmarks/gpu.py, also where cpp-pipe is not installed and nothing can be downloaded:
#   benchmarks/gpu.sh ARGUMENTS                         those of `python -m benchmarks.gpu`
#   PYTHON=python3.12 benchmarks/gpu.sh ...             another interpreter than python3
#   WHEELS=FOLDER benchmarks/gpu.sh ...                 another folder of wheels than build/wheels
#
# The wheels are installed into a temporary folder; benchmarks/gpu_wheels.txt lists what is needed.
# The model mnv2-clip (27 MB) is measured too where --models names a folder that holds it.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
python=${PYTHON:-python3}
wheels=${WHEELS:-build/wheels}
site=
if compgen -G "$wheels/*.whl" >/dev/null; then
  site=$(mktemp -d)
  trap 'rm -rf "$site"' EXIT
  "$python" -m pip install --quiet --no-index --no-deps --no-compile --no-cache-dir \
    --disable-pip-version-check --root-user-action ignore --target "$site" "$wheels"/*.whl
fi
# typings/ shows the folders under the name that they are installed as. It must come before the
# checkout, whose folder cpp_pipe is only a part of the package.
export PYTHONPATH=$root/typings${site:+:$site}:$root${PYTHONPATH:+:$PYTHONPATH}
export PYTHONSAFEPATH=1 PYTHONUNBUFFERED=1
"$python" -m benchmarks.gpu "$@"
