#!/usr/bin/env bash
# Voxtral Voice on a RunPod pod, from its web terminal: installs it, keeps it running, tries it out. What is already there
# is left as it is, so a second run is quick. It works on any Linux machine with a GPU or without.
set -euo pipefail

usage() {
    cat <<'EOF'
Usage: bash deploy_voxtral_tts.sh start     check the machine, install, fetch the models, serve, wait until ready, try it
       bash deploy_voxtral_tts.sh stop      end the server and whatever would restart it
       bash deploy_voxtral_tts.sh restart   stop, start: after a change of settings
       bash deploy_voxtral_tts.sh status    does it run, is it ready; exit code 0 ready, 1 not ready, 3 not running
       bash deploy_voxtral_tts.sh logs      the last lines; `logs -f` follows them
       bash deploy_voxtral_tts.sh update    git pull, install, restart; back to what was there if that is not ready

Settings, all optional, as environment variables:
  VOXTRAL_WORKSPACE   where the environment, models, logs and the key are kept (default /workspace/voxtral-voice)
  VOXTRAL_API_KEY     the key that clients must show (default: one is made and kept in the workspace)
  PORT                TCP port, to be among the pod's HTTP ports (default 8000)
  HF_TOKEN            for the Hugging Face hub
  READY_S             how many seconds to wait until the models are loaded (default 900)
  IDLE_STOP_MINUTES   stop the pod when nobody has used the server for so long (default: never)
  VENV, SKIP_INSTALL=1   an environment of your own, used as it is
and whatever `voxtral-voice serve` reads: VOXTRAL_PROFILE, VOXTRAL_<SECTION>__<KEY>.
EOF
}

say() { printf '==> %s\n' "$*"; }
die() {
    printf 'deploy_voxtral_tts.sh: %s\n' "$*" >&2
    exit 1
}

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
script=$here/deploy_voxtral_tts.sh
workspace=${VOXTRAL_WORKSPACE:-/workspace/voxtral-voice}
venv=${VENV:-$workspace/venv}
logs=$workspace/logs
run=$workspace/run
key_file=$workspace/api-key
port=${PORT:-8000}
local_url=http://127.0.0.1:$port
export VOXTRAL_WORKSPACE=$workspace PORT=$port
export VOXTRAL_MODELS_DIR=${VOXTRAL_MODELS_DIR:-$workspace/models}

# --- the machine

has_gpu() { nvidia-smi -L >/dev/null 2>&1; }

# What packages and models take, in GB: CUDA's libraries and Voxtral are most of it.
needed_gb() { if has_gpu; then echo 20; else echo 4; fi; }

