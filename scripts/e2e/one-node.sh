#!/usr/bin/env bash
# The recorder on a real cluster of one node: the manifest of deploy/kustomize, pods of
# three namespaces that talk, a snapshot while recording continues, and checks of its content.
. "$(dirname "$0")/lib.sh"
start pcrec 1

# The manifest without the hub, adapted to the small disk of such a node, with another image, two more capabilities
# for keys, and rules.
{ cat deploy/kustomize/base/namespace.yaml; echo ---; cat deploy/kustomize/base/recorder.yaml; } |
	sed -e 's|image: .*|image: e2e.local/pcapsule-recorder:1|' -e '/- --transfer=/d; /- --config=/d; s|--reserve=15%|--reserve=64Mi|' \
		-e 's|add: \[BPF, PERFMON, NET_ADMIN\]|add: [BPF, PERFMON, NET_ADMIN, SYS_ADMIN, SYS_PTRACE]|' \
		-e 's|- --max-size=20Gi|- --max-size=200Mi\n        - --segment-time=5s\n        - --keys=namespace=shop\n        - --never=namespace=payments\n        - --max-age=namespace=billing:1h|' >"$dir/recorder.yaml"
grep -q -- --never=namespace=payments "$dir/recorder.yaml" || { echo "e2e: the manifest is not as expected" >&2; exit 1; }

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

address=$(k -n pcapsule get pod -o jsonpath='{.items[0].status.podIP}')
page() { timeout 20 "$cluster/in.sh" curl -sS "http://$address:9464$1"; }
page /metrics >"$dir/metrics"
metric() { awk -v name="pcapsule_recorder_$1" '$1 == name {print $2}' "$dir/metrics"; }
is "counters balance" 1 "$(metric balanced)"
some "packets kept off the disk by the rule" "$(metric packets_forbidden_total)"
some "processes with verified keys" "$(metric 'tls_processes{reason="",state="verified"}')"

say "snapshot while recording continues"
node "$dir/pcapsule" snapshot "$ring" --last 5m --embed-keys -o "$dir/x.pcapsule" 2>"$dir/snapshot.err" || { cat "$dir/snapshot.err" >&2; exit 1; }
bundle=$dir/x.pcapsule
is "the ring holds what its seals say" 0 "$(node "$dir/pcapsule" ring verify "$ring" >"$dir/verify" 2>&1; echo $?)"
is "the bundle is whole" 0 "$(bin/pcapsule verify "$bundle" >"$dir/verify-bundle" 2>&1; echo $?)"
bundles=("$bundle")

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
is "the ended ring can be listed" 0 "$(node "$dir/pcapsule" ring ls "$ring" >"$dir/ls" 2>&1; echo $?)"
is "segments that did not end in order" 0 "$(grep -c -e '\.open' -e recovered "$dir/ls" || true)"
if [ "$failed" != 0 ]; then
	echo "--- recorder"; tail -n 20 "$dir/recorder.log"
	echo "--- snapshot"; cat "$dir/snapshot.err"
	echo "--- questions"; sort -u "$dir/query.err" 2>/dev/null | head -n 20
	echo "e2e: $failed wrong" >&2
	exit 1
fi
say "all as it should be"
