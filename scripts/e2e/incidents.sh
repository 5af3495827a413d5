#!/usr/bin/env bash
# Recording pods from now on, and snapshots of what happens to them: a crash, a container without memory, a rollout
# that fails, a burst of errors.
. "$(dirname "$0")/lib.sh"
start pcinc 2
cat >"$dir/values.yaml" <<-'EOF'
	image: {registry: e2e.local, tag: "1", pullPolicy: Never}
	recorder: {maxSize: 100Mi, peers: pods, extraArgs: [--reserve=32Mi, --segment-time=5s]}
	hub: {nodeSelector: {kubernetes.io/hostname: node1}}
	mcp: {enabled: true}
EOF
install_chart "$dir/values.yaml"
people
start_pods

# pod NAME LIMITS ARGS: runs talk once, on node 2.
pod() {
	cat >"$dir/pod.yaml" <<-EOF
		apiVersion: v1
		kind: Pod
		metadata: {name: $1, namespace: shop, labels: {app: $1}}
		spec:
		  nodeName: node2
		  restartPolicy: Never
		  containers:
		  - {name: talk, image: "e2e.local/talk:1", imagePullPolicy: Never, resources: {limits: $2}, args: $3}
	EOF
	k apply -f "$dir/pod.yaml" >/dev/null
}
# field KIND NAME JSONPATH
field() { k -n pcapsule get "$1" "$2" -o jsonpath="$3"; }

say "a Capture, with a pod that starts while it records"
resource Capture early '{duration: 12s, select: {workloads: [shop/early]}}'
pod early '{}' '[once, "20", "http://web.shop/early"]'
is "its phase" Recording "$(for ((i = 0; i < 10; i++)); do p=$(field capture early '{.status.phase}'); [ -n "$p" ] && break; sleep 0.5; done; echo "$p")"
k -n pcapsule wait --for=condition=Ready capture/early --timeout=110s >/dev/null || { k -n pcapsule get capture early -o yaml; trouble; exit 1; }
k -n pcapsule get captures
fetch capture-early token -o "$dir/early" || { trouble; exit 1; }
bundles=("$dir"/early/*.pcapsule)
is "calls of a pod that lived a second" 20 "$(count "http && path == '/early' && src.pod == 'early' && dst.service == 'web' && status_code == 200")"
is "calls of other pods" 0 "$(count "http && path == '/from-front'")"
is "a Capture without pods" 1 "$(resource Capture none '{duration: 5s, select: {}}' 2>/dev/null; echo $?)"
k -n pcapsule delete capture early --timeout=60s >/dev/null
is "what is left of it" "" "$(k -n pcapsule get snapshots -o name)"

say "what happens to workloads"
resource LiveConfig default '{}'
resource SnapshotSchedule crashes '{incidents: [Crash, OOMKilled], before: 5s, after: 3s, patience: 20s}'
resource SnapshotSchedule rollouts '{incidents: [FailedRollout], before: 5s, after: 3s, patience: 20s}'
resource SnapshotSchedule bursts '{incidents: [ErrorBurst], errors: 50, before: 30s, after: 3s, patience: 20s}'
is "a schedule of unknown incidents" 1 "$(resource SnapshotSchedule wrong '{incidents: [Sadness]}' 2>/dev/null; echo $?)"
k -n pcapsule wait --for=condition=Following liveconfig/default --timeout=60s >/dev/null || { k -n pcapsule get liveconfig default -o yaml; failed=$((failed + 1)); }
sleep 3
pod doomed '{}' '[fail, "3"]'
pod eater '{memory: 24Mi}' '[eat]'
k -n shop patch deployment web --type merge -p '{"spec":{"progressDeadlineSeconds":8,"template":{"spec":{"containers":[{"name":"talk","image":"e2e.local/none:1","imagePullPolicy":"Never","args":["serve"]}]}}}}' >/dev/null
pod angry '{}' '[once, "120", "http://store.shop/broken/x"]'

# incident SCHEDULE WORKLOAD: waits for a snapshot of it, and prints its name.
incident() {
	local n name
	for ((n = 0; n < 100; n++)); do
		name=$(field snapshotschedule "$1" "{range .status.recent[?(@.workload=='$2')]}{.snapshot}{end}")
		[ -n "$name" ] && break
		sleep 1
	done
	echo "${name:-none}"
}
of() { # WHAT SCHEDULE WORKLOAD WORDS: the snapshot of an incident and its reason
	snapshot=$(incident "$2" "$3")
	some "$1" "$(field snapshotschedule "$2" "{range .status.recent[?(@.workload=='$3')]}{.reason}{end}" | grep -c -- "$4")"
	ready "$snapshot"
	is "every node's part is there" True "$(complete "$snapshot")"
}
of "a crash" crashes shop/Pod/doomed "exit code 3"
of "a container without memory" crashes shop/Pod/eater "out of memory"
of "a rollout that failed" rollouts shop/Deployment/web "deadline"
of "a burst of errors" bursts shop/Service/store "failed"
fetch "$snapshot" token -o "$dir/burst" || { trouble; exit 1; }
bundles=("$dir"/burst/*.pcapsule)
some "failed calls in its window" "$(count "http && path == '/broken/x' && status_code == 500 && src.pod == 'angry' && dst.workload == 'store'")"
is "snapshots, one for each" "1 1 2" "$(for s in bursts rollouts crashes; do field snapshotschedule $s '{.status.recent[*].snapshot}' | wc -w; done | tr '\n' ' ' | sed 's/ $//')"
k -n pcapsule delete snapshotschedules,snapshots --all --timeout=60s >/dev/null
finish
