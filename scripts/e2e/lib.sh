# What the scenes of scripts/e2e.sh share: a cluster of its own, images, and checks that are counted.
# Needs root, the cluster's scripts and their builds (up.sh --build-only).
#   E2E_CLUSTER  folder with up.sh, in.sh and down.sh (default ../shared/cluster beside the project)
#   E2E_SECONDS  seconds of traffic (default 25)
#   E2E_KEEP=1   keep the cluster and the files
#   E2E_NODES    nodes of the scenes that run on one or two (default 2)
#   E2E_BUILT    folder for images and Helm, which are built again only if they are not there (default: built for each scene)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
cluster=${E2E_CLUSTER:-$PWD/../shared/cluster}
[ "$(id -u)" = 0 ] || { echo "e2e: needs root" >&2; exit 1; }
[ -x "$cluster/up.sh" ] || { echo "e2e: needs a cluster: no up.sh in $cluster (E2E_CLUSTER)" >&2; exit 1; }
export PCAPSULE_E2E_DIR=${PCAPSULE_E2E_DIR:-/var/tmp/pcapsule-e2e}
[ -x "$PCAPSULE_E2E_DIR/bin/kubelet" ] || { echo "e2e: needs the cluster's programs: $cluster/up.sh --build-only" >&2; exit 1; }
seconds=${E2E_SECONDS:-25}
nodes=${E2E_NODES:-2}
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

# built FOLDER: images of all programs, as make images makes them, and Helm in the version of deploy/helm/go.mod.
built() {
	[ -x "$1/helm" ] && return
	go run ./scripts/release images -o "$1/images" -repository e2e.local -tag 1 pcapsule-recorder pcapsule-hub pcapsule scripts/e2e/talk 2>"$dir/images.log" || { cat "$dir/images.log" >&2; exit 1; }
	CGO_ENABLED=0 go build -C deploy/helm -ldflags '-s -w' -o "$1/helm" helm.sh/helm/v4/cmd/helm
}

