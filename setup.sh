#!/usr/bin/env bash
# Sets up Voxtral Voice in .venv, then serves or tests it. Needs no root and nothing from the system but Python.
set -euo pipefail

usage() {
    cat <<'EOF'
Usage: bash setup.sh serve [OPTIONS]   set up, fetch the models, serve; OPTIONS as in `voxtral-voice serve --help`
       bash setup.sh test              set up, then check format, lint, types and run the tests
       bash setup.sh install           set up only

PYTHON=/path/to/python chooses the Python 3.11 or 3.12 that .venv is made with, VENV=/path/to/folder another place for it.
EOF
}

say() { printf '==> %s\n' "$*" >&2; }
die() { printf 'setup.sh: %s\n' "$*" >&2; exit 1; }

supported() { "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null; }

# The command that brings a Python to this machine.
python_command() {
    local version
    if command -v apt-get >/dev/null; then
        for version in ${1:-3.12 3.11}; do
            if apt-cache show "python$version-venv" >/dev/null 2>&1; then
                echo "sudo apt-get install python$version python$version-venv"
                return
            fi
        done
    elif command -v dnf >/dev/null; then
        echo "sudo dnf install python3.12"
        return
    elif command -v brew >/dev/null; then
        echo "brew install python@3.12"
        return
    fi
    echo "curl -LsSf https://astral.sh/uv/install.sh | sh && ~/.local/bin/uv python install 3.12"
}

# Prints a Python 3.11 or 3.12 that can make virtual environments. A pyenv shim may exist and not work: run each.
find_python() {
    local candidate version without_venv=""
    [ -z "${PYTHON:-}" ] || supported "$PYTHON" || die "PYTHON=$PYTHON is not a Python 3.11 or 3.12"
    for candidate in ${PYTHON:+"$PYTHON"} python3.12 python3.11 python3 "$HOME/.local/bin/python3.12"; do
        supported "$candidate" || continue
        if "$candidate" -c 'import ensurepip, venv' 2>/dev/null; then
            echo "$candidate"
            return
        fi
        without_venv=${without_venv:-$candidate}
    done
    if [ -n "$without_venv" ]; then
        version=$("$without_venv" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
        die "$without_venv cannot make virtual environments (ensurepip is missing). This brings it:
    $(python_command "$version")"
    fi
    die "neither Python 3.11 nor 3.12 was found. This brings one:
    $(python_command)"
}

# Which build of torch this machine runs: the pinned one of PyPI is made for CUDA 13, which drivers from 580 on have;
# an older driver gets the torch of requirements-cuda12.txt.
torch_build() {
    local driver
    driver=$(nvidia-smi --query-gpu=driver_version --format=csv,noheader 2>/dev/null | head -n 1) || true
    case ${driver%%.*} in
        '' | *[!0-9]*) [ "$(uname -s)" = Linux ] && echo cpu || echo default ;;
        *) [ "${driver%%.*}" -ge 580 ] && echo cuda13 || echo cuda12 ;;
    esac
}

# What an installation depends on; when it changes, pip runs again.
fingerprint() {
    { pwd; torch_build; "$venv/bin/python" -VV; cat setup.sh pyproject.toml "$@"; } | cksum
}

# Without a GPU on Linux the CPU build of torch: 200 MB instead of 3 GB. Its index comes first, alone, so that nothing
# but a CPU build is found; a find-links folder of pip's own settings counts too. Then whatever the default index has.
install_torch() {
    local torch
    torch=$(grep '^torch==' requirements.txt)
    case $(torch_build) in
        cpu)
            pip_install --no-deps --index-url https://download.pytorch.org/whl/cpu --retries 1 --timeout 15 "$torch" && return
            say "The CPU build of torch could not be had; taking the larger one of the default index."
            ;;
        cuda12) torch=$(grep '^torch==' requirements-cuda12.txt) ;;
    esac
    pip_install --constraint <(grep -v '^torch==' requirements.txt) "$torch"
}

pip_install() {
    local result=0 quiet=--quiet # without a terminal nobody watches bars
    [ -t 1 ] && quiet=--progress-bar=on
    # A pod's disks are small, and nothing is installed there twice.
    [ -z "${RUNPOD_POD_ID:-}" ] || export PIP_NO_CACHE_DIR=1
    touch "$venv/unfinished"
    "$venv/bin/python" -m pip install --disable-pip-version-check "$quiet" "$@" || result=$?
    rm "$venv/unfinished" # it ended by itself, well or not
    return $result
}

# Makes or mends the environment. $1: `test` for the development dependencies too.
# A stamp in it says that an installation is complete; `unfinished` that pip was killed in the middle of one, and then
# nothing in there can be trusted.
set_up() {
    local python now
    if [ -e "$venv/unfinished" ] || ! supported "$venv/bin/python" || ! "$venv/bin/python" -c 'import pip' 2>/dev/null; then
        python=$(find_python)
        say "Making $venv with $("$python" --version)"
        "$python" -m venv --clear "$venv"
    fi
    now=$(fingerprint requirements.txt requirements-cuda12.txt)
    if [ "$now" != "$(cat "$venv/stamp" 2>/dev/null)" ]; then
        say "Installing the pinned dependencies: 1.8 GB on disk, with CUDA 8; a few minutes"
        rm -f "$venv/stamp" "$venv/stamp-test"
        install_torch
        pip_install --requirement <(grep -v '^torch==' requirements.txt)
        pip_install --no-deps --editable .
        echo "$now" >"$venv/stamp"
    fi
    [ "${1:-}" = test ] || return 0
    now=$(fingerprint requirements-dev.txt)
    if [ "$now" != "$(cat "$venv/stamp-test" 2>/dev/null)" ]; then
        say "Installing the development dependencies"
        pip_install --requirement <(grep -v '^-r' requirements-dev.txt)
        echo "$now" >"$venv/stamp-test"
    fi
}

# The models that these settings use; arguments as of `serve`.
fetch_models() {
    local options=()
    while [ $# -gt 0 ]; do
        case $1 in
            --config | --profile) options+=("$1" "${2:-}") && shift ;;
            --config=* | --profile=*) options+=("$1") ;;
        esac
        shift || true
    done
    voxtral-voice models fetch ${options[@]+"${options[@]}"} ||
        die "a model could not be fetched; run this again, what has arrived is kept"
}

step() {
    say "$*"
    "$@" || die "failed: $*"
}

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
command=${1:-}
[ $# -gt 0 ] && shift
case $command in
    serve)
        for argument in "$@"; do
            case $argument in -h | --help) asked_help=1 ;; esac
        done
        ;;
    test | install) [ $# -eq 0 ] || { usage >&2 && exit 2; } ;;
    -h | --help | help) usage && exit 0 ;;
    *) usage >&2 && exit 2 ;;
esac

called_from=$PWD
venv=${VENV:-$here/.venv}
case $venv in /*) ;; *) venv=$called_from/$venv ;; esac
cd -- "$here"
set_up "$command"
[ "$command" != install ] || exit 0
PATH="$venv/bin:$PATH"
if [ "$command" = serve ]; then
    cd -- "$called_from" # relative paths in the options are the caller's
    [ -n "${asked_help:-}" ] || fetch_models "$@"
    exec voxtral-voice serve "$@"
fi
fetch_models
step ruff format --check .
step ruff check .
step mypy
step pytest -m "not slow" --timeout 400
