# The two commands are `make demo` and `make check`; each installs what is missing first.
.DEFAULT_GOAL := build
.PHONY: demo check check-long deps build bench fuzz clean

deps:
	@tests/deps.sh

build: deps
	@cmake --preset release >/dev/null
	@cmake --build build/release

demo: build
	@tests/demo.sh

check: deps
	@tests/check.sh

check-long: deps
	@tests/check.sh --long

bench: build
	@tests/bench/run.sh

fuzz: deps
	@tests/fuzz/run.sh $(or $(MINUTES),1)

clean:
	rm -rf build
