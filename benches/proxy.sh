#!/usr/bin/env bash
# Compares hopwire proxy (recording on) with nginx, haproxy and mitmdump as reverse proxies before the same nginx, in one run
# and interleaved: requests per second, CPU per request, MB/s of 64 MiB bodies, p99 of latency at half load, memory.
# usage: benches/proxy.sh [HOPWIRE] [ROUNDS]     needs nginx and wrk; haproxy and mitmdump where they are installed
# HOPWIRE_OPTIONS=--judge-at-end leaves judging out of the comparison, SECONDS_EACH (4) is the time of each load, TMPDIR the folder.
set -euo pipefail
hopwire=${1:-target/release/hopwire}
rounds=${2:-5}
seconds=${SECONDS_EACH:-4}
base=${PORT_BASE:-21500}
mitmdump=${MITMDUMP:-$(command -v mitmdump || true)}
work=$(mktemp -d)
chmod 711 "$work" # the workers of nginx have another user
pids=()
stop() {
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  wait 2>/dev/null || true
  rm -rf "$work"
}
trap stop EXIT

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -keyout "$work/key.pem" -out "$work/cert.pem" \
  -subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -addext basicConstraints=critical,CA:FALSE 2>/dev/null
chmod 600 "$work/key.pem"
cat "$work/cert.pem" "$work/key.pem" >"$work/both.pem"
mkdir "$work/www"
head -c 1024 /dev/urandom >"$work/www/1k"
head -c 67108864 /dev/urandom >"$work/www/64m"

origin=$base origin_tls=$((base + 1))
cat >"$work/origin.conf" <<CONF
daemon off; worker_processes 1; pid $work/origin.pid; error_log /dev/null;
events { worker_connections 4096; }
http { access_log off; keepalive_requests 1000000; sendfile on;
  server { listen 127.0.0.1:$origin; root $work/www; }
  server { listen 127.0.0.1:$origin_tls ssl; ssl_certificate $work/cert.pem; ssl_certificate_key $work/key.pem;
           ssl_protocols TLSv1.3; root $work/www; } }
CONF
cat >"$work/nginx.conf" <<CONF
daemon off; worker_processes auto; pid $work/nginx.pid; error_log /dev/null;
events { worker_connections 4096; }
http { access_log off; keepalive_requests 1000000; client_max_body_size 0; proxy_http_version 1.1; proxy_set_header Connection "";
  proxy_buffering on; proxy_max_temp_file_size 0; proxy_ssl_session_reuse on; proxy_ssl_protocols TLSv1.3;
  upstream plain { server 127.0.0.1:$origin; keepalive 256; }
  upstream tls { server 127.0.0.1:$origin_tls; keepalive 256; }
  server { listen 127.0.0.1:$((base + 10)) reuseport; location / { proxy_pass http://plain; } }
  server { listen 127.0.0.1:$((base + 11)) ssl reuseport; ssl_certificate $work/cert.pem; ssl_certificate_key $work/key.pem;
           location / { proxy_pass https://tls; } } }
CONF
cat >"$work/haproxy.cfg" <<CONF
global
  maxconn 4096
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  http-reuse always
frontend plain
  bind 127.0.0.1:$((base + 20))
  default_backend plain
frontend tls
  bind 127.0.0.1:$((base + 21)) ssl crt $work/both.pem
  default_backend tls
backend plain
  server one 127.0.0.1:$origin
backend tls
  server one 127.0.0.1:$origin_tls ssl verify none
CONF

nginx -c "$work/origin.conf" & pids+=($!)
nginx -c "$work/nginx.conf" & pids+=($!)
declare -A pid=([nginx]=$!)
names=(nginx hopwire)
# shellcheck disable=SC2086
"$hopwire" proxy --cert "$work/cert.pem" --key "$work/key.pem" --upstream-ca "$work/cert.pem" --fail-on never -o "$work/report.json" \
  --route "plain=http://127.0.0.1:$((base + 30))->http://127.0.0.1:$origin" \
  --route "tls=https://127.0.0.1:$((base + 31))->https://localhost:$origin_tls" \
  ${HOPWIRE_OPTIONS:-} -w "$work/bench.pcapng" -b filesize:500000 -b files:2 2>"$work/hopwire.err" & pids+=($!); pid[hopwire]=$!
if command -v haproxy >/dev/null; then
  haproxy -db -f "$work/haproxy.cfg" >/dev/null 2>&1 & pids+=($!); pid[haproxy]=$!
  names+=(haproxy)
fi
if [ -n "$mitmdump" ]; then
  for kind in plain tls; do
    case $kind in plain) at=40 to="http://127.0.0.1:$origin" ;; tls) at=41 to="https://localhost:$origin_tls" ;; esac
    "$mitmdump" -q --mode "reverse:$to@127.0.0.1:$((base + at))" --ssl-insecure --set stream_large_bodies=1m --set connection_strategy=lazy \
      --certs "$work/both.pem" --set confdir="$work/mitm" -w /dev/null >/dev/null 2>&1 & pids+=($!); pid[mitmdump$kind]=$!
  done
  names+=(mitmdump)
fi
sleep 3

# Processor time of a process and its children in clock ticks.
ticks() {
  local total=0 each
  for each in "$1" $(pgrep -P "$1" || true); do
    total=$((total + $(awk '{print $14 + $15}' "/proc/$each/stat" 2>/dev/null || echo 0)))
  done
  echo "$total"
}
memory() {
  local total=0 each
  for each in "$1" $(pgrep -P "$1" || true); do
    total=$((total + $(awk '/VmRSS/ {print $2}' "/proc/$each/status" 2>/dev/null || echo 0)))
  done
  echo "$total"
}
port_of() { # NAME KIND
  local at
  case $1 in nginx) at=10 ;; haproxy) at=20 ;; hopwire) at=30 ;; mitmdump) at=40 ;; esac
  [ "$2" = tls ] && at=$((at + 1))
  echo $((base + at))
}
pid_of() { case $1 in mitmdump) echo "${pid[mitmdump$2]}" ;; *) echo "${pid[$1]}" ;; esac; }
scheme_of() { [ "$1" = tls ] && echo https || echo http; }
hertz=$(getconf CLK_TCK)

