# make demo   builds hopwire and runs the whole story on an embedded lab
# make test   formatting, lints, tests
# make image  a small docker image with nothing but hopwire in it, built on this machine

TARGET := $(or $(CARGO_TARGET_DIR),target)
HOPWIRE := $(TARGET)/release/hopwire

# Live capture links with libpcap. Where it is missing make installs it if it may, else builds without and says so.
CAN_LINK := printf 'int main(void){return 0;}' | $(CC) -x c - -lpcap -o /dev/null 2>/dev/null && echo yes
HAS_PCAP := $(shell $(CAN_LINK))
ifneq ($(HAS_PCAP),yes)
  ifeq ($(shell id -u),0)
    INSTALLED := $(shell command -v apt-get >/dev/null && (apt-get update -q && apt-get install -y -q --no-install-recommends libpcap-dev) >&2)
    HAS_PCAP := $(shell $(CAN_LINK))
  endif
endif
ifneq ($(HAS_PCAP),yes)
  $(warning libpcap-dev is missing: building without live capture (hopwire capture); all else works)
  FEATURES := --no-default-features --features cli
endif

.PHONY: demo test build image

build:
	cargo build --release --locked $(FEATURES)

# The whole story on an embedded lab: exit code 0 only when all came out as it must.
demo: build
	@rm -rf $(TARGET)/demo
	@$(HOPWIRE) demo -o $(TARGET)/demo

test:
	cargo fmt --check
	cargo clippy --all-targets --locked $(FEATURES) -- -D warnings
	cargo test --locked $(FEATURES)

# As lab/Dockerfile, without an image to build in.
image:
	lab/static.sh $(TARGET)/image/hopwire
	printf 'FROM scratch\nCOPY hopwire /hopwire\nENTRYPOINT ["/hopwire"]\nCMD ["--help"]\n' | docker build -t hopwire -f - $(TARGET)/image
