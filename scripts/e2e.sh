#!/usr/bin/env bash
# The recorder on a real cluster of one node: the manifest of docs/guide/recorder.md, pods of
# three namespaces that talk, a snapshot while recording continues, and checks of its content.
# Needs root, the cluster's scripts and their builds (up.sh --build-only).
#   E2E_CLUSTER  folder with up.sh, in.sh and down.sh (default ../shared/cluster beside the project)
#   E2E_SECONDS  seconds of traffic (default 25)
#   E2E_KEEP=1   keep the cluster and the files
set -euo pipefail
cd "$(dirname "$0")/.."
cluster=${E2E_CLUSTER:-$PWD/../shared/cluster}
[ "$(id -u)" = 0 ] || { echo "e2e: needs root" >&2; exit 1; }
[ -x "$cluster/up.sh" ] || { echo "e2e: needs a cluster: no up.sh in $cluster (E2E_CLUSTER)" >&2; exit 1; }
export PCAPSULE_E2E_DIR=${PCAPSULE_E2E_DIR:-/var/tmp/pcapsule-e2e}
# Reading keys needs the kernel's process numbers, so the node has no PID namespace.
export PCAPSULE_E2E_NAME=pcrec$$ NODES=1 PIDNS=0
[ -x "$PCAPSULE_E2E_DIR/bin/kubelet" ] || { echo "e2e: needs the cluster's programs: $cluster/up.sh --build-only" >&2; exit 1; }
seconds=${E2E_SECONDS:-25}
# Below the cluster's folder, which is visible to its nodes.
dir=$(mktemp -d "$PCAPSULE_E2E_DIR/record.XXXXXX")
ring=/var/lib/pcapsule/ring
cleanup() {
	trap - EXIT INT TERM
	[ -n "${E2E_KEEP:-}" ] && { echo "left: cluster $PCAPSULE_E2E_NAME, $dir; end it with PCAPSULE_E2E_NAME=$PCAPSULE_E2E_NAME $cluster/down.sh"; return; }
	timeout 60 "$cluster/down.sh" || true
	rm -rf "$dir"
}
trap cleanup EXIT
trap 'exit 130' INT TERM
k() { timeout 120 "$cluster/in.sh" kubectl "$@"; }
node() { timeout 120 "$cluster/in.sh" -n 1 "$@"; }
say() { printf '%4ds  %s\n' "$SECONDS" "$*"; }

say "building"
CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o "$dir" ./cmd/pcapsule-recorder ./scripts/e2e/talk
[ -x bin/pcapsule ] || make -s build
cp bin/pcapsule "$dir/"
for image in pcapsule-recorder talk; do
	"$PCAPSULE_E2E_DIR/bin/imgtar" -o "$dir/$image.tar" -tag "e2e.local/$image:1" -entrypoint "/$image" "$dir/$image=/$image"
done

say "starting a cluster"
timeout 180 "$cluster/up.sh" --no-build >"$dir/up.log" 2>&1 || { tail -n 20 "$dir/up.log" >&2; exit 1; }
timeout 120 "$cluster/load.sh" "$dir/pcapsule-recorder.tar" "$dir/talk.tar" >"$dir/load.log" 2>&1 || { cat "$dir/load.log" >&2; exit 1; }

# The guide's manifest, adapted to the small disk of such a node, with another image, two more capabilities for keys, and rules.
awk '/^```yaml$/ {n++; if (n == 1) {on = 1; next}} /^```$/ {on = 0} on' docs/guide/recorder.md |
	sed -e 's|image: registry.*|image: e2e.local/pcapsule-recorder:1\n        imagePullPolicy: Never|' \
		-e 's|add: \[BPF, PERFMON, NET_ADMIN\]|add: [BPF, PERFMON, NET_ADMIN, SYS_ADMIN, SYS_PTRACE]|' \
		-e 's|--max-size=20Gi\]|--max-size=200Mi, --reserve=64Mi, --segment-time=5s, --keys=namespace=shop, --never=namespace=payments, --max-age=namespace=billing:1h]|' >"$dir/recorder.yaml"
grep -q -- --never=namespace=payments "$dir/recorder.yaml" || { echo "e2e: the guide's manifest is not as expected" >&2; exit 1; }
say "starting the recorder"
k apply -f "$dir/recorder.yaml" >/dev/null
k -n pcapsule rollout status ds/pcapsule-recorder --timeout=90s >/dev/null || { k -n pcapsule describe pods; k -n pcapsule logs ds/pcapsule-recorder; exit 1; }
say "starting pods"
k apply -f scripts/e2e/pods.yaml >/dev/null
for pod in shop/front billing/ledger billing/teller payments/vault payments/payer; do
	k -n "${pod%/*}" wait --for=condition=Ready "pod/${pod#*/}" --timeout=90s >/dev/null
done
k -n shop rollout status deploy/web --timeout=90s >/dev/null
web=$(k -n shop get pod -l app=web -o jsonpath='{.items[0].metadata.name}')
sleep "$seconds"
for pod in shop/front billing/teller payments/payer; do
	k -n "${pod%/*}" logs "${pod#*/}" >"$dir/talked"
	grep -q '^200 OK' "$dir/talked" || { echo "e2e: $pod does not talk:" >&2; tail -n 5 "$dir/talked" >&2; exit 1; }