# start NAME NODES: builds images and starts a cluster. Reading keys and naming processes needs the kernel's process
# numbers, so nodes have no PID namespace.
start() {
	export PCAPSULE_E2E_NAME=$1$$ NODES=$2 PIDNS=0
	local from=${E2E_BUILT:-$dir}
	say "building"
	built "$from"
	make -s build
	cp bin/pcapsule "$dir/"
	[ "$from" = "$dir" ] || cp "$from/helm" "$dir/"
	say "starting a cluster"
	timeout 300 "$cluster/up.sh" --no-build >"$dir/up.log" 2>&1 || { tail -n 20 "$dir/up.log" >&2; exit 1; }
	timeout 120 "$cluster/load.sh" "$from"/images/*.image.tar >"$dir/load.log" 2>&1 || { cat "$dir/load.log" >&2; exit 1; }
}

# A case is one bundle or several. A question that fails is not an empty answer.
count() { bin/pcapsule query "${bundles[@]}" "$1" --count 2>>"$dir/query.err" | tail -n 1 | tr -d ', ' || echo "the question failed"; }
rows() { bin/pcapsule sql "${bundles[@]}" "$1" --format csv 2>>"$dir/query.err" | tail -n +2 || echo "the question failed"; }

trouble() {
	k -n pcapsule get pods,jobs -o wide || true
	k -n pcapsule logs ds/pcapsule-recorder --all-pods --tail 30 || true
	k -n pcapsule logs deploy/pcapsule-hub --tail 60 || true
	k -n pcapsule get snapshots -o yaml || true
}
# install_chart VALUES: the chart, and waits until all of it runs.
install_chart() {
	say "installing"
	h install pcapsule deploy/chart -n pcapsule --create-namespace -f "$1" >"$dir/install.log" 2>&1 || { cat "$dir/install.log"; exit 1; }
	k -n pcapsule rollout status ds/pcapsule-recorder --timeout=90s >/dev/null || { trouble; k -n pcapsule describe pods; exit 1; }
	k -n pcapsule rollout status deploy/pcapsule-hub --timeout=90s >/dev/null || { trouble; k -n pcapsule describe pods; exit 1; }
}

# spread FILE: applies pods of node1 and node2, on a cluster of one node all on that.
spread() {
	cp "$1" "$dir/spread.yaml"
	[ "$NODES" != 1 ] || sed -i 's/node2/node1/' "$dir/spread.yaml"
	k apply -f "$dir/spread.yaml" >/dev/null
}
# start_pods: those of two-nodes.yaml, which talk for a while.
start_pods() {
	local d
	say "starting pods"
	spread scripts/e2e/two-nodes.yaml
	for d in web store front back; do k -n shop rollout status "deploy/$d" --timeout=90s >/dev/null; done
	sleep "$seconds"
	for d in front back; do
		k -n shop logs "deploy/$d" >"$dir/talked"
		grep -q '^200 OK' "$dir/talked" || { echo "e2e: $d does not talk:" >&2; tail -n 5 "$dir/talked" >&2; exit 1; }
	done
}

# resource KIND NAME SPEC: creates or changes one of the hub's resources.
resource() {
	echo "{apiVersion: pcapsule.dev/v1beta1, kind: $1, metadata: {name: $2, namespace: pcapsule}, spec: $3}" >"$dir/resource.yaml"
	k apply -f "$dir/resource.yaml" >/dev/null
}
# snapshot NAME SPEC: creates one. ready NAME waits until it is ready.
snapshot() { resource Snapshot "$@"; }
ready() { k -n pcapsule wait --for=condition=Ready "snapshot/$1" --timeout=110s >/dev/null || { trouble; exit 1; }; }
complete() { k -n pcapsule get snapshot "$1" -o jsonpath='{.status.conditions[?(@.type=="Complete")].status}'; }
# people: an account that may fetch, and what fetch needs.
people() {
	k -n pcapsule get configmap pcapsule-ca -o jsonpath='{.data.ca\.crt}' >"$dir/ca.crt"
	k -n pcapsule create serviceaccount investigator >/dev/null
	k -n pcapsule create rolebinding investigator --role=pcapsule-investigator --serviceaccount=pcapsule:investigator >/dev/null
	k -n pcapsule create token investigator >"$dir/token"
	hub=$(k -n pcapsule get service pcapsule-hub -o jsonpath='{.spec.clusterIP}')
}
fetch() { # SNAPSHOT TOKEN FLAGS...
	timeout 110 "$cluster/in.sh" "$dir/pcapsule" fetch "https://$hub:8443" "$1" --ca "$dir/ca.crt" --server-name pcapsule-hub.pcapsule.svc --token-file "$dir/$2" "${@:3}"
}
# complete_calls CLIENT FIRST LAST: what a client says that it did in a time range, against the bundles: each request has
# a number. Nothing was lost, so nothing may be missing.
complete_calls() {
	local least most
	rows "select regexp_extract(query_string, 'n=([0-9]+)', 1) from calls where path = '/from-$1' and status_code = 200 and ts_ns > $2 and ts_ns < $3" | sort -n >"$dir/seen"
	least=$(head -n 1 "$dir/seen") most=$(tail -n 1 "$dir/seen")
	k -n shop logs "deploy/$1" | sed -n 's/^200 OK .*?n=//p' | awk -v a="${least:-1}" -v b="${most:-0}" '$1 >= a && $1 <= b' | sort -n >"$dir/said"
	some "requests that $1 says it made, from number ${least:-?} to ${most:-?}" "$(wc -l <"$dir/said")"
	is "requests of $1 that are missing, or there twice" "" "$(diff "$dir/said" "$dir/seen" | grep '^[<>]' | tr '\n' ' ')"
}
# window SNAPSHOT: sets first and last, without the first and the last second: a call at the edge may be in one node's
# window only. The namespace is the hub's, or the second argument.
window() {
	local w
	w=($(k -n "${2:-pcapsule}" get snapshot "$1" -o jsonpath='{.status.from} {.status.to}'))
	first=$(($(date -d "${w[0]}" +%s%N) + 1000000000)) last=$(($(date -d "${w[1]}" +%s%N) - 1000000000))
}
# both_sides SNAPSHOT: every call of the clients was seen on both nodes, and none is missing.
both_sides() {
	local way client server from to calls all first last
	window "$1"
	for way in "front web node1 node2" "back store node2 node1"; do
		read -r client server from to <<<"$way"
		calls="http && path == '/from-$client' && status_code == 200 && ts_ns > $first && ts_ns < $last"
		all=$(count "$calls")
		some "calls from $client to $server" "$all"
		is "of these with pod, workload and node of both sides, service and process" "$all" "$(count "$calls && src.namespace == 'shop' && src.pod.startsWith('$client-') && src.workload == '$client' && src.node == '$from' && src.process == 'talk' && dst.namespace == 'shop' && dst.pod.startsWith('$server-') && dst.workload == '$server' && dst.service == '$server' && dst.node == '$to' && dst.process == 'talk'")"
		is "of these seen on both nodes" "$all" "$(rows "select count(*) from calls c join sightings s on s.of_bundle = c.bundle and s.of_call_no = c.call_no where c.path = '/from-$client' and c.status_code = 200 and c.ts_ns > $first and c.ts_ns < $last and s.bundle <> c.bundle")"
	done
	for client in front back; do complete_calls "$client" "$first" "$last"; done
}
# configure SPEC [NAME]: writes the RecorderConfig.
configure() { resource RecorderConfig "${2:-default}" "$1"; }
status() { k -n pcapsule get recorderconfig default -o jsonpath="$1"; }
rolled_out() { # REASON: waits until the condition has it, for this version
	local n
	for ((n = 0; n < 60; n++)); do
		[ "$(status '{.status.conditions[?(@.type=="Applied")].reason} {.status.observedGeneration}')" = "$1 $(status '{.metadata.generation}')" ] && break
		sleep 1
	done
	is "what became of it" "$1" "$(status '{.status.conditions[?(@.type=="Applied")].reason}')"
}
kill_one() { # POD-SELECTOR NODE
	kill_container "$(k -n pcapsule get pod -l "app.kubernetes.io/name=$1" --field-selector "spec.nodeName=$2" -o jsonpath='{.items[0].status.containerStatuses[0].containerID}')"
}
# processes ID: those of a container, found by its control group: names are cut, and other clusters have the same.
processes() { grep -ls -- "${1#containerd://}" /proc/[0-9]*/cgroup | cut -d / -f 3 || true; }
kill_container() { # ID
	local pids
	pids=$(processes "$1")
	if [ -n "$1" ] && [ -n "$pids" ]; then kill -9 $pids; return; fi
	say "WRONG: no process of container ${1:-?}"; failed=$((failed + 1))
}
# finish: says how many were wrong, and fails if some were.
finish() {
	if [ "$failed" != 0 ]; then
		trouble
		echo "--- questions"; sort -u "$dir/query.err" 2>/dev/null | head -n 20
		echo "e2e: $failed wrong" >&2
		exit 1
	fi
	say "all as it should be"
}
