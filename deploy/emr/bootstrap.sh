#!/usr/bin/env bash
# EMR bootstrap action: makes a node of an EMR cluster the scheduler (primary) or an executor (core, task) of a fleet.
#
# Usage: bootstrap.sh --from S3_PREFIX --sha256 HEX [--region REGION]
#   --from     the folder that `lakewright cluster create` has filled: SHA256SUMS and the files that it names
#   --sha256   checksum of SHA256SUMS: with it, of everything that is installed
#   --region   region of the buckets; that of the node without it
#
# EMR runs it on every node, also on those that join later, as the user hadoop, before it installs its own programs. A
# node on which it fails is given up by EMR, and its output is in the cluster's log folder under bootstrap-actions.
# Run again it changes nothing, or installs what is new. Exit codes: 0 done, 2 usage, 1 anything else.
set -euo pipefail

readonly LIB=/usr/local/lib/lakewright
readonly ETC=/etc/lakewright
readonly STATE=/var/lib/lakewright
readonly RUN=/run/lakewright
readonly LOGS=/mnt/var/log/lakewright
readonly UNITS=/etc/systemd/system
readonly SHUTDOWN_ACTIONS=/mnt/var/lib/instance-controller/public/shutdown-actions
readonly USER_NAME=hadoop
readonly TRIES=5
readonly START_SECONDS_MAX=120

from='' sums_sha256='' region=''

say() { printf 'lakewright bootstrap: %s\n' "$*"; }
fail() {
    printf 'lakewright bootstrap: %s\n' "$*" >&2
    exit 1
}
as_root() { if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@"; fi; }

parse_arguments() {
    while [ $# -gt 0 ]; do
        case $1 in
            --from) from=${2:-} ;;
            --sha256) sums_sha256=${2:-} ;;
            --region) region=${2:-} ;;
            *)
                printf 'lakewright bootstrap: unknown argument %s\n' "$1" >&2
                exit 2
                ;;
        esac
        shift $(($# > 1 ? 2 : 1))
    done
    case $from in s3://*/*) ;; *)
        printf 'lakewright bootstrap: --from must be s3://BUCKET/PREFIX, not %s\n' "$from" >&2
        exit 2
        ;;
    esac
    [[ $sums_sha256 =~ ^[0-9a-f]{64}$ ]] || {
        printf 'lakewright bootstrap: --sha256 must be 64 hexadecimal digits\n' >&2
        exit 2
    }
    from=${from%/}
    [ -z "$region" ] || export AWS_DEFAULT_REGION="$region"
}

# fetch NAME FILE: gets one object; S3 and the node's credentials may take a moment on a node that has just begun.
fetch() {
    local try
    for ((try = 1; try <= TRIES; try++)); do
        if aws s3 cp --only-show-errors "$from/$1" "$2"; then return; fi
        say "cannot fetch $from/$1, try $try of $TRIES"
        [ "$try" -eq "$TRIES" ] || sleep "$try"
    done
    fail "cannot fetch $from/$1: is it there, and may the node's role read it?"
}

# Gets all files into the folder $1, and believes none before its checksum is right.
fetch_all() {
    local name sum
    fetch SHA256SUMS "$1/SHA256SUMS"
    printf '%s  %s\n' "$sums_sha256" "$1/SHA256SUMS" | sha256sum --check --status ||
        fail "$from/SHA256SUMS is not the file that this cluster was made with"
    while read -r sum name; do
        [[ $sum =~ ^[0-9a-f]{64}$ && $name =~ ^[A-Za-z0-9._-]+$ ]] || fail "SHA256SUMS has a wrong line: $sum $name"
        # What is installed already need not be fetched again: the binary is large.
        if [ -f "$LIB/$name" ] && printf '%s  %s\n' "$sum" "$LIB/$name" | sha256sum --check --status; then
            cp "$LIB/$name" "$1/$name"
        else
            fetch "$name" "$1/$name"
        fi
    done <"$1/SHA256SUMS"
    (cd "$1" && sha256sum --check --quiet --strict SHA256SUMS) || fail 'a file does not have the checksum of SHA256SUMS'
}

# place MODE FILE TARGET: installs a file whole or not at all, also over a program that runs.
place() {
    as_root install -D -m "$1" "$2" "$3.new"
    as_root mv -f "$3.new" "$3"
}

# Installs the files of folder $1; prints `changed` if any differs from what was there.
install_files() {
    local name changed=''
    as_root install -d -m 755 "$LIB" "$ETC"
    as_root install -d -m 755 -o "$USER_NAME" -g "$USER_NAME" "$STATE" "$RUN" "$LOGS"
    while read -r _ name; do
        # Hashes of tokens are not everybody's to read: see install_tokens.
        [ "$name" != tokens.json ] || continue
        if ! cmp --silent "$1/$name" "$LIB/$name"; then changed=changed; fi
        case $name in
            lakewright | node-env | scheduler-prepare | spot-watch | busy-watch | step | shutdown-action)
                place 755 "$1/$name" "$LIB/$name"
                ;;
            *) place 644 "$1/$name" "$LIB/$name" ;;
        esac
    done <"$1/SHA256SUMS"
    place 644 "$1/lakewright.conf" "$ETC/lakewright.conf"
    place 644 "$1/logpusher.json" /etc/logpusher/lakewright.config
    place 644 "$1/logrotate.conf" /etc/logrotate.d/lakewright
    as_root install -d -m 755 /usr/local/bin
    as_root ln -sfn "$LIB/lakewright" /usr/local/bin/lakewright
    printf '%s' "$changed"
}

