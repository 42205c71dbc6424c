#!/bin/bash
# Runs every fuzz target of the repository for a time: fuzz.sh 5s
set -euo pipefail
duration=${1:-5s}
while read -r directory; do
    # shortening one input at length would leave a short run no time to look for others
    for target in $(grep -hoE '^func Fuzz[A-Za-z0-9_]+' "$directory"/*_test.go | sed 's/^func //' | sort -u); do
        echo "# $directory $target"
        out=$(go test -run '^$' -fuzz "^$target\$" -fuzztime "$duration" -fuzzminimizetime 20x "./$directory" 2>&1) || { echo "$out"; exit 1; }
        tail -n 1 <<<"$out"
    done
done < <(git grep -lE '^func Fuzz' -- '*_test.go' | xargs -rn1 dirname | sort -u)
