# The words that run everything, the same for people and CI.
.PHONY: build check test bench lan-up lan-down

build:
	cargo build --release

# Style, lints with warnings as errors, licences and bans of the dependencies.
check:
	cargo fmt --all --check
	cargo clippy --all-targets -- -D warnings
	tests/licences

# Installs the test peers with apt when they are missing, then runs every suite.
test:
	tests/run

# Each figure beside its goal, ours and the peer in one run.
bench:
	tests/bench/run

# A site of real cameras in network namespaces, to try things by hand.
lan-up:
	tests/lan/lan install
	tests/lan/lan up

lan-down:
	tests/lan/lan down
