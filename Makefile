# make demo   builds hopwire and shows what it says about a job that failed
# make test   formatting, lints, tests

CAPTURE := captures/spark33-http.pcapng
LOG := captures/spark33-http.client.log
TARGET := $(or $(CARGO_TARGET_DIR),target)
HOPWIRE := $(TARGET)/release/hopwire

.PHONY: demo test build

build:
	cargo build --release --locked

# Findings are what the demo is to show, so that exit 1 is its success; every other failure is one.
demo: build
	@echo "== $(CAPTURE): what the wire alone tells"
	@$(HOPWIRE) analyze $(CAPTURE) || test $$? -eq 1
	@echo
	@echo "== the same with the client's own log beside it"
	@$(HOPWIRE) analyze $(CAPTURE) --client-log $(LOG) || test $$? -eq 1

test:
	cargo fmt --check
	cargo clippy --all-targets --locked -- -D warnings
	cargo test --locked
