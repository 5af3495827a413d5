#!/usr/bin/env bash
# The programs on real clusters: each scene starts a cluster of its own. See scripts/e2e/lib.sh for
# what they need.
#   scripts/e2e.sh [one-node|two-nodes|jobs|incidents|trouble]   one scene; default: all
set -euo pipefail
cd "$(dirname "$0")"
for scene in "${@:-one-node two-nodes jobs incidents trouble}"; do
	for s in $scene; do
		echo "--- $s"
		"e2e/$s.sh"
	done
done
