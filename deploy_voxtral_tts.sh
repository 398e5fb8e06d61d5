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
  PORT                TCP port, to be among the pod's HTTP ports (default: that of what runs, or 8000)
  HF_TOKEN            for the Hugging Face hub
  READY_S             how many seconds to wait until the models are loaded (default 900)
  IDLE_STOP_MINUTES   stop the pod when nobody has used the server for so long (default, and 0: never)
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
case $workspace in /*) ;; *) workspace=$PWD/$workspace ;; esac
venv=${VENV:-$workspace/venv}
logs=$workspace/logs
run=$workspace/run
key_file=$workspace/api-key
export VOXTRAL_WORKSPACE=$workspace
export VOXTRAL_MODELS_DIR=${VOXTRAL_MODELS_DIR:-$workspace/models}

# --- the settings

# What cannot work is refused before anything is stopped, written or launched.
check_settings() {
    [[ $port =~ ^[1-9][0-9]{0,4}$ ]] && [ "$port" -le 65535 ] || die "PORT=$port is not a port from 1 to 65535"
    [[ ${READY_S:-900} =~ ^[1-9][0-9]{0,5}$ ]] || die "READY_S=$READY_S is not a number of seconds"
    [[ ${IDLE_STOP_MINUTES:-0} =~ ^[0-9]{1,6}([.][0-9]+)?$ ]] ||
        die "IDLE_STOP_MINUTES=$IDLE_STOP_MINUTES is not a number of minutes (0: never)"
    [[ ! ${IDLE_STOP_MINUTES:-0} =~ ^[0.]+$ ]] || unset IDLE_STOP_MINUTES
    if [ -n "${VOXTRAL_API_KEY:+given}" ]; then
        usable_key || die "VOXTRAL_API_KEY: a key consists of ASCII letters, digits and !#\$%&'*+-.^_\`|~"
    elif [ -s "$key_file" ]; then
        (read_key && usable_key) || die "$key_file holds no usable key; without that file one is made"
    fi
}

# The key is never an argument and never assigned from a word: `bash -x` would print it.
usable_key() { [ "$(LC_ALL=C tr -d "A-Za-z0-9!#\$%&'*+.^_\`|~-" <<<"$VOXTRAL_API_KEY" && echo .)" = $'\n.' ]; }

# What runs keeps its port where PORT says nothing. $1: `running` where PORT is not even asked.
settle_port() {
    running_port=""
    if alive supervisor || alive server; then running_port=$(cat "$run/port" 2>/dev/null || true); fi
    port=${PORT:-${running_port:-8000}}
    [ "${1:-}" != running ] || port=${running_port:-$port}
    local_url=http://127.0.0.1:$port
    export PORT=$port
}

make_workspace() {
    mkdir -p "$workspace" "$logs" "$run" 2>/dev/null && [ -w "$run" ] ||
        die "$workspace cannot be made: VOXTRAL_WORKSPACE=\$HOME/voxtral-voice names another place"
}

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
    [ -r /proc/net/tcp ] || die "/proc/net/tcp cannot be read: it tells whose server listens at the port"
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
    if [ -n "${VOXTRAL_API_KEY:+given}" ]; then
        (umask 077 && cat >"$key_file.new" <<<"$VOXTRAL_API_KEY")
        mv "$key_file.new" "$key_file"
    elif [ ! -s "$key_file" ]; then
        (umask 077 && "$venv/bin/python" -c 'import secrets; print(secrets.token_urlsafe(24))' >"$key_file")
    fi
    chmod 600 "$key_file"
    read_key
}

read_key() {
    [ ! -s "$key_file" ] || read -r VOXTRAL_API_KEY <"$key_file" || true # where no line end follows
    export VOXTRAL_API_KEY
}

# --- what runs

# Whether the `supervisor`, its idle `watch` or the `server` runs. Process numbers are used again, and other workspaces
# have servers too, so the pid file alone says nothing.
alive() {
    local pid command pattern='voxtral-voice serve'
    [ "$1" = server ] || pattern='deploy_voxtral_tts.sh supervise'
    pid=$(cat "$run/$1.pid" 2>/dev/null) || return 1
    [[ $pid =~ ^[0-9]+$ ]] || return 1
    command=$({ tr '\0' ' ' <"/proc/$pid/cmdline"; } 2>/dev/null) || return 1
    [[ $command == *"$pattern"* ]] && grep -qzxF "VOXTRAL_WORKSPACE=$workspace" "/proc/$pid/environ" 2>/dev/null
}

# The inodes of the sockets that listen at the port, whoever has them.
listeners() {
    { cat /proc/net/tcp /proc/net/tcp6 2>/dev/null || true; } |
        awk -v port="$(printf ':%04X' "$port")" '$4 == "0A" && substr($2, length($2) - 4) == port { print $10 }'
}

# Whether it is our server that listens: a stranger may answer /ready just as well, and must never be shown the key.
ours_listens() {
    local inode files
    alive server || return 1
    files=$(ls -l "/proc/$(cat "$run/server.pid")/fd" 2>/dev/null) || return 1
    for inode in $(listeners); do
        [[ $files != *"socket:[$inode]"* ]] || return 0
    done
    return 1
}

refuse_a_taken_port() {
    [ -z "$(listeners)" ] || ours_listens ||
        die "another program listens at port $port: end that one, or choose another PORT"
}

# Keeps one server running until it is told to end. A server that ends by itself is started again, at once and then
# after ever longer pauses; one that had lived for a minute starts that count anew.
supervise() {
    local delay_s=0 crashes=0 started status=0 server="" watch="" ending=""
    trap 'ending=1; [ -z "$server" ] || kill -TERM "$server" 2>/dev/null || true' TERM INT
    if [ -n "${IDLE_STOP_MINUTES:-}" ]; then
        watch_idle &
        watch=$!
        echo "$watch" >"$run/watch.pid"
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

# Stops the pod once nobody has used the server for IDLE_STOP_MINUTES. A stopped pod keeps its volume. It ends when the
# supervisor that it belongs to is gone: what runs then may have other settings.
watch_idle() {
    local limit_s idle_s
    trap 'kill $! 2>/dev/null; exit' TERM
    limit_s=$(awk -v minutes="$IDLE_STOP_MINUTES" 'BEGIN { print minutes * 60 < 1 ? 1 : int(minutes * 60) }')
    while nap $((limit_s > 90 ? 10 : limit_s / 10 + 1)); do
        { alive supervisor && [ "$(cat "$run/supervisor.pid")" = $$ ]; } || return 0
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

# What is on this machine is asked directly, whatever proxy leads out of it.
local_curl() { curl -s -m 10 --noproxy '*' "$@"; }

# GET $1 with the key, which must not be seen in the list of processes.
ask() {
    ours_listens || return 1
    local_curl -K - "$local_url$1" <<EOF
header = "X-API-Key: ${VOXTRAL_API_KEY:-}"
EOF
}

is_ready() { ours_listens && local_curl -f -o /dev/null "$local_url/ready"; }

wait_ready() {
    local end=$((SECONDS + ${READY_S:-900})) answer said=""
    say "Waiting until the models are loaded"
    until is_ready; do
        answer=$(ask /ready | sed -n 's/.*"code":"\([^"]*\)","message":"\([^"]*\)".*/\1: \2/p') || true
        case $answer in model_failed*) not_ready "$answer" ;; esac
        [ "$answer" = "$said" ] || printf '    %s\n' "$answer"
        said=$answer
        alive supervisor || not_ready "the supervisor has ended"
        [ "$(cat "$run/crashes" 2>/dev/null || echo 0)" -lt 3 ] || not_ready "the server ends by itself again and again"
        [ "$SECONDS" -lt "$end" ] || not_ready "not ready after ${READY_S:-900} s"
        sleep 0.5
    done
    answer=$(local_curl -o /dev/null -w '%{http_code}' "$local_url/status") || true
    [ "$answer" = 401 ] || not_ready "/status without the key has to be refused with 401, and the answer is $answer"
}

