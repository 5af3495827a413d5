#!/usr/bin/env bash
# The programs on real clusters: each scene starts a cluster of its own. See scripts/e2e/lib.sh for
# what they need.
#   scripts/e2e.sh [SCENE...]   default: all
#   stranger tenants readers uninstall thousand   on E2E_NODES nodes, 2 by default
#   one-node two-nodes jobs incidents trouble     on one node or two
set -euo pipefail
cd "$(dirname "$0")"
for scene in ${@:-stranger tenants readers uninstall thousand one-node two-nodes jobs incidents trouble}; do
	echo "--- $scene"
	"e2e/$scene.sh"
done
