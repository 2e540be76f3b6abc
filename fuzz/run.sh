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

# What cargo-fuzz passes on a nightly compiler; all of it works on stable.
RUSTFLAGS="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing -Ccodegen-units=1" \
    cargo build --release --locked --quiet --target "$host" || exit 2

table=$(mktemp)
trap 'rm -f "$table"' EXIT
failed=0
for target in $targets; do
    mkdir -p "corpus/$target" "artifacts/$target"
    log=artifacts/$target/last.log
    # A list of words that mean something to a target, where it has one.
    words=
    [ -f "words/$target.dict" ] && words=-dict=words/$target.dict
    # shellcheck disable=SC2086
    "$binaries/$target" -max_total_time="$seconds" -rss_limit_mb=512 -timeout=10 -print_final_stats=1 \
        ${FUZZ_FLAGS:-} $words -artifact_prefix="artifacts/$target/" "corpus/$target" "seeds/$target" >"$log" 2>&1
    code=$?
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    rate=$(sed -n 's/^stat::average_exec_per_sec: *//p' "$log")
    memory=$(sed -n 's/^stat::peak_rss_mb: *//p' "$log")
    coverage=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -n 1)
    features=$(sed -n 's/.* ft: \([0-9]*\) .*/\1/p' "$log" | tail -n 1)
    result=ok
    if [ "$code" -ne 0 ]; then
        failed=1
        result=$(sed -n "s|.*Test unit written to ||p" "$log" | tail -n 1)
        result=${result:-"exit $code, see $log"}
    fi
    printf '%-12s %12s %9s %9s %9s %6s  %s\n' "$target" "${runs:-?}" "${rate:-?}" "${coverage:-?}" "${features:-?}" "${memory:-?}" "$result" >>"$table"
    tail -n 1 "$table"
done
echo
printf '%-12s %12s %9s %9s %9s %6s  %s\n' target executions per-s coverage features MiB result
cat "$table"
exit "$failed"