# What this call has not launched is somebody's running server: it stays.
not_ready() {
    [ -z "${launched:-}" ] || halt
    tail -n 20 "$logs/server.log" "$logs/stderr.log" >&2 2>/dev/null || true
    die "$1 (all of it: $logs)"
}

halt() {
    local each tries
    for each in supervisor watch server; do # the supervisor first: it would start another server
        for tries in $(seq 200); do
            alive $each || break
            [ "$tries" -ne 1 ] || kill -TERM "$(cat "$run/$each.pid")" 2>/dev/null || true
            [ "$tries" -ne 200 ] || kill -KILL "$(cat "$run/$each.pid")" 2>/dev/null || true
            sleep 0.1
        done
        rm -f "$run/$each.pid"
    done
    rm -f "$run/port"
}

launch() {
    local tries
    rm -f "$run/crashes"
    echo "$port" >"$run/port"
    launched=1
    if [ -n "${RUNPOD_POD_ID:-}" ]; then # the page's own address, whatever the proxy makes of the Host header
        export VOXTRAL_SERVER__ORIGINS="${VOXTRAL_SERVER__ORIGINS:-["\"$(public_url)"\"]}"
    fi
    # A session of its own: closing the terminal does not reach it.
    setsid nohup bash "$script" supervise >>"$logs/supervisor.log" 2>&1 </dev/null 9>&- &
    echo $! >"$run/supervisor.pid"
    for tries in $(seq 50); do
        sleep 0.1
        ! alive supervisor || break
        [ "$tries" -lt 50 ] || not_ready "the supervisor does not start"
    done
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
    check_settings
    make_workspace
    lock
    if { alive supervisor || alive server; } && [ "$port" != "${running_port:-$port}" ]; then
        die "it runs at port $running_port; \`restart\` moves it to $port"
    fi
    if alive supervisor && alive server; then
        say "It runs already; restart takes over changed settings"
        read_key
    else
        refuse_a_taken_port
        halt
        check_machine
        install
        key
        launch
    fi
    wait_ready
    say "Asking it something"
    (cd "$here" && NO_PROXY=127.0.0.1 no_proxy=127.0.0.1 "$venv/bin/python" -m bench.smoke --url "$local_url") || die "it is ready and gives no spoken answer"
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
    check_settings
    make_workspace
    lock
    refuse_a_taken_port
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
    if is_ready; then
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
    check_settings
    make_workspace
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
        status) settle_port running ;;
        *) settle_port ;;
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
