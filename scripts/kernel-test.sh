#!/bin/bash
# Runs one test binary in its package's directory: kernel-test.sh DIRECTORY BINARY. Called by the job of kernel-tests.sh.
directory=$1 binary=$PWD/$2
# With a /run of its own: others write to the machine's, and what a run left that was killed is there.
out=$(cd "$directory" && unshare --net --mount sh -c 'mount -t tmpfs none /run && ip link set lo up && exec "$0" -test.v -test.timeout 15m' "$binary" 2>&1)
status=$?
skipped=$(grep -c -- '--- SKIP' <<<"$out")
passed=$(grep -c -- '^--- PASS' <<<"$out")
if [ "$skipped" != 0 ] && { [ "${CI:-}" = true ] || [ "${L2TPCTL_REQUIRE_INTEGRATION:-}" = 1 ]; }; then
    status=1
fi
if [ $status != 0 ]; then
    echo "$out"
    echo "FAIL  $directory (kernel): status $status, $skipped skipped"
    exit 1
fi
echo "ok    $directory (kernel): $passed tests, $skipped skipped"
