#!/bin/sh
# fuzz/run.sh [SECONDS_PER_TARGET] [TARGET…]   fuzzes each target in turn on stable Rust and prints what came of it
#
# Needs g++ (libFuzzer is built from source). What libFuzzer finds new is kept in corpus/, and what makes it fail in artifacts/;
# neither is committed. CARGO_TARGET_DIR is honoured. It exits with 1 if any target failed.
set -u
cd "$(dirname "$0")" || exit 2
seconds=${1:-60}
[ $# -gt 0 ] && shift
host=$(rustc -vV | sed -n 's/^host: //p')
all=$(sed -n 's|^path = "targets/\(.*\)\.rs"|\1|p' Cargo.toml)
targets=${*:-$all}
binaries=${CARGO_TARGET_DIR:-target}/$host/release

# FUZZ_BUILT=1 takes what was built before. What follows is what cargo-fuzz passes on a nightly compiler; all of it works on stable.
[ -n "${FUZZ_BUILT:-}" ] || RUSTFLAGS="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing -Ccodegen-units=1" \
    cargo build --release --locked --quiet --target "$host" || exit 2

# What other projects collected and is small enough to be changed quickly, where it is at hand beside this project.
others() {
    shared=../../shared
    case $1 in
    pcap | pcapng | whole) find -L "$shared/captures" "$shared/corpora" -type f -size -24k \
        \( -name '*.pcap' -o -name '*.pcapng' -o -name '*.trace' -o -name '*.ntar' -o -name '*.snoop' \) ;;
    http1) find -L "$shared/corpora/seeds-libhtp" "$shared/corpora/seeds-zeek-fuzz/src/fuzzers/corpora/http-corpus" -type f -size -24k ;;
    tls_records) find -L "$shared/corpora/seeds-zeek-fuzz/src/fuzzers/corpora/ssl-corpus" -type f -size -8k ;;
    keylog) find -L "$shared/corpora/tls-keys" -type f -size -24k ;;
    call | redact) find -L "$shared/corpora/seeds-sigv4" -type f -name '*req*' ;;
    client_log) find -L "$shared/captures" -type f -name '*.client.log' -size -48k ;;
    esac
}

# Sets `now` to the processor seconds of all programs started so far.
processor_seconds() {
    times >"$spent"
    now=$(tail -n 1 "$spent" | tr 'ms' '  ' | awk '{ printf "%d", $1 * 60 + $2 + $3 * 60 + $4 }')
}

spent=$(mktemp)
table=$(mktemp)
trap 'rm -f "$table" "$spent"' EXIT
failed=0
for target in $targets; do
    rm -rf "corpus/others/$target"
    mkdir -p "corpus/$target" "corpus/others/$target" "artifacts/$target"
    others "$target" 2>/dev/null | while read -r file; do
        ln -sf "$(realpath "$file")" "corpus/others/$target/$(echo "$file" | cksum | cut -d ' ' -f 1)"
    done
    log=artifacts/$target/last.log
    # A list of words that mean something to a target, where it has one.
    words=
    [ -f "words/$target.dict" ] && words=-dict=words/$target.dict
    processor_seconds
    before=$now
    # shellcheck disable=SC2086
    "$binaries/$target" -max_total_time="$seconds" -rss_limit_mb=512 -timeout=10 -print_final_stats=1 \
        ${FUZZ_FLAGS:-} $words -artifact_prefix="artifacts/$target/" "corpus/$target" "seeds/$target" "corpus/others/$target" >"$log" 2>&1
    code=$?
    processor_seconds
    processor=$((now - before))
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    memory=$(sed -n 's/^stat::peak_rss_mb: *//p' "$log")
    coverage=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -n 1)
    features=$(sed -n 's/.* ft: \([0-9]*\) .*/\1/p' "$log" | tail -n 1)
    result=ok
    if [ "$code" -ne 0 ]; then
        failed=1
        result=$(sed -n "s|.*Test unit written to ||p" "$log" | tail -n 1)
        result=${result:-"exit $code, see $log"}
    fi
    printf '%-12s %12s %7s %9s %9s %6s  %s\n' "$target" "${runs:-?}" "$processor" "${coverage:-?}" "${features:-?}" "${memory:-?}" "$result" >>"$table"
    tail -n 1 "$table"
done
echo
printf '%-12s %12s %7s %9s %9s %6s  %s\n' target executions cpu-s coverage features MiB result
cat "$table"
exit "$failed"
