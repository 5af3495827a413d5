# What the scenes of scripts/e2e.sh share: a cluster of its own, images, and checks that are counted.
# Needs root, the cluster's scripts and their builds (up.sh --build-only).
#   E2E_CLUSTER  folder with up.sh, in.sh and down.sh (default ../shared/cluster beside the project)
#   E2E_SECONDS  seconds of traffic (default 25)
#   E2E_KEEP=1   keep the cluster and the files
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
cluster=${E2E_CLUSTER:-$PWD/../shared/cluster}
[ "$(id -u)" = 0 ] || { echo "e2e: needs root" >&2; exit 1; }
[ -x "$cluster/up.sh" ] || { echo "e2e: needs a cluster: no up.sh in $cluster (E2E_CLUSTER)" >&2; exit 1; }
export PCAPSULE_E2E_DIR=${PCAPSULE_E2E_DIR:-/var/tmp/pcapsule-e2e}
[ -x "$PCAPSULE_E2E_DIR/bin/kubelet" ] || { echo "e2e: needs the cluster's programs: $cluster/up.sh --build-only" >&2; exit 1; }
seconds=${E2E_SECONDS:-25}
# Below the cluster's folder, which is visible to its nodes.
dir=$(mktemp -d "$PCAPSULE_E2E_DIR/record.XXXXXX")
ring=/var/lib/pcapsule/ring
failed=0
cleanup() {
	trap - EXIT INT TERM
	[ -n "${E2E_KEEP:-}" ] && { echo "left: cluster $PCAPSULE_E2E_NAME, $dir; end it with PCAPSULE_E2E_NAME=$PCAPSULE_E2E_NAME $cluster/down.sh"; return; }
	timeout 60 "$cluster/down.sh" || true
	rm -rf "$dir"
}
trap cleanup EXIT
trap 'exit 130' INT TERM
# k ARGS...: kubectl. An API server that is too busy to answer is asked again; so no file is read from stdin.
k() {
	local n code=0
	for n in 1 2 3 4 5; do
		code=0
		timeout 120 "$cluster/in.sh" kubectl "$@" 2>"$dir/kubectl.err" || code=$?
		[ "$code" != 0 ] && grep -q 'TLS handshake timeout\|Unable to connect to the server\|i/o timeout' "$dir/kubectl.err" || break
		sleep 2
	done
	cat "$dir/kubectl.err" >&2
	return "$code"
}
# h ARGS...: Helm, in the version of deploy/helm/go.mod.
h() { timeout 240 "$cluster/in.sh" "$dir/helm" "$@"; }
node() { timeout 120 "$cluster/in.sh" -n 1 "$@"; }
say() { printf '%4ds  %s\n' "$SECONDS" "$*"; }
is() { # WHAT WANT GOT
	if [ "$2" = "$3" ]; then say "ok    $1: $3"; else say "WRONG $1: $3, want $2"; failed=$((failed + 1)); fi
}
some() { # WHAT COUNT
	if [ "${2:-0}" -gt 0 ] 2>/dev/null; then say "ok    $1: $2"; else say "WRONG $1: ${2:-nothing}, want some"; failed=$((failed + 1)); fi
}

# start NAME NODES PROGRAM...: builds images of programs, as make images does, and starts a cluster. Reading keys
# and naming processes needs the kernel's process numbers, so nodes have no PID namespace.
start() {
	export PCAPSULE_E2E_NAME=$1$$ NODES=$2 PIDNS=0
	shift 2
	say "building"
	go run ./scripts/release images -o "$dir/images" -repository e2e.local -tag 1 "$@" 2>"$dir/images.log" || { cat "$dir/images.log" >&2; exit 1; }
	make -s build
	cp bin/pcapsule "$dir/"
	CGO_ENABLED=0 go build -C deploy/helm -ldflags '-s -w' -o "$dir/helm" helm.sh/helm/v4/cmd/helm
	say "starting a cluster"
	timeout 300 "$cluster/up.sh" --no-build >"$dir/up.log" 2>&1 || { tail -n 20 "$dir/up.log" >&2; exit 1; }
	timeout 120 "$cluster/load.sh" "$dir"/images/*.image.tar >"$dir/load.log" 2>&1 || { cat "$dir/load.log" >&2; exit 1; }
}

# A case is one bundle or several. A question that fails is not an empty answer.
count() { bin/pcapsule query "${bundles[@]}" "$1" --count 2>>"$dir/query.err" | tail -n 1 | tr -d ', ' || echo "the question failed"; }
rows() { bin/pcapsule sql "${bundles[@]}" "$1" --format csv 2>>"$dir/query.err" | tail -n +2 || echo "the question failed"; }