check_machine() {
    local gpu driver free_kb
    say "The machine"
    if has_gpu; then
        gpu=$(nvidia-smi --query-gpu=name,memory.total,driver_version --format=csv,noheader | head -n 1)
        printf '    GPU      %s\n' "$gpu"
        driver=${gpu##*, }
        [ "${driver%%.*}" -ge 525 ] || die "driver $driver is too old for CUDA 12 (525): take a pod with a newer one"
    elif command -v nvidia-smi >/dev/null; then
        printf '    GPU      nvidia-smi is there and finds none; the CPU profile is used\n'
    else
        printf '    GPU      none; the CPU profile is used\n'
    fi
    free_kb=$(df -Pk "$workspace" | awk 'NR == 2 { print $4 }')
    printf '    disk     %s GB free in %s\n' "$((free_kb / 1000000))" "$workspace"
    if [ ! -e "$venv/stamp" ] && [ -z "${SKIP_INSTALL:-}" ] && [ "$free_kb" -lt "$(($(needed_gb) * 1000000))" ]; then
        die "$(needed_gb) GB are needed in $workspace: give the pod a larger volume, or set VOXTRAL_WORKSPACE"
    fi
    command -v curl >/dev/null || die "curl is missing: apt-get update && apt-get install -y curl"
    command -v flock >/dev/null || die "flock is missing: apt-get update && apt-get install -y util-linux"
}

install() {
    if [ -n "${SKIP_INSTALL:-}" ]; then
        [ -x "$venv/bin/voxtral-voice" ] || die "SKIP_INSTALL: there is no voxtral-voice in $venv"
    else
        VENV=$venv bash "$here/setup.sh" install || die "the installation failed; what is above says why"
    fi
    printf '    Python   %s\n' "$("$venv/bin/python" --version)"
    "$venv/bin/voxtral-voice" verify || die "this machine cannot run it; the lines above say what is missing"
    say "The models"
    "$venv/bin/voxtral-voice" models fetch || die "a model could not be fetched; run this again, what has arrived is kept"
}

# The key in force is kept in a file, so that every terminal finds it.
key() {
    if [ -n "${VOXTRAL_API_KEY:-}" ]; then
        (umask 077 && printf '%s\n' "$VOXTRAL_API_KEY" >"$key_file.new")
        mv "$key_file.new" "$key_file"
    elif [ ! -s "$key_file" ]; then
        (umask 077 && "$venv/bin/python" -c 'import secrets; print(secrets.token_urlsafe(24))' >"$key_file")
    fi
    read_key
}

read_key() {
    [ ! -s "$key_file" ] || VOXTRAL_API_KEY=$(cat "$key_file")
    export VOXTRAL_API_KEY
}

# --- what runs

# Whether the `supervisor` or the `server` runs. Process numbers are used again, so the pid file alone says nothing.
alive() {
    local pid pattern='voxtral-voice serve'
    [ "$1" = server ] || pattern='deploy_voxtral_tts.sh supervise'
    pid=$(cat "$run/$1.pid" 2>/dev/null) && [ -n "$pid" ] && [ -r "/proc/$pid/cmdline" ] &&
        tr '\0' ' ' <"/proc/$pid/cmdline" | grep -q -e "$pattern"
}

# Keeps one server running until it is told to end. A server that ends by itself is started again, at once and then
# after ever longer pauses; one that had lived for a minute starts that count anew.
supervise() {
    local delay_s=0 crashes=0 started status=0 server="" watch="" ending=""
    trap 'ending=1; [ -z "$server" ] || kill -TERM "$server" 2>/dev/null || true' TERM INT
    if [ -n "${IDLE_STOP_MINUTES:-}" ]; then
        watch_idle &
        watch=$!
    fi
    while [ -z "$ending" ]; do
        started=$SECONDS
        [ ! -s "$logs/stderr.log" ] || mv "$logs/stderr.log" "$logs/stderr.previous.log"
        # The log file is the server's own and rotated; of what it writes besides, the end is kept for faults that it
        # could not log.
        VOXTRAL_LOGGING__FILE=$logs/server.log "$venv/bin/voxtral-voice" serve 2> >(tail -c 65536 >"$logs/stderr.log") &
        server=$!
        echo "$server" >"$run/server.pid"
        # A signal interrupts `wait` before the server has ended.
        while status=0 && { wait "$server" || status=$?; } && kill -0 "$server" 2>/dev/null; do :; done
        [ -z "$ending" ] || break
        [ $((SECONDS - started)) -lt 60 ] || { delay_s=0 && crashes=0; }
        crashes=$((crashes + 1))
        echo "$crashes" >"$run/crashes"
        printf '%s the server ended with code %s and starts again in %s s\n' "$(date -Is)" "$status" "$delay_s"
        nap "$delay_s"
        delay_s=$((delay_s < 30 ? delay_s * 2 + 1 : 60))
    done
    [ -z "$watch" ] || kill "$watch" 2>/dev/null || true
    printf '%s stopped\n' "$(date -Is)"
}

# Sleeps, and leaves no sleeper behind where a signal ends it.
nap() {
    sleep "$1" &
    wait $! || kill $! 2>/dev/null || true
}

# Stops the pod once nobody has used the server for IDLE_STOP_MINUTES. A stopped pod keeps its volume.
watch_idle() {
    local limit_s idle_s
    trap 'kill $! 2>/dev/null; exit' TERM
    limit_s=$(awk -v minutes="$IDLE_STOP_MINUTES" 'BEGIN { print int(minutes * 60) }')
    while nap $((limit_s > 600 ? 60 : limit_s / 10 + 1)); do
        idle_s=$(ask /status | sed -n 's/.*"idle_s":\([0-9]*\).*/\1/p') || true
        if [ -n "$idle_s" ] && [ "$idle_s" -ge "$limit_s" ]; then
            printf '%s nobody has used it for %s s: stopping the pod\n' "$(date -Is)" "$idle_s"
            runpodctl stop pod "${RUNPOD_POD_ID:-}" || runpodctl pod stop "${RUNPOD_POD_ID:-}" ||
                printf '%s the pod could not be stopped and costs on: stop it in the console\n' "$(date -Is)"
            kill -TERM $$
            return
        fi
    done
}

# GET $1 with the key, which must not be seen in the list of processes.
ask() { printf 'header = "X-API-Key: %s"\n' "${VOXTRAL_API_KEY:-}" | curl -s -m 5 -K - "$local_url$1"; }

wait_ready() {
    local end=$((SECONDS + ${READY_S:-900})) answer said=""
    say "Waiting until the models are loaded"
    until curl -fs -m 5 "$local_url/ready" >/dev/null; do
        answer=$(curl -s -m 5 "$local_url/ready" | sed -n 's/.*"code":"\([^"]*\)","message":"\([^"]*\)".*/\1: \2/p') || true
        case $answer in model_failed*) not_ready "$answer" ;; esac
        [ "$answer" = "$said" ] || printf '    %s\n' "$answer"
        said=$answer
        alive supervisor || not_ready "the supervisor has ended"
        [ "$(cat "$run/crashes" 2>/dev/null || echo 0)" -lt 3 ] || not_ready "the server ends by itself again and again"
        [ "$SECONDS" -lt "$end" ] || not_ready "not ready after ${READY_S:-900} s"
        sleep 0.5
    done
}

