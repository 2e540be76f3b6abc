#!/usr/bin/env bash
# boto3 and mc through hopwire proxy against a real MinIO over TLS: every call has to give the same answer as direct, no
# signature may fail, and the recording has to hold as many exchanges as the store counted.
# usage: lab/proxy-store.sh [HOPWIRE] [SIGNED_REQUESTS]     needs minio, mc, openssl and a python3 with boto3 ($PYTHON)
set -euo pipefail
hopwire=$(realpath "${1:-target/release/hopwire}")
count=${2:-10000}
base=${PORT_BASE:-21700}
python=${PYTHON:-python3}
here=$(cd "$(dirname "$0")" && pwd)
for program in minio mc openssl "$python"; do
  command -v "$program" >/dev/null || { echo "$program is not there" >&2; exit 2; }
done
work=$(mktemp -d "${WORK_IN:-/tmp}/hopwire-lab.XXXXXX")
pids=()
stop() {
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  wait 2>/dev/null || true
  rm -rf "$work"
}
trap stop EXIT

store=https://localhost:$base front=https://localhost:$((base + 1))
mkdir "$work/certs" "$work/mc"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -keyout "$work/certs/private.key" \
  -out "$work/certs/public.crt" -subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1 2>/dev/null
"$hopwire" proxy --make-ca "$work/ca" 2>/dev/null
cat "$work/certs/public.crt" "$work/ca/ca.crt" >"$work/trust.pem"
export MINIO_ROOT_USER=hopwire-lab MINIO_ROOT_PASSWORD=hopwire-lab-secret
MINIO_KMS_SECRET_KEY="lab-key:$(head -c 32 /dev/urandom | base64)" minio server --quiet --address "127.0.0.1:$base" \
  --console-address "127.0.0.1:$((base + 2))" --certs-dir "$work/certs" "$work/data" >"$work/minio.log" 2>&1 &
pids+=($!)
"$hopwire" proxy --ca-cert "$work/ca/ca.crt" --ca-key "$work/ca/ca.key" --upstream-ca "$work/certs/public.crt" \
  --route "client-store=https://:$((base + 1))->$store" -w "$work/run.pcapng" --fail-on never --format json -o "$work/report.json" \
  2>"$work/proxy.err" &
proxy=$!
pids+=("$proxy")
for _ in $(seq 100); do curl -fsk "$store/minio/health/live" >/dev/null 2>&1 && break; sleep 0.1; done
for _ in $(seq 100); do grep -q "Ctrl-C" "$work/proxy.err" && break; sleep 0.1; done

export SSL_CERT_FILE="$work/trust.pem" MC_CONFIG_DIR="$work/mc"
mc --quiet alias set direct "$store" "$MINIO_ROOT_USER" "$MINIO_ROOT_PASSWORD" >/dev/null
# Given so, mc asks the endpoint nothing beforehand.
export MC_HOST_front="https://$MINIO_ROOT_USER:$MINIO_ROOT_PASSWORD@localhost:$((base + 1))"
head -c 20000000 /dev/urandom >"$work/big"
commands() { # ALIAS
  mc --quiet mb "$1/mc-lab" >/dev/null
  mc --quiet cp "$work/big" "$1/mc-lab/big" >/dev/null
  mc --quiet cp "$1/mc-lab/big" "$1/mc-lab/copy" >/dev/null
  mc cat "$1/mc-lab/copy" | sha256sum
  mc --json ls "$1/mc-lab" | sed -E 's/"(lastModified|etag|url)":"[^"]*",?//g'
  mc --quiet rm --recursive --force "$1/mc-lab" >/dev/null
  mc --quiet rb "$1/mc-lab" >/dev/null
}
echo "direct:"
"$python" "$here/scripts/proxy_calls.py" "$store" "$work/trust.pem" 100 "$work/direct.jsonl"
commands direct >"$work/direct.txt"

mc admin trace --json --call s3 direct >"$work/trace.json" 2>/dev/null &
trace=$!
pids+=("$trace")
sleep 2
: >"$work/trace.json"
echo "through the proxy:"
"$python" "$here/scripts/proxy_calls.py" "$front" "$work/trust.pem" "$count" "$work/front.jsonl"
commands front >"$work/front.txt"
diff "$work/direct.jsonl" "$work/front.jsonl"
diff "$work/direct.txt" "$work/front.txt"
echo "all answers are the same"

sleep 3
kill "$trace" 2>/dev/null || true
kill -INT "$proxy"
wait "$proxy" || true
"$python" - "$work/report.json" "$work/trace.json" <<'PY'
import json
import sys

report = json.load(open(sys.argv[1]))
hops = {hop["name"]: hop["exchanges"] for hop in report["hops"]}
trace = [json.loads(line) for line in open(sys.argv[2]) if line.startswith("{")]
view = report["completeness"]
print(f"exchanges in the recording: {hops}; calls in the store's own trace: {len(trace)}")
print(f"incomplete: {view['exchanges_incomplete']}, TLS connections {view['tls_flows']}, decrypted {view['tls_flows_decrypted']}")
assert hops["client-store"] == hops["client-store-upstream"] == len(trace), "each call once on each leg"
PY
