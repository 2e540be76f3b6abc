#!/bin/bash
# Live capture at full speed over a bridge between two network namespaces: what is dropped, and the CPU it takes, beside
# `tcpdump -w` with the same ring on the same load. Needs root, ip, tcpdump, iperf3, nginx and wrk; takes about a minute.
#
#   benches/live.sh [HOPWIRE] [SECONDS]    default: target/release/hopwire, 4 seconds for each run
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
hopwire=$(realpath "${1:-$here/../target/release/hopwire}")
seconds=${2:-4}
[ "$(id -u)" = 0 ] || { echo "needs root" >&2; exit 2; }
for program in ip tcpdump iperf3 nginx wrk python3; do
    command -v $program > /dev/null || { echo "skipped: needs $program" >&2; exit 0; }
done

id=$$
bridge=hwb$id a=hwa$id b=hwz$id
lab=$(mktemp -d /tmp/hopwire-live.XXXXXX)
children=()
cleanup() {
    for child in "${children[@]}"; do kill "$child" 2> /dev/null || true; done
    wait 2> /dev/null || true
    for space in $a $b; do
        ip netns pids $space 2> /dev/null | xargs -r kill 2> /dev/null || true
        ip link del ${space}n 2> /dev/null || true
        ip netns del $space 2> /dev/null || true
    done
    ip link del $bridge 2> /dev/null || true
    umount "$lab/ram" 2> /dev/null || true
    rm -rf "$lab"
}
trap cleanup EXIT

ip link add $bridge type bridge && ip link set $bridge up
number=1
for space in $a $b; do
    ip netns add $space
    ip link add ${space}n type veth peer name ${space}f
    ip link set ${space}f netns $space
    ip link set ${space}n master $bridge up
    ip -n $space link set lo up
    ip -n $space addr add 10.213.58.$number/24 dev ${space}f
    ip -n $space link set ${space}f up
    number=$((number + 1))
done
# The files go to memory: this measures the program, not a disk.
mkdir "$lab/ram" "$lab/www" && mount -t tmpfs tmpfs "$lab/ram"
head -c 1024 /dev/urandom > "$lab/www/small"
head -c $((64 << 20)) /dev/zero > "$lab/www/large"
chmod 755 "$lab" "$lab/www"
cat > "$lab/nginx.conf" << CONF
daemon off; worker_processes 1; pid $lab/nginx.pid; error_log $lab/nginx.err;
events { worker_connections 512; }
http { access_log off; sendfile on; keepalive_requests 1000000; server { listen 10.213.58.1:9000; root $lab/www; } }
CONF
ip netns exec $a nginx -c "$lab/nginx.conf" & children+=($!)
ip netns exec $a iperf3 -s > /dev/null & children+=($!)
sleep 1

load() { # load KIND: prints how fast it was
    case $1 in
    bulk) ip netns exec $b timeout $((seconds + 10)) iperf3 -c 10.213.58.1 -t "$seconds" -J |
        python3 -c 'import json,sys; print("%.1f Gb/s" % (json.load(sys.stdin)["end"]["sum_received"]["bits_per_second"]/1e9))' ;;
    large) ip netns exec $b timeout $((seconds + 10)) wrk -t1 -c4 -d"${seconds}s" http://10.213.58.1:9000/large | awk '/Transfer/ {print $2 "/s"}' ;;
    small) ip netns exec $b timeout $((seconds + 10)) wrk -t1 -c32 -d"${seconds}s" http://10.213.58.1:9000/small | awk '/Requests/ {print $2 " requests/s"}' ;;
    esac
}
cpu() { # cpu PID: seconds of user and system time so far
    awk -v tick="$(getconf CLK_TCK)" '{print ($14 + $15) / tick}' "/proc/$1/stat"
}
row() { printf '%-34s %-22s %10s packets %10s dropped %8s CPU s %10s MB\n' "$@"; }

run_tcpdump() { # run_tcpdump KIND RING_KIB
    tcpdump -n -i $bridge -B "$2" -w "$lab/ram/t.pcap" 2> "$lab/t.err" & local pid=$!
    sleep 0.7
    local speed; speed=$(load "$1"); sleep 0.5
    local used; used=$(cpu $pid)
    kill -INT $pid; wait $pid 2> /dev/null || true
    row "$1: tcpdump -B $2 -w" "$speed" "$(awk '/captured/ {print $1}' "$lab/t.err")" "$(awk '/dropped by kernel/ {print $1}' "$lab/t.err")" \
        "$used" "$(($(stat -c %s "$lab/ram/t.pcap") / 1000000))"
    rm -f "$lab/ram/t.pcap"
}
run_hopwire() { # run_hopwire KIND RING NAME ARGUMENT…
    local kind=$1 ring=$2 name=$3; shift 3
    "$hopwire" capture -n -i $bridge --buffer-size "$ring" --format json -o "$lab/h.json" "$@" 2> "$lab/h.err" & local pid=$!
    sleep 0.7
    local speed; speed=$(load "$kind"); sleep 0.5
    local used; used=$(cpu $pid)
    kill -INT $pid; wait $pid 2> /dev/null || true
    local counts; counts=$(python3 -c 'import json,sys; c=json.load(open(sys.argv[1]))["completeness"]; print(c["packets"], c["packets_dropped"], c["exchanges"], c["exchanges_incomplete"])' "$lab/h.json")
    local size=0; [ -f "$lab/ram/h.pcapng" ] && size=$(($(stat -c %s "$lab/ram/h.pcapng") / 1000000))
    # shellcheck disable=SC2086
    set -- $counts
    row "$kind: $name" "$speed" "$1" "$2" "$used" "$size"
    echo "    exchanges $3, of them incomplete $4"
    rm -f "$lab/ram/h.pcapng"
}

echo "$("$hopwire" --version), $(nproc) processors, $seconds s each; CPU is what the capturing program used, the load shares the processors"
for kind in bulk large small; do
    row "$kind: no capture" "$(load $kind)" - - - -
    run_tcpdump $kind 65536
    run_hopwire $kind 64M "hopwire capture -w" -w "$lab/ram/h.pcapng"
    run_hopwire $kind 64M "hopwire capture"
done
echo "starved on purpose:"
run_hopwire large 1M "hopwire capture, 1 MiB ring" -w "$lab/ram/h.pcapng"
grep -m1 'dropped so far' "$lab/h.err" || true
python3 - "$lab/h.json" << 'PYTHON'
import json, sys
for finding in json.load(open(sys.argv[1]))["findings"]:
    if finding["rule"] == "capture-incomplete":
        print(finding["rule"] + ":", finding["message"])
PYTHON