not_ready() {
    halt
    tail -n 20 "$logs/server.log" "$logs/stderr.log" >&2 2>/dev/null || true
    die "$1 (all of it: $logs)"
}

halt() {
    local each tries
    for each in supervisor server; do # the supervisor first: it would start another server
        for tries in $(seq 200); do
            alive $each || break
            [ "$tries" -ne 1 ] || kill -TERM "$(cat "$run/$each.pid")" 2>/dev/null || true
            [ "$tries" -ne 200 ] || kill -KILL "$(cat "$run/$each.pid")" 2>/dev/null || true
            sleep 0.1
        done
        rm -f "$run/$each.pid"
    done
}

launch() {
    rm -f "$run/crashes"
    if [ -n "${RUNPOD_POD_ID:-}" ]; then # the page's own address, whatever the proxy makes of the Host header
        export VOXTRAL_SERVER__ORIGINS="${VOXTRAL_SERVER__ORIGINS:-["\"$(public_url)"\"]}"
    fi
    # A session of its own: closing the terminal does not reach it.
    setsid nohup bash "$script" supervise >>"$logs/supervisor.log" 2>&1 </dev/null 9>&- &
    echo $! >"$run/supervisor.pid"
    sleep 0.2
}

public_url() {
    if [ -n "${RUNPOD_POD_ID:-}" ]; then
        echo "https://$RUNPOD_POD_ID-$port.proxy.runpod.net"
    else
        echo "$local_url"
    fi
}

# --- the commands

