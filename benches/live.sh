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
mkdir -p "$lab/ram" "$lab/www/bucket" && mount -t tmpfs tmpfs "$lab/ram"
head -c 1024 /dev/urandom > "$lab/www/bucket/small"
head -c $((64 << 20)) /dev/zero > "$lab/www/bucket/large"
chmod 755 "$lab" "$lab/www" "$lab/www/bucket"
cat > "$lab/nginx.conf" << CONF
daemon off; worker_processes 1; pid $lab/nginx.pid; error_log $lab/nginx.err;
events { worker_connections 512; }
http {
    access_log off; sendfile on; keepalive_requests 1000000;
    add_header x-amz-request-id \$request_id; add_header x-amz-id-2 lab; add_header Accept-Ranges bytes;
    server { listen 10.213.58.1:9000; root $lab/www; }
}
CONF
ip netns exec $a nginx -c "$lab/nginx.conf" & children+=($!)
ip netns exec $a iperf3 -s > /dev/null 2>&1 & children+=($!)
sleep 1

# Heads as an SDK sends them, so that what is measured is the judging of S3 calls.
signed=(-H 'User-Agent: Boto3/1.43.0 md/Botocore#1.43.0 ua/2.1 os/linux lang/python#3.11' -H 'x-amz-date: 20261126T120000Z'
    -H "x-amz-content-sha256: $(sha256sum < /dev/null | cut -d' ' -f1)"
    -H "Authorization: AWS4-HMAC-SHA256 Credential=bench/20261126/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=$(echo bench | sha256sum | cut -d' ' -f1)")

load() { # load KIND: prints how fast it was
    case $1 in
    bulk) ip netns exec $b timeout $((seconds + 10)) iperf3 -c 10.213.58.1 -t "$seconds" -J |
        python3 -c 'import json,sys; print("%.1f Gb/s" % (json.load(sys.stdin)["end"]["sum_received"]["bits_per_second"]/1e9))' ;;
    large) ip netns exec $b timeout $((seconds + 10)) wrk -t1 -c4 -d"${seconds}s" "${signed[@]}" http://10.213.58.1:9000/bucket/large | awk '/Transfer/ {print $2 "/s"}' ;;
    small) ip netns exec $b timeout $((seconds + 10)) wrk -t1 -c32 -d"${seconds}s" "${signed[@]}" http://10.213.58.1:9000/bucket/small | awk '/Requests/ {print $2 " requests/s"}' ;;
    esac
}
cpu() { # cpu PID: seconds of user and system time so far
    awk -v tick="$(getconf CLK_TCK)" '{print ($14 + $15) / tick}' "/proc/$1/stat"
}
# What one run needed, for each GB on the wire and for each million packets, and how many times that of tcpdump.
cost() { # cost KIND CPU PACKETS BYTES PROGRAM
    [ "$3" -gt 0 ] && [ "$4" -gt 0 ] || return 0
    local one; one=$(awk -v cpu="$2" -v packets="$3" -v bytes="$4" 'BEGIN {printf "%.3f %.3f", cpu / bytes * 1e9, cpu / packets * 1e6}')
    [ "$5" = tcpdump ] && of_tcpdump=$one
    [ -n "$of_tcpdump" ] || return 0
    # shellcheck disable=SC2086
    set -- $one $of_tcpdump
    awk -v gb="$1" -v mp="$2" -v tgb="$3" -v tmp="$4" 'BEGIN {printf "    CPU s for each GB %.2f, for each million packets %.2f: %.2fx and %.2fx of tcpdump -w\n", gb, mp, tgb ? gb / tgb : 0, tmp ? mp / tmp : 0}'
}
row() { printf '%-34s %-22s %10s packets %10s dropped %8s CPU s %10s MB\n' "$@"; }

run_tcpdump() { # run_tcpdump KIND RING_KIB
    tcpdump -n -i $bridge -B "$2" -w "$lab/ram/t.pcap" 2> "$lab/t.err" & local pid=$!
    sleep 0.7
    local speed; speed=$(load "$1"); sleep 0.5
    local used; used=$(cpu $pid)
    kill -INT $pid; wait $pid 2> /dev/null || true
    local packets size
    packets=$(awk '/captured/ {print $1}' "$lab/t.err") size=$(stat -c %s "$lab/ram/t.pcap")
    row "$1: tcpdump -B $2 -w" "$speed" "$packets" "$(awk '/dropped by kernel/ {print $1}' "$lab/t.err")" "$used" "$((size / 1000000))"
    cost "$1" "$used" "$packets" "$((size - 24 - 16 * packets))" tcpdump
    rm -f "$lab/ram/t.pcap"
}
run_hopwire() { # run_hopwire KIND RING NAME ARGUMENT…
    local kind=$1 ring=$2 name=$3; shift 3
    "$hopwire" capture -n -i $bridge --buffer-size "$ring" --format json -o "$lab/h.json" "$@" 2> "$lab/h.err" & local pid=$!
    sleep 0.7
    local speed; speed=$(load "$kind"); sleep 0.5
    local used; used=$(cpu $pid)
    kill -INT $pid; wait $pid 2> /dev/null || true
    local counts; counts=$(python3 -c 'import json,sys; r=json.load(open(sys.argv[1])); c=r["completeness"]; print(c["packets"], c["packets_dropped"], c["exchanges"], c["exchanges_incomplete"], r["sources"][0]["bytes"])' "$lab/h.json")
    local size=0; [ -f "$lab/ram/h.pcapng" ] && size=$(($(stat -c %s "$lab/ram/h.pcapng") / 1000000))
    # shellcheck disable=SC2086
    set -- $counts
    row "$kind: $name" "$speed" "$1" "$2" "$used" "$size"
    echo "    exchanges $3, of them incomplete $4"
    cost "$kind" "$used" "$1" "$5" hopwire
    rm -f "$lab/ram/h.pcapng"
}

echo "$("$hopwire" --version), $(nproc) processors, $seconds s each; CPU is what the capturing program used, the load shares the processors"
of_tcpdump=
for kind in bulk large small; do
    row "$kind: no capture" "$(load $kind)" - - - -
    run_tcpdump $kind 65536
    run_hopwire $kind 64M "hopwire capture -w" -w "$lab/ram/h.pcapng"
    run_hopwire $kind 64M "hopwire capture"
done
echo "starved on purpose:"
of_tcpdump=
run_hopwire large 1M "hopwire capture, 1 MiB ring" -w "$lab/ram/h.pcapng"
grep -m1 'dropped so far' "$lab/h.err" || true
python3 - "$lab/h.json" << 'PYTHON'
import json, sys
for finding in json.load(open(sys.argv[1]))["findings"]:
    if finding["rule"] == "capture-incomplete":
        print(finding["rule"] + ":", finding["message"])
PYTHON
