#!/bin/sh
# Starts a MinIO for replays: over TLS with KMS auto-encryption, as the recorded store was; and, with --plain, beside it one over
# plain HTTP on the next port. Needs `minio` and `openssl`; MINIO names another binary. Ends with Ctrl-C, and removes its folder.
#   lab/replay-store.sh [--plain] [PORT]
set -eu

plain=
[ "${1:-}" = --plain ] && { plain=1; shift; }
port=${1:-22900}
minio=${MINIO:-minio}
folder=$(mktemp -d "${TMPDIR:-/tmp}/hopwire-replay-store.XXXXXX")
pids=
stop() {
    # shellcheck disable=SC2086 # several pids
    [ -z "$pids" ] || kill $pids 2>/dev/null || true
    wait 2>/dev/null || true
    rm -rf "$folder"
}
trap stop EXIT
trap 'exit 130' INT TERM

mkdir -p "$folder/certs" "$folder/data" "$folder/plain" "$folder/no-certs"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj "/CN=hopwire replay lab" \
    -addext "basicConstraints=critical,CA:TRUE" -keyout "$folder/ca.key" -out "$folder/ca.crt" 2>/dev/null
openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "/CN=localhost" \
    -keyout "$folder/certs/private.key" -out "$folder/leaf.csr" 2>/dev/null
printf 'subjectAltName=DNS:localhost,DNS:*.localhost,IP:127.0.0.1\n' >"$folder/san"
openssl x509 -req -in "$folder/leaf.csr" -CA "$folder/ca.crt" -CAkey "$folder/ca.key" -CAcreateserial -days 2 \
    -extfile "$folder/san" -out "$folder/certs/public.crt" 2>/dev/null

MINIO_ROOT_USER=${MINIO_ROOT_USER:-minioadmin}
MINIO_ROOT_PASSWORD=${MINIO_ROOT_PASSWORD:-minioadmin}
export MINIO_ROOT_USER MINIO_ROOT_PASSWORD MINIO_BROWSER=off MINIO_UPDATE=off
if [ -z "${NO_KMS:-}" ]; then
    key=$(openssl rand -base64 32)
    export MINIO_KMS_SECRET_KEY="${KMS_KEY:-lab-key}:$key" MINIO_KMS_AUTO_ENCRYPTION=on
fi
"$minio" server --quiet --certs-dir "$folder/certs" --address "127.0.0.1:$port" "$folder/data" >"$folder/store.log" 2>&1 &
pids=$!
if [ -n "$plain" ]; then
    "$minio" server --quiet --certs-dir "$folder/no-certs" --address "127.0.0.1:$((port + 1))" "$folder/plain" >"$folder/plain.log" 2>&1 &
    pids="$pids $!"
fi
for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    curl -fs --cacert "$folder/ca.crt" "https://localhost:$port/minio/health/live" >/dev/null 2>&1 && break
    sleep 0.5
done
echo "https://localhost:$port  CA: $folder/ca.crt"
[ -z "$plain" ] || echo "http://localhost:$((port + 1))"
wait
