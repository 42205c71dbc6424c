#!/bin/bash
# Runs the benchmarks of single packages that need a kernel (build tag "kernel"), each in a network namespace of its own.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p build/kernel-bench
rm -f build/kernel-bench/*
CGO_ENABLED=0 go build -o build/inkernel ./integration/inkernel
while read -r directory pattern times; do
    binary=build/kernel-bench/${directory//\//-}.test
    CGO_ENABLED=0 go test -c -tags kernel -o "$binary" "./$directory"
    build/inkernel -run 20m "$(type -P unshare)" --net "$PWD/$binary" -test.run '^$' -test.bench "$pattern" -test.benchtime "$times" -test.timeout 20m
done <<'END'
internal/steering Table 60x
internal/concentrator Slots 1x
internal/concentrator Takeover 3x
END