printf 'name kind what value\n' >"$work/rows"
for round in $(seq "$rounds"); do
  for kind in plain tls; do
    for name in "${names[@]}"; do
      url="$(scheme_of $kind)://localhost:$(port_of "$name" $kind)"
      process=$(pid_of "$name" $kind)
      before=$(ticks "$process")
      wrk -t1 -c32 -d"${seconds}s" --latency "$url/1k" >"$work/wrk" 2>&1 || true
      after=$(ticks "$process")
      requests=$(awk '/requests in/ {print $1}' "$work/wrk")
      rate=$(awk '/Requests\/sec/ {print $2}' "$work/wrk")
      if [ "${requests:-0}" -eq 0 ]; then
        echo "$name $kind failed:" >&2
        cat "$work/wrk" >&2
        continue
      fi
      echo "$name $kind rps $rate" >>"$work/rows"
      echo "$name $kind us_per_request $(awk -v t=$((after - before)) -v h="$hertz" -v n="$requests" 'BEGIN {print t / h * 1e6 / n}')" >>"$work/rows"
      # One connection that waits for each response: half of the load and less.
      wrk -t1 -c1 -d1s --latency "$url/1k" >"$work/wrk" 2>&1 || true
      echo "$name $kind p99_us $(awk '/99%/ {v = $2; if (v ~ /ms/) {sub("ms", "", v); v *= 1000} else if (v ~ /us/) {sub("us", "", v)} else {sub("s", "", v); v *= 1e6} print v}' "$work/wrk")" >>"$work/rows"
      before=$(ticks "$process")
      wrk -t1 -c4 -d"${seconds}s" --timeout 30s "$url/64m" >"$work/wrk" 2>&1 || true
      after=$(ticks "$process")
      rate=$(awk '/Transfer\/sec/ {v = $2; if (v ~ /GB/) {sub("GB", "", v); v *= 1024} else {sub("MB", "", v)} print v}' "$work/wrk")
      requests=$(awk '/requests in/ {print $1}' "$work/wrk")
      echo "$name $kind mb_per_s $rate" >>"$work/rows"
      [ "${requests:-0}" -gt 0 ] && echo "$name $kind ms_per_64m $(awk -v t=$((after - before)) -v h="$hertz" -v n="$requests" 'BEGIN {print t / h * 1e3 / n}')" >>"$work/rows"
      echo "$name $kind rss_kb $(memory "$process")" >>"$work/rows"
    done
  done
  echo "round $round of $rounds" >&2
done

# The best of all rounds: the most for rates, the least for costs; memory at its most.
awk -v rounds="$rounds" 'NR > 1 {
    key = $2 " " $1; names[key] = 1; k = key SUBSEP $3
    up = ($3 == "rps" || $3 == "mb_per_s" || $3 == "rss_kb")
    if (!(k in best) || (up ? $4 > best[k] : $4 < best[k])) best[k] = $4
  }
  END {
    printf "%-6s %-9s %10s %8s %10s %12s %8s %9s   best of %d\n", "kind", "proxy", "requests/s", "us CPU", "p99 us", "64MiB MB/s", "ms CPU", "RSS MB", rounds
    split("plain tls", kinds); split("nginx haproxy mitmdump hopwire", order)
    for (i = 1; i <= 2; i++) for (j = 1; j <= 4; j++) {
      key = kinds[i] " " order[j]
      if (!(key in names)) continue
      printf "%-6s %-9s %10.0f %8.1f %10.0f %12.0f %8.1f %9.1f\n", kinds[i], order[j], best[key, "rps"], best[key, "us_per_request"], best[key, "p99_us"], best[key, "mb_per_s"], best[key, "ms_per_64m"], best[key, "rss_kb"] / 1024
    }
    for (i = 1; i <= 2; i++) for (j = 1; j <= 3; j++) {
      key = kinds[i] " " order[j]; own = kinds[i] " hopwire"
      if (!(key in names)) continue
      printf "%s: hopwire against %s: %.2f requests/s, %.2f CPU per request, %.2f p99, %.2f MB/s\n", kinds[i], order[j], best[own, "rps"] / best[key, "rps"], best[own, "us_per_request"] / best[key, "us_per_request"], best[own, "p99_us"] / best[key, "p99_us"], best[own, "mb_per_s"] / best[key, "mb_per_s"]
    }
  }' "$work/rows"
tail -n 3 "$work/hopwire.err" >&2