start() {
    mkdir -p "$workspace" "$logs" "$run" 2>/dev/null ||
        die "$workspace cannot be made: VOXTRAL_WORKSPACE=\$HOME/voxtral-voice names another place"
    lock
    if alive supervisor && alive server; then
        say "It runs already; restart takes over changed settings"
        read_key
    else
        halt
        check_machine
        install
        key
        launch
    fi
    wait_ready
    say "Asking it something"
    (cd "$here" && "$venv/bin/python" -m bench.smoke --url "$local_url") || die "it is ready and gives no spoken answer"
    summary
}

summary() {
    cat <<EOF

Voxtral Voice is at $(public_url)/#key=$VOXTRAL_API_KEY
    the key      $key_file; whoever has it can talk at your expense
    logs         bash $script logs -f
    status       bash $script status
    stop         bash $script stop
EOF
    [ -n "${RUNPOD_POD_ID:-}" ] || return 0
    cat <<EOF
    costs        the pod's price an hour as long as it runs, used or not: the console shows it beside the pod. Stopping
                 the pod, not only the server, ends that; its volume is charged on.
EOF
    if [ -n "${IDLE_STOP_MINUTES:-}" ]; then
        echo "    idle stop    the pod is stopped after $IDLE_STOP_MINUTES minutes without use"
    else
        echo "    idle stop    off; IDLE_STOP_MINUTES=30 bash $script restart stops the pod when unused for so long"
    fi
}

stop() {
    [ -d "$run" ] || die "nothing has been started in $workspace"
    lock
    halt
    say "Stopped.${RUNPOD_POD_ID:+ The pod costs on until it is stopped itself.}"
}

restart() {
    mkdir -p "$workspace" "$logs" "$run"
    lock
    halt
    start
}

status() {
    read_key
    if ! alive supervisor && ! alive server; then
        echo "not running"
        exit 3
    fi
    echo "supervisor  $(alive supervisor && cat "$run/supervisor.pid" || echo none)"
    echo "server      $(alive server && cat "$run/server.pid" || echo none)"
    echo "address     $(public_url)"
    ask /status && echo
    if curl -fs -m 5 "$local_url/ready" >/dev/null; then
        echo "ready"
    else
        echo "not ready"
        exit 1
    fi
}

show_logs() {
    if [ "${1:-}" = -f ]; then
        exec tail -n 50 -F "$logs/server.log" "$logs/supervisor.log"
    fi
    tail -n 50 "$logs/supervisor.log" "$logs/stderr.log" "$logs/server.log" 2>/dev/null ||
        die "there are no logs in $logs"
}

update() {
    local before
    before=$(git -C "$here" rev-parse HEAD 2>/dev/null) || die "$here is no git checkout"
    mkdir -p "$workspace" "$logs" "$run"
    lock
    git -C "$here" pull --ff-only || die "git could not pull"
    if [ "$before" = "$(git -C "$here" rev-parse HEAD)" ]; then
        say "Nothing has changed"
        return
    fi
    if bash "$script" restart; then
        say "Updated. Back to what was before: git -C $here reset --keep $before && bash $script restart"
        return
    fi
    say "What was pulled does not work here; going back to $before"
    git -C "$here" reset --keep "$before"
    bash "$script" restart || die "and what was before does not either"
    die "not updated; it runs as before"
}

# One of these commands at a time. A child of one that has the lock has it too, as the open file 9.
lock() {
    if { : >&9; } 2>/dev/null; then return; fi
    exec 9>"$run/lock"
    flock -n 9 || die "another start, stop, restart or update is under way"
}

main() {
    local command=${1:-}
    [ $# -eq 0 ] || shift
    case $command in
        start | stop | restart | status | update | supervise) [ $# -eq 0 ] || { usage >&2 && exit 2; } ;;
    esac
    case $command in
        start) start ;;
        stop) stop ;;
        restart) restart ;;
        status) status ;;
        update) update ;;
        supervise) supervise ;;
        logs) show_logs "$@" ;;
        -h | --help | help) usage ;;
        *) usage >&2 && exit 2 ;;
    esac
}

# In one line, read before it runs: `update` replaces this file.
main "$@"; exit
