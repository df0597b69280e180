# The words that run everything, the same for people and CI.
.PHONY: build check test fuzz bench cross deb test-arm vm-test ha-test lan-up lan-down

build:
	cargo build --release

# Style, lints with warnings as errors, licences and bans of the dependencies.
check:
	cargo fmt --all --check
	cargo clippy --all-targets -- -D warnings
	cargo clippy --no-default-features -- -D warnings
	tests/licences

# Installs the test peers with apt when they are missing, then runs every suite.
test:
	tests/run

# Every parser of foreign bytes under libFuzzer, T seconds each.
fuzz:
	tests/fuzz/run

# Each figure beside its goal, ours and the peer in one run.
bench:
	tests/bench/run

# The program for 64-bit and 32-bit ARM boards, in target/cross.
cross:
	cross/build

# Packages for amd64, arm64 and armhf, in target/deb.
deb:
	packaging/build

# The suites as the boards run them, under qemu-user.
test-arm:
	tests/arm/run

# The package on Debian machines that boot: systemd, its sandbox, limits, power cuts. VM_ARCH=amd64 for one of them.
vm-test:
	tests/vm/run

# A real Home Assistant, a real broker and three cameras; installs Home Assistant from PyPI the first time.
ha-test:
	tests/home-assistant

# A site of real cameras in network namespaces, to try things by hand.
lan-up:
	tests/lan/lan install
	tests/lan/lan up

lan-down:
	tests/lan/lan down
