#!/bin/bash
# Runs every fuzz target of the repository for a time, those that stand between strangers and the daemon for longer: fuzz.sh 5s 20s
set -euo pipefail
short=${1:-5s}
long=${2:-$short}
while read -r directory; do
    # shortening one input at length would leave a short run no time to look for others
    for target in $(grep -hoE '^func Fuzz[A-Za-z0-9_]+' "$directory"/*_test.go | sed 's/^func //' | sort -u); do
        duration=$short
        case $directory/$target in
        pkg/ikev1/Fuzz* | pkg/ikev1/wire/Fuzz* | */FuzzAuthenticate) duration=$long ;;
        esac
        echo "# $directory $target"
        if ! out=$(go test -run '^$' -fuzz "^$target\$" -fuzztime "$duration" -fuzzminimizetime 20x "./$directory" 2>&1); then
            # go test at times takes the end of the time for a failure; a real one has an input
            if ! grep -q 'context deadline exceeded' <<<"$out" || grep -q 'Failing input' <<<"$out"; then
                echo "$out"
                exit 1
            fi
        fi
        tail -n 1 <<<"$out"
    done
done < <(git grep -lE '^func Fuzz' -- '*_test.go' | xargs -rn1 dirname | sort -u)
