#!/usr/bin/env bash
# Interception tried for real: a client and a server in network namespaces on a bridge; hopwire redirects the server's port
# without either knowing. The answers have to be the same, the rule has to be gone after Ctrl-C and after kill -9.
# usage: lab/intercept.sh [HOPWIRE]      needs root, ip and nft; exits with 77 where it cannot run
set -euo pipefail
hopwire=$(realpath "${1:-target/release/hopwire}")
if [ "$(id -u)" != 0 ] || ! command -v ip >/dev/null || ! command -v nft >/dev/null || ! command -v python3 >/dev/null; then
  echo "skipped: this needs root, ip, nft and python3" >&2
  exit 77
fi
mark=proxy$$
work=$(mktemp -d)
pids=()
stop() {
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  wait 2>/dev/null || true
  ip netns del "$mark-c" 2>/dev/null || true
  ip netns del "$mark-s" 2>/dev/null || true
  ip link del "${mark}br" 2>/dev/null || true
  rm -rf "$work"
}
trap stop EXIT
ip link add "${mark}br" type bridge || { echo "skipped: no bridge can be made here" >&2; exit 77; }
ip link set "${mark}br" up
number=2
for side in s c; do
  ip netns add "$mark-$side"
  ip link add "${mark}$side" type veth peer name eth0 netns "$mark-$side"
  ip link set "${mark}$side" master "${mark}br" up
  ip -n "$mark-$side" addr add "10.201.77.$number/24" dev eth0
  ip -n "$mark-$side" link set eth0 up
  ip -n "$mark-$side" link set lo up
  number=$((number + 1))
done
if ! ip netns exec "$mark-s" nft "add table inet probe; add chain inet probe pre { type nat hook prerouting priority dstnat; }" 2>/dev/null; then
  echo "skipped: the kernel has no NAT with nftables" >&2
  exit 77
fi
ip netns exec "$mark-s" nft delete table inet probe
cat >"$work/server.py" <<'PY'
import http.server
import ssl
import sys

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = f"{self.path} {self.headers.get('X-Odd')}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass

server = http.server.ThreadingHTTPServer(("0.0.0.0", int(sys.argv[1])), Handler)
if len(sys.argv) > 2:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[2], sys.argv[3])
    server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
PY
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -keyout "$work/key.pem" -out "$work/cert.pem" \
  -subj /CN=store -addext subjectAltName=DNS:store 2>/dev/null
ip netns exec "$mark-s" python3 "$work/server.py" 8090 & pids+=($!)
ip netns exec "$mark-s" python3 "$work/server.py" 8443 "$work/cert.pem" "$work/key.pem" & pids+=($!)
"$hopwire" proxy --make-ca "$work/ca" 2>/dev/null
cat "$work/cert.pem" "$work/ca/ca.crt" >"$work/trust.pem"
ask() {
  ip netns exec "$mark-c" curl -sS --max-time 10 -H 'X-Odd:  a b ' http://10.201.77.2:8090/one \
    --next -sS --max-time 10 --cacert "$work/trust.pem" --resolve store:8443:10.201.77.2 -H 'X-Odd: c' https://store:8443/two
}
for _ in $(seq 50); do ask >/dev/null 2>&1 && break; sleep 0.1; done
direct=$(ask)

start() {
  : >"$work/proxy.err"
  "$hopwire" proxy --ca-cert "$work/ca/ca.crt" --ca-key "$work/ca/ca.key" --upstream-ca "$work/cert.pem" --fail-on never \
    --netns "plain=/run/netns/$mark-s:8090" --netns "store=/run/netns/$mark-s:8443" --format json -o "$work/report.json" \
    -w "$work/run.pcapng" 2>"$work/proxy.err" &
  proxy=$!
  for _ in $(seq 100); do
    grep -q Ctrl-C "$work/proxy.err" && return
    kill -0 "$proxy" 2>/dev/null || { cat "$work/proxy.err" >&2; exit 1; }
    sleep 0.1
  done
  exit 1
}
rules() { ip netns exec "$mark-s" nft list tables | grep -c hopwire || true; }
check() { # WHAT HAVE WANTED
  [ "$2" = "$3" ] || { echo "failed: $1: $2, expected $3" >&2; exit 1; }
  echo "  $1: $2"
}
gone() {
  for _ in $(seq 50); do [ "$(rules)" = 0 ] && break; sleep 0.1; done
  check "rules after $1" "$(rules)" 0
  check "answers after $1 are as before" "$(ask)" "$direct"
}

start
check "rules while it runs" "$(rules)" 2
check "answers through hopwire are the same" "$(ask)" "$direct"
who=$(ip netns exec "$mark-c" curl -sv --max-time 10 --cacert "$work/trust.pem" --resolve store:8443:10.201.77.2 https://store:8443/ 2>&1 | grep -c 'issuer.*hopwire CA')
check "connections with hopwire's certificate" "$who" 1
kill -INT "$proxy"
wait "$proxy" || true
gone "Ctrl-C"
python3 - "$work/report.json" <<'PY'
import json
import sys

hops = {hop["name"]: hop["exchanges"] for hop in json.load(open(sys.argv[1]))["hops"]}
print("  exchanges in the recording:", hops)
assert hops == {"plain": 1, "plain-upstream": 1, "store": 2, "store-upstream": 2}, hops
PY
start
check "answers through hopwire are the same" "$(ask)" "$direct"
kill -9 "$proxy"
wait "$proxy" 2>/dev/null || true
gone "kill -9"
