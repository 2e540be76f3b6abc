#!/bin/bash
# Builds hopwire as one static file, which runs on any Linux of this processor and in an empty image. Needs Rust, a C compiler and
# libpcap-dev, as Debian has it (where libpcap.a stands alone, as on Alpine, it should do, too, and was not tried).
#
#   lab/static.sh OUT        OUT: where the program goes
set -euo pipefail

out=${1:?usage: lab/static.sh OUT}
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-target}
triple=$(rustc -vV | sed -n 's/^host: //p')
mkdir -p "$target/static" "$(dirname "$out")"

# Debian's libpcap.a can also capture the messages of D-Bus, and there is no static libdbus to link with: in a copy of it that part is
# replaced by one that captures nothing. Others have no such part, and stay as they are.
pcap=$(${CC:-cc} -print-file-name=libpcap.a)
[ -e "$pcap" ] || { echo "there is no libpcap.a: install libpcap-dev" >&2; exit 1; }
cp "$pcap" "$target/static/libpcap.a"
if ar t "$target/static/libpcap.a" | grep -qx pcap-dbus.o; then
    ${CC:-cc} -c -fPIC -o "$target/static/pcap-dbus.o" -x c - << 'C'
struct pcap *dbus_create(const char *device, char *errors, int *is_ours) { (void)device; (void)errors; *is_ours = 0; return 0; }
int dbus_findalldevs(void *devices, char *errors) { (void)devices; (void)errors; return 0; }
C
    ar r "$target/static/libpcap.a" "$target/static/pcap-dbus.o"
fi

# With the triple named, the flags are for the program alone and not for what runs while it is built.
RUSTFLAGS="-C target-feature=+crt-static" LIBPCAP_LIBDIR=$(realpath "$target/static") LIBPCAP_VER=1.9.1 \
    cargo build --locked --profile dist --bin hopwire --target "$triple" --target-dir "$target/static"
cp "$target/static/$triple/dist/hopwire" "$out"

if ldd "$out" 2> /dev/null | grep -q '=>'; then
    echo "not static:" >&2
    ldd "$out" >&2
    exit 1
fi
ls -l "$out"
