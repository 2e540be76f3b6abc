#!/bin/bash
# Captures S3-like traffic between containers on a docker network, by network name and by container name, and checks that
# hops and findings bear the containers' names. Starts a docker engine of its own (own data, own socket) and ends it again;
# a docker that runs already is left alone. Needs root and dockerd (apt-get install docker.io). Takes about a minute.
#
#   lab/docker-capture.sh [HOPWIRE [STATIC]]    HOPWIRE: the program to test, default target/release/hopwire
#                                               STATIC: the same as one static file, for the image (make image); default
#                                               target/image/hopwire, and without it the image is not tested
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
hopwire=$(realpath "${1:-$here/../target/release/hopwire}")
static=${2:-$here/../target/image/hopwire}
[ "$(id -u)" = 0 ] || { echo "needs root: sudo $0 $*" >&2; exit 2; }
for program in dockerd docker python3; do
    command -v "$program" > /dev/null || { echo "needs $program (apt-get install docker.io python3)" >&2; exit 2; }
done
[ -x "$hopwire" ] || { echo "no program at $hopwire: cargo build --release" >&2; exit 2; }

lab=$(mktemp -d /tmp/hopwire-docker-lab.XXXXXX)
export DOCKER_HOST=unix://$lab/docker.sock
export DOCKER_CONFIG=$lab/config
daemon=
cleanup() {
    if [ -n "$daemon" ]; then
        timeout 30 docker rm -f watcher lab-store-1 spark sidekick aistor > /dev/null 2>&1 || true
        timeout 10 docker network rm spark-net lab_inner > /dev/null 2>&1 || true
        kill "$daemon" 2> /dev/null || true
        wait "$daemon" 2> /dev/null || true
        # A container in the machine's own network leaves a mount behind.
        umount "$lab"/exec/netns/* 2> /dev/null || true
    fi
    rm -rf "$lab"
}
trap cleanup EXIT

step() { printf '\n== %s\n' "$*"; }
failed=0
expect() { # expect WHAT FILE PATTERN
    if grep -qE -- "$3" "$2"; then echo "ok    $1"; else echo "FAIL  $1: no /$3/ in $2"; failed=1; sed 's/^/      | /' "$2" | head -40; fi
}
expect_code() { # expect_code WHAT WANTED GOT
    if [ "$2" = "$3" ]; then echo "ok    $1: exit $3"; else echo "FAIL  $1: exit $3, expected $2"; failed=1; fi
}

step "a docker engine of its own"
dockerd --data-root "$lab/data" --exec-root "$lab/exec" --pidfile "$lab/pid" -H "$DOCKER_HOST" --storage-driver=vfs \
    --iptables=false --ip6tables=false --bridge=none > "$lab/dockerd.log" 2>&1 &
daemon=$!
for _ in $(seq 100); do timeout 5 docker version > /dev/null 2>&1 && break; sleep 0.2; done
docker version --format '{{.Server.Version}}' || { tail "$lab/dockerd.log"; exit 1; }

# An image without a download: empty mount points, and the links that a merged /usr needs. The programs are the host's, read-only.
mkdir -p "$lab/root"/{usr,etc,lab,proc,sys,dev,tmp}
for name in bin sbin lib lib32 lib64; do [ -L "/$name" ] && cp -a "/$name" "$lab/root/"; done
tar -C "$lab/root" -c . | docker import - hopwire-lab > /dev/null
docker network create --subnet 172.30.57.0/24 spark-net > /dev/null
start() { # start NAME COMMAND…
    local name=$1; shift
    docker run -d --name "$name" --network spark-net -v /usr:/usr:ro -v /etc/alternatives:/etc/alternatives:ro \
        -v "$here/docker-capture:/lab:ro" hopwire-lab "$@" > /dev/null
}
start aistor /usr/bin/python3 /lab/store.py 9000
start sidekick /usr/bin/python3 /lab/proxy.py 8091 aistor 9000
start spark /usr/bin/sleep 600
traffic() { timeout 30 docker exec spark /usr/bin/python3 /lab/client.py "$1" "$2" "$3"; }

step "hopwire capture --list"
"$hopwire" capture --list | tee "$lab/list.txt"
expect "the network behind the bridge" "$lab/list.txt" '^br-[0-9a-f]{12} .*docker network spark-net \(172\.30\.57\.0/24\): .*spark 172\.30\.57\.4'
expect "the container behind its port" "$lab/list.txt" '^veth.*docker container sidekick, port of br-'

step "hopwire capture --network spark-net -w run.pcapng"
"$hopwire" capture --network spark-net -w "$lab/run.pcapng" --format json -o "$lab/run.json" 2> "$lab/run.err" &
capture=$!
for _ in $(seq 50); do grep -q '^capturing on' "$lab/run.err" && break; sleep 0.1; done
traffic sidekick 8091 20
sleep 1
kill -INT $capture
code=0; wait $capture || code=$?
cat "$lab/run.err"
expect_code "interrupted" 130 "$code"
expect "the finding came while it ran" "$lab/run.err" 'error sse-c-key-in-clear'
python3 - "$lab/run.json" << 'PYTHON' | tee "$lab/hops.txt"
import json, sys
report = json.load(open(sys.argv[1]))
for hop in report["hops"]:
    print("hop", hop["name"], hop["transport"], hop["servers"], hop["calls"], "calls")
for finding in report["findings"]:
    print("finding", finding["rule"], finding["severity"], finding["hop"], finding["count"])
print("packets", report["completeness"]["packets"], "dropped", report["completeness"]["packets_dropped"])
print("verdict", report["verdict"]["outcome"])
PYTHON
expect "hop 1 bears the containers' names" "$lab/hops.txt" '^hop spark-sidekick clear .* 80 calls'
expect "hop 2 bears the containers' names" "$lab/hops.txt" '^hop sidekick-aistor clear .* 80 calls'
expect "the key in clear on hop 1" "$lab/hops.txt" '^finding sse-c-key-in-clear error spark-sidekick 12$'
expect "the key in clear on hop 2" "$lab/hops.txt" '^finding sse-c-key-in-clear error sidekick-aistor 12$'
expect "nothing dropped" "$lab/hops.txt" 'dropped 0$'
expect "the verdict" "$lab/hops.txt" '^verdict leaked'
[ "$(stat -c %a "$lab/run.pcapng")" = 600 ] && echo "ok    only its owner can read the file"

step "the file read again"
"$hopwire" analyze "$lab/run.pcapng" --format json -o "$lab/again.json" || true
python3 - "$lab/run.json" "$lab/again.json" << 'PYTHON' | tee "$lab/again.txt"
import json, sys
live, again = (json.load(open(path)) for path in sys.argv[1:])
for part in ("hops", "operations", "encryption", "verdict"):
    print("same" if live[part] == again[part] else "OTHER", part)
findings = [[(f["rule"], f["hop"], f["count"], [e["frames"] for e in f["evidence"]]) for f in r["findings"]] for r in (live, again)]
print("same" if findings[0] == findings[1] else "OTHER", "findings and their frames")
PYTHON
if grep -q OTHER "$lab/again.txt"; then failed=1; fi
if command -v tshark > /dev/null; then
    tshark -nr "$lab/run.pcapng" -Y 'frame.comment contains "sse-c-key-in-clear"' -T fields -e frame.number -e frame.comment > "$lab/tshark.txt"
    expect "tshark finds the commented frames" "$lab/tshark.txt" '^[0-9]+	.*hopwire error sse-c-key-in-clear: 12 requests in clear on spark-sidekick'
    capinfos "$lab/run.pcapng" > "$lab/capinfos.txt"
    expect "capinfos reads the interface's description" "$lab/capinfos.txt" 'docker network spark-net'
fi

step "hopwire capture --container sidekick, by its own interface"
"$hopwire" capture --container sidekick -w "$lab/sidekick.pcapng" --duration 8 -o "$lab/sidekick.txt" 2> "$lab/sidekick.err" &
capture=$!
for _ in $(seq 50); do grep -q '^capturing on' "$lab/sidekick.err" && break; sleep 0.1; done
traffic sidekick 8091 5
code=0; wait $capture || code=$?
head -3 "$lab/sidekick.err"
expect_code "findings" 1 "$code"
expect "its port of the bridge" "$lab/sidekick.err" '^capturing on veth[0-9a-f]+ \(docker container sidekick\)'
expect "both hops" "$lab/sidekick.txt" 'sidekick-aistor'
expect "the finding while it ran, not in the end" "$lab/sidekick.err" '^ +[1-6]\.[0-9] s  error sse-c-key-in-clear'

step "hopwire capture --container sidekick -i lo, inside its network namespace"
"$hopwire" capture --container sidekick -i lo --duration 3 -o "$lab/lo.txt" 2> "$lab/lo.err" &
capture=$!
for _ in $(seq 50); do grep -q '^capturing on' "$lab/lo.err" && break; sleep 0.1; done
timeout 20 docker exec sidekick /usr/bin/python3 /lab/client.py 127.0.0.1 8091 5
code=0; wait $capture || code=$?
head -1 "$lab/lo.err"
expect_code "findings" 1 "$code"
expect "the loopback hop" "$lab/lo.txt" '127\.0\.0\.1'

step "a container that is restarted is followed"
"$hopwire" capture --container aistor --duration 12 -w "$lab/again.pcapng" --format json -o "$lab/restart.json" 2> "$lab/restart.err" &
capture=$!
for _ in $(seq 50); do grep -q '^capturing on' "$lab/restart.err" && break; sleep 0.1; done
traffic aistor 9000 2
docker restart -t 0 aistor > /dev/null
for _ in $(seq 40); do grep -q 'capturing again' "$lab/restart.err" && break; sleep 0.1; done
traffic aistor 9000 3
code=0; wait $capture || code=$?
cat "$lab/restart.err"
expect "it was found again" "$lab/restart.err" 'capturing again on veth'
python3 -c 'import json, sys; print("calls", sum(hop["calls"] for hop in json.load(open(sys.argv[1]))["hops"]))' "$lab/restart.json" > "$lab/restart.txt"
expect "calls before and after" "$lab/restart.txt" '^calls 20$'

step "names under compose: the network without its project, the container by its service"
docker network create --subnet 172.30.58.0/24 lab_inner > /dev/null
docker run -d --name lab-store-1 --network lab_inner --label com.docker.compose.project=lab --label com.docker.compose.service=store \
    -v /usr:/usr:ro hopwire-lab /usr/bin/sleep 600 > /dev/null
for what in "--network inner" "--container store"; do
    # shellcheck disable=SC2086
    "$hopwire" capture $what --duration 1 -o "$lab/compose.txt" 2>> "$lab/compose.err" || true
done
expect "the network" "$lab/compose.err" '^capturing on br-[0-9a-f]{12} \(docker network lab_inner\)'
expect "the container" "$lab/compose.err" '^capturing on veth[0-9a-f]+ \(docker container lab-store-1\)'

step "nsenter into the network of a container"
nsenter -t "$(docker inspect -f '{{.State.Pid}}' sidekick)" -n "$hopwire" capture -n -i eth0 --duration 4 -o "$lab/enter.txt" 2> "$lab/enter.err" &
capture=$!
for _ in $(seq 50); do grep -q '^capturing on' "$lab/enter.err" && break; sleep 0.1; done
traffic sidekick 8091 2
code=0; wait $capture || code=$?
expect_code "findings or not" 0 "$code"
expect "both hops" "$lab/enter.txt" '^seen: +16 exchanges'

if [ -x "$static" ]; then
    step "the image: docker run --net=host hopwire capture --network spark-net -w -"
    mkdir "$lab/image" "$lab/out" && cp "$static" "$lab/image/hopwire"
    printf 'FROM scratch\nCOPY hopwire /hopwire\nENTRYPOINT ["/hopwire"]\n' > "$lab/image/Dockerfile"
    docker build -q -t hopwire "$lab/image" 2> "$lab/build.err" || { cat "$lab/build.err"; failed=1; }
    docker images --format '{{.Repository}} {{.Size}}' hopwire
    in_image() { # in_image NAME DOCKER-ARGUMENTS -- ARGUMENTS: captures 80 requests; packets and report are NAME.pcapng and NAME.jsonl
        local name=$1 docker=(); shift
        while [ "$1" != -- ]; do docker+=("$1"); shift; done
        shift
        docker run --rm --name watcher --cap-add NET_RAW -v "$lab/out:/out" "${docker[@]}" hopwire capture "$@" -w - \
            --show-secrets --format jsonl -o "/out/$name.jsonl" > "$lab/out/$name.pcapng" 2> "$lab/out/$name.err" &
        local watcher=$!
        for _ in $(seq 50); do grep -q '^capturing on' "$lab/out/$name.err" && break; sleep 0.1; done
        traffic sidekick 8091 20
        sleep 1
        kill -INT $watcher
        code=0; wait $watcher || code=$?
        cat "$lab/out/$name.err"
        expect_code "$name: interrupted" 130 "$code"
        "$hopwire" analyze "$lab/out/$name.pcapng" --show-secrets --format jsonl -o "$lab/out/$name.again" || true
        python3 - "$lab/out/$name.jsonl" "$lab/out/$name.again" << 'PYTHON' | tee "$lab/out/$name.txt"
import json, sys
live, again = ([json.loads(line) for line in open(path)] for path in sys.argv[1:])
exchanges = [[line for line in lines if line["type"] == "exchange"] for lines in (live, again)]
print("same" if exchanges[0] == exchanges[1] else "OTHER", "exchanges:", len(exchanges[0]), "live,", len(exchanges[1]), "read again from stdout")
PYTHON
    }
    in_image network --net=host -v "$lab/docker.sock:/var/run/docker.sock" -- --network spark-net
    expect "the network's bridge from inside" "$lab/out/network.err" '^capturing on br-[0-9a-f]{12} \(docker network spark-net\)'
    expect "both hops, and read again the same" "$lab/out/network.txt" '^same exchanges: 160 live, 160 read'
    in_image container --net=container:sidekick -- -i eth0
    expect "a container's own interface, and read again the same" "$lab/out/container.txt" '^same exchanges: 160 live, 160 read'
fi

step "mistakes"
try() { # try WHAT CODE PATTERN ARGUMENT…
    local what=$1 wanted=$2 pattern=$3; shift 3
    code=0; timeout 20 "$hopwire" capture "$@" > /dev/null 2> "$lab/mistake.err" || code=$?
    sed 's/^/      /' "$lab/mistake.err"
    expect_code "$what" "$wanted" "$code"
    expect "$what" "$lab/mistake.err" "$pattern"
}
try "a mistyped network" 5 'did you mean spark-net' --network sparknet
try "a mistyped container" 5 'did you mean sidekick' --container sidekik
try "a filter that does not parse" 2 'does not parse' --network spark-net -f 'tcp prt 80'
DOCKER_HOST=unix://$lab/none.sock try "no engine" 5 'none.sock' --network spark-net
setpriv=$(command -v setpriv || true)
if [ -n "$setpriv" ]; then
    code=0
    bridge=$(awk '/docker network spark-net/ {print $1}' "$lab/list.txt")
    cp "$hopwire" "$lab/hopwire" && chmod 755 "$lab" "$lab/hopwire"
    "$setpriv" --reuid 65534 --regid 65534 --clear-groups "$lab/hopwire" capture -i "$bridge" --duration 1 2> "$lab/mistake.err" > /dev/null || code=$?
    sed 's/^/      /' "$lab/mistake.err"
    expect_code "no privilege" 5 "$code"
    expect "no privilege" "$lab/mistake.err" 'setcap cap_net_raw\+ep'
fi

step "$([ $failed = 0 ] && echo "all as expected" || echo "NOT all as expected")"
exit $failed
