#!/bin/bash
# Builds the tests of single packages that need a kernel (build tag "kernel") and runs them on one, each in a network namespace of its own.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p build/kernel
rm -f build/kernel/*
CGO_ENABLED=0 go build -o build/inkernel ./integration/inkernel

job=build/kernel/run
{
    echo '#!/bin/bash'
    echo 'failed=0'
    while read -r directory; do
        binary=build/kernel/${directory//\//-}.test
        CGO_ENABLED=0 go test -c -tags kernel -o "$binary" "./$directory" >&2
        echo "scripts/kernel-test.sh $directory $binary || failed=1"
    done < <(git grep -lE '^//go:build .*\bkernel\b' -- '*_test.go' | xargs -rn1 dirname | sort -u)
    echo 'exit $failed'
} >"$job"
chmod +x "$job"
exec build/inkernel -run 30m "$job"
