#!/usr/bin/env bash
# Reads TLS secrets from Go programs of several Go versions, linked in several ways and stripped, and compares them with the key
# log that the programs themselves write. Needs root (uprobes), Go, and the Go toolchains, which `go` fetches.
#
# usage: lab/keys.sh [HOPWIRE [GO_VERSION ...]]
set -euo pipefail
cd "$(dirname "$0")/.."
hopwire=$(realpath "${1:-target/release/hopwire}")
shift || true
versions=("$@")
[ ${#versions[@]} -gt 0 ] || versions=(1.16.15 1.17.13 1.21.13 1.24.9 local)
[ "$(id -u)" -eq 0 ] || { echo "keys.sh: uprobes need root: use sudo" >&2; exit 1; }
command -v go >/dev/null || { echo "keys.sh: go is missing: install it (apt-get install golang-go)" >&2; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
handshakes=20
right=0
total=0

# Runs a program beside `hopwire keys` and compares both logs, as sets of lines.
compare() {
    local name=$1 program=$2
    rm -f "$work"/{own,seen,go,out,err}
    mkfifo "$work/go"
    "$program" "$handshakes" "$work/own" <"$work/go" >"$work/out" &
    local pid=$!
    exec 7>"$work/go"
    until grep -qs ready "$work/out"; do sleep 0.05; done
    "$hopwire" keys --from "$pid" -o "$work/seen" --duration 120 2>"$work/err" &
    local keys=$!
    until grep -qsE 'watching|error' "$work/err"; do sleep 0.05; done
    echo >&7
    exec 7>&-
    wait "$pid"
    sleep 0.3
    kill -INT "$keys" 2>/dev/null || true
    wait "$keys" || true
    total=$((total + 1))
    local own seen missing
    own=$(grep -cE '^[A-Z]' "$work/own" || true)
    seen=$(sort -u "$work/seen" 2>/dev/null | grep -cE '^[A-Z]' || true)
    missing=$(comm -23 <(grep -E '^[A-Z]' "$work/own" | sort -u) <(sort -u "$work/seen" 2>/dev/null) | wc -l)
    if [ "$missing" -eq 0 ] && [ "$own" -gt 0 ]; then
        right=$((right + 1))
        echo "ok   $name: $own secrets in its own key log, all seen ($seen seen)"
    else
        echo "FAIL $name: $own secrets in its own key log, $missing not seen"
        sed 's/^/     /' "$work/err"
    fi
}

for version in "${versions[@]}"; do
    toolchain=$version
    [ "$version" = local ] || toolchain="go$version"
    for mode in exe pie external; do
        flags=(-trimpath -ldflags "-s -w")
        cgo=0
        case $mode in
        pie) flags+=(-buildmode=pie) ;;
        external) cgo=1; flags=(-trimpath -buildmode=pie -ldflags "-s -w -linkmode=external") ;;
        esac
        if ! (cd lab/keys && CGO_ENABLED=$cgo GOFLAGS=-mod=mod GOTOOLCHAIN=$toolchain go build "${flags[@]}" -o "$work/program" .) 2>"$work/build"; then
            echo "skip go $version $mode: does not build: $(tail -n 1 "$work/build")"
            continue
        fi
        compare "go $version $mode" "$work/program"
        # Without a section table, as some packers leave it.
        if [ "$mode" = exe ]; then
            cp "$work/program" "$work/bare"
            printf '\0\0\0\0\0\0\0\0' | dd of="$work/bare" bs=1 seek=40 conv=notrunc status=none
            printf '\0\0\0\0' | dd of="$work/bare" bs=1 seek=60 conv=notrunc status=none
            compare "go $version $mode, no sections" "$work/bare"
        fi
    done
done
echo "key logs right: $right of $total"
left=$(grep -c '^p:hopwire_' /sys/kernel/tracing/uprobe_events || true)
echo "probes left: $left"
[ "$right" -eq "$total" ] && [ "$left" -eq 0 ]