done
for ((i = 0; i < 30; i++)); do
	[ "$(k -n shop get pod doomed -o jsonpath='{.status.phase}')" = Failed ] && break
	sleep 1
done

failed=0
is() { # WHAT WANT GOT
	if [ "$2" = "$3" ]; then say "ok    $1: $3"; else say "WRONG $1: $3, want $2"; failed=$((failed + 1)); fi
}
some() { # WHAT COUNT
	if [ "${2:-0}" -gt 0 ]; then say "ok    $1: $2"; else say "WRONG $1: ${2:-nothing}, want some"; failed=$((failed + 1)); fi
}
address=$(k -n pcapsule get pod -o jsonpath='{.items[0].status.podIP}')
page() { timeout 20 "$cluster/in.sh" curl -sS "http://$address:9464$1"; }
page /metrics >"$dir/metrics"
metric() { awk -v name="pcapsule_recorder_$1" '$1 == name {print $2}' "$dir/metrics"; }
is "counters balance" 1 "$(metric balanced)"
some "packets kept off the disk by the rule" "$(metric packets_forbidden_total)"
some "processes with verified keys" "$(metric 'tls_processes{reason="",state="verified"}')"

say "snapshot while recording goes on"
node "$dir/pcapsule" snapshot "$ring" --last 5m --embed-keys -o "$dir/x.pcapsule" 2>"$dir/snapshot.err" || { cat "$dir/snapshot.err" >&2; exit 1; }
bundle=$dir/x.pcapsule
is "the ring holds what its seals say" 0 "$(node "$dir/pcapsule" ring verify "$ring" >"$dir/verify" 2>&1; echo $?)"
is "the bundle is whole" 0 "$(bin/pcapsule verify "$bundle" >"$dir/verify-bundle" 2>&1; echo $?)"
count() { bin/pcapsule query "$bundle" "$1" --count 2>>"$dir/query.err" | tail -n 1 | tr -d ', '; }
rows() { bin/pcapsule sql "$bundle" "$1" --format csv 2>>"$dir/query.err" | tail -n +2; }

some "calls in clear from pod to service, names, workload and process" \
	"$(count "http && path == '/clear-shop' && src.namespace == 'shop' && src.pod == 'front' && dst.pod == '$web' && dst.service == 'web' && dst.workload == 'web' && src.process == 'talk' && status_code == 200")"
some "calls of another namespace" "$(count "http && path == '/clear-billing' && src.pod == 'teller' && dst.pod == 'ledger' && dst.service == 'ledger'")"
some "calls opened with keys of the chosen namespace" "$(count "http && path == '/secret-shop' && src.pod == 'front'")"
is "calls opened of a namespace that was not chosen" 0 "$(count "http && path == '/secret-billing'")"
some "handshakes of that namespace" "$(count "tls && src.pod == 'teller'")"
is "calls of the forbidden namespace" 0 "$(count "http && path == '/forbidden'")"
is "ends in the forbidden namespace" 0 "$(rows "select count(*) from endpoints where namespace = 'payments'")"
is "labels of the client" "app=front version=v7" "$(rows "select distinct list_aggregate(list_transform(labels, x -> x.name || '=' || x.value), 'string_agg', ' ') from endpoints where pod = 'front'")"
some "the pod that ended with code 3" "$(rows "select count(*) from k8s_events where namespace = 'shop' and name = 'doomed' and contains(message, '3')")"
some "processes of the pod that ended" "$(rows "select count(*) from os_events where event = 'exit' and exit_code = 3")"
some "rows that say what was never recorded" "$(rows "select count(*) from coverage where reason = 'policy'")"
is "packets lost" "" "$(rows "select source, packets from coverage where kind = 'hole' and reason = 'drop'")"

node tar -C "$ring" -c . | tar -x -C "$(mkdir -p "$dir/ring" && echo "$dir/ring")"
# The command line of a pod that may be recorded contains the page's name, but no packet may.
is "segments with what was forbidden" 0 "$(find "$dir/ring" -name '*.pcapng' -exec grep -laF -e /forbidden -e node1/payments/ {} + | wc -l)"
is "files of the ring with a label that is not allowed" 0 "$(grep -rlF hunter2 "$dir/ring" | wc -l)"
some "segments of the namespace with a time of its own" "$(find "$dir/ring" -name 'sockets_1h-*.pcapng' | wc -l)"
is "its packets among the others" 0 "$(find "$dir/ring" -name 'sockets-*.pcapng' -exec grep -lF /clear-billing {} + | wc -l)"
is "key files that others may read" 0 "$(find "$dir/ring" -name '*.keys' -perm /077 | wc -l)"

say "ending the recorder"
k -n pcapsule logs ds/pcapsule-recorder >"$dir/recorder.log"
k -n pcapsule delete ds/pcapsule-recorder --wait=true --timeout=60s >/dev/null
is "the ring ends in order" 0 "$(node "$dir/pcapsule" ring ls "$ring" | grep -c -e '\.open' -e recovered || true)"
if [ "$failed" != 0 ]; then
	echo "--- recorder"; tail -n 20 "$dir/recorder.log"
	echo "--- snapshot"; cat "$dir/snapshot.err"
	echo "--- questions"; sort -u "$dir/query.err" 2>/dev/null | head -n 20
	echo "e2e: $failed wrong" >&2
	exit 1
fi
say "all as it should be"
