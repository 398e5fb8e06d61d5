#!/usr/bin/env bash
# The image's command: one image, two doors. MODE_TO_RUN=pod serves (pods and load-balancing endpoints), serverless works
# for a RunPod queue. Unset, the platform tells: only a queue's workers are given an address to take jobs from.
set -euo pipefail

mode=${MODE_TO_RUN:-$([ -n "${RUNPOD_WEBHOOK_GET_JOB:-}" ] && echo serverless || echo pod)}
cd -- "$(dirname -- "${BASH_SOURCE[0]}")"

case $mode in
    pod | serverless) ;;
    *)
        echo "start.sh: MODE_TO_RUN is pod or serverless, not $mode" >&2
        exit 2
        ;;
esac

if [ "${1:-}" = health ]; then # a queue's worker has no port: the SDK tells the platform how it is
    [ "$mode" = serverless ] || exec curl -fsS -m 5 -o /dev/null "http://127.0.0.1:${PORT_HEALTH:-${PORT:-8000}}/health"
    exit 0
fi

if [ "$mode" = serverless ]; then
    exec python -u handler.py
fi

if [ -n "${RUNPOD_POD_ID:-}" ] && [ -z "${RUNPOD_ENDPOINT_ID:-}" ]; then # a pod: its address is public
    if [ -z "${VOXTRAL_API_KEY:+given}" ]; then # the key is no word of a command: `bash -x` would print it
        folder=${VOXTRAL_WORKSPACE:-/workspace/voxtral-voice}
        mkdir -p "$folder"
        [ -s "$folder/api-key" ] ||
            (umask 077 && python -c 'import secrets; print(secrets.token_urlsafe(24))' >"$folder/api-key")
        chmod 600 "$folder/api-key"
        read -r VOXTRAL_API_KEY <"$folder/api-key" || true # where no line end follows
        export VOXTRAL_API_KEY
        echo "start.sh: the key that clients must show is in $folder/api-key" >&2
    fi
    page=https://$RUNPOD_POD_ID-${PORT:-8000}.proxy.runpod.net
    export VOXTRAL_SERVER__ORIGINS="${VOXTRAL_SERVER__ORIGINS:-["\"$page\""]}"
    # The base image's own command brings SSH to whoever gave RunPod a public key; it never ends.
    [ -z "${PUBLIC_KEY:-}" ] || [ ! -x /start.sh ] || /start.sh &
fi
exec python -u -m voxtral_voice.cli serve