# Hashes of tokens are the primary's alone, and after the first time its own: it adds and revokes.
install_tokens() {
    if [ -f "$1/tokens.json" ] && ! as_root test -e "$STATE/tokens.json"; then
        as_root install -m 600 -o "$USER_NAME" -g "$USER_NAME" "$1/tokens.json" "$STATE/tokens.json"
    fi
}

# start CHANGED UNIT...: enables units, so that a reboot brings them back, and starts or restarts them.
start() {
    local changed=$1 unit
    shift
    as_root systemctl daemon-reload
    for unit in "$@"; do
        as_root systemctl enable "$unit"
        if [ -n "$changed" ]; then
            as_root systemctl restart "$unit"
        else
            as_root systemctl start "$unit"
        fi
    done
}

# Fails the node, and so the cluster, now and with a reason, instead of leaving a cluster that takes no runs.
await_scheduler() {
    local second
    for ((second = 0; second < START_SECONDS_MAX; second++)); do
        if [ -s "$RUN/scheduler.address" ]; then
            say "scheduler listens on $(cat "$RUN/scheduler.address")"
            return
        fi
        sleep 1
    done
    tail -n 20 "$LOGS/scheduler.log" >&2 || true
    fail "the scheduler did not come up within $START_SECONDS_MAX s; its last words are above"
}

main() {
    parse_arguments "$@"
    local staging role changed
    staging=$(mktemp -d)
    # The path is known now; by the time of the trap the variable is gone.
    # shellcheck disable=SC2064
    trap "rm -rf '$staging'" EXIT
    fetch_all "$staging"
    [ -f "$staging/lakewright" ] || fail 'SHA256SUMS names no file lakewright'
    chmod 755 "$staging/lakewright"
    "$staging/lakewright" --version || fail 'the binary does not start on this node: was it built for its C library (glibc 2.34)?'
    changed=$(install_files "$staging")
    role=$("$LIB/node-env" --role) || fail "the files of EMR do not tell this node's role"
    say "role $role, ${changed:-unchanged}"
    case $role in
        primary)
            install_tokens "$staging"
            place 755 "$LIB/step" /usr/local/bin/lakewright-step
            place 644 "$LIB/lakewright-scheduler.service" "$UNITS/lakewright-scheduler.service"
            place 644 "$LIB/lakewright-busy.service" "$UNITS/lakewright-busy.service"
            [ -z "$changed" ] || as_root rm -f "$RUN/scheduler.address"
            start "$changed" lakewright-scheduler.service lakewright-busy.service
            await_scheduler
            ;;
        core | task)
            place 755 "$LIB/shutdown-action" "$SHUTDOWN_ACTIONS/lakewright"
            place 644 "$LIB/lakewright-executor.service" "$UNITS/lakewright-executor.service"
            place 644 "$LIB/lakewright-spot.service" "$UNITS/lakewright-spot.service"
            start "$changed" lakewright-executor.service lakewright-spot.service
            ;;
        *) fail "node-env says role $role" ;;
    esac
    say "is done"
}

main "$@"
