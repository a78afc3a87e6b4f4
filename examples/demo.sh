#!/bin/sh
# What `make demo` runs: recover a known bias, beside the two controls that make it
# believable. Everything lands in ./demo.
set -eu
rm -rf demo
mkdir demo
cd demo

say() { printf '\n\033[1m%s\033[0m\n' "$1"; }
run() { printf '$ %s\n' "$*"; "$@"; }

say "A subject whose easiest labelling is of order 1, over real sockets"
run penchant new kernel.toml
run penchant dry-run kernel.toml --journal demo.db --over-sockets --sessions 64

say "The same study goes on in process, to its full budget"
run penchant dry-run kernel.toml --journal demo.db

say "Control 1: the same search without any learner"
run penchant dry-run kernel.toml --journal demo.db --null

say "Control 2: a subject that cannot represent odd functions; its answer must differ"
run penchant new diagnostic.toml
sed -i 's/"relu" /"absolute" /' diagnostic.toml
run penchant dry-run diagnostic.toml --journal demo.db

say "Positive control: a bias is planted in subjects; does this study find it?"
run penchant certify kernel.toml --bias "order 2 harmonics" --subjects 1 --studies 2 --none 4

say "Report"
run penchant analyse demo.db
