#!/usr/bin/env bash
# Jobs that bundle a snapshot of two nodes, with pods that are killed, and keys that a RecorderConfig chooses.
. "$(dirname "$0")/lib.sh"
start pcjob 2

# The volume is on node1, as a disk of a cloud is on one node at a time. Pods of Jobs have little of a processor, so
# that there is time to kill them. Every snapshot is a large one.
node mkdir -p /var/lib/pcapsule-hub
cat >"$dir/volume.yaml" <<-'EOF'
	apiVersion: v1
	kind: PersistentVolume
	metadata: {name: hub}
	spec:
	  capacity: {storage: 1Gi}
	  accessModes: [ReadWriteOnce]
	  persistentVolumeReclaimPolicy: Retain
	  local: {path: /var/lib/pcapsule-hub}
	  nodeAffinity: {required: {nodeSelectorTerms: [{matchExpressions: [{key: kubernetes.io/hostname, operator: In, values: [node1]}]}]}}
EOF
k apply -f "$dir/volume.yaml" >/dev/null
cat >"$dir/values.yaml" <<-'EOF'
	image: {registry: e2e.local, tag: "1", pullPolicy: Never}
	recorder: {maxSize: 100Mi, tlsKeys: true, extraArgs: [--reserve=32Mi, --segment-time=5s]}
	hub:
	  storage: {size: 500Mi}
	  jobs: {threshold: "1", retries: 1, resources: {requests: {cpu: 10m}, limits: {cpu: 40m, memory: 512Mi}}}
EOF
install_chart "$dir/values.yaml"
people
start_pods

part=app.kubernetes.io/name=pcapsule-part
job_of() { echo "pcapsule-$(k -n pcapsule get snapshot "$1" -o jsonpath='{.metadata.uid}')"; }
job() { k -n pcapsule get job "$1" -o jsonpath="$2"; }
node_of() { k -n pcapsule get snapshot "$1" -o jsonpath="{range .status.nodes[?(@.name=='$2')]}$3{end}"; }
killed=none
# kill_part JOB INDEX: kills the program of the pod of an index, once there is another pod than the last time.
kill_part() {
	local n id
	for ((n = 0; n < 120; n++)); do
		id=$(k -n pcapsule get pod -l "batch.kubernetes.io/job-name=$1,batch.kubernetes.io/job-completion-index=$2" --field-selector status.phase=Running -o jsonpath='{.items[0].status.containerStatuses[0].containerID}' 2>/dev/null || true)
		[ -n "$id" ] && [ "$id" != "$killed" ] && break
		sleep 0.5
	done
	killed=$id
	kill_container "$id"
}

say "a snapshot that a Job bundles, with a pod that is killed"
snapshot incident '{last: 20s}'
name=$(job_of incident)
kill_part "$name" 1
ready incident
is "every node's part is there" True "$(complete incident)"
is "what the Job did" "Indexed 2 0,1" "$(job "$name" '{.spec.completionMode} {.spec.completions} {.status.completedIndexes}')"
is "pods that failed" 1 "$(job "$name" '{.status.failed}')"
is "states of the nodes" "Bundled Bundled" "$(k -n pcapsule get snapshot incident -o jsonpath='{.status.nodes[*].state}')"
fetch incident token -o "$dir/incident" || { trouble; exit 1; }
bundles=("$dir"/incident/*.pcapsule)
is "bundles" 2 "${#bundles[@]}"
is "bundles that are not whole" "" "$(for b in "${bundles[@]}"; do bin/pcapsule verify "$b" >/dev/null 2>&1 || echo "$b"; done)"
both_sides incident
is "packets lost" "" "$(rows "select source, packets from coverage where kind = 'hole' and reason = 'drop'")"
is "a pod's rights" "false true" "$(k -n pcapsule get pod -l "$part" -o jsonpath='{.items[0].spec.automountServiceAccountToken} {.items[0].spec.containers[0].securityContext.readOnlyRootFilesystem}')"

say "a hub that is killed while a Job bundles"
snapshot restarted '{last: 20s}'
name=$(job_of restarted)
for ((i = 0; i < 60; i++)); do [ -n "$(job "$name" '{.metadata.uid}' 2>/dev/null || true)" ] && break; sleep 0.5; done
uid=$(job "$name" '{.metadata.uid}')
kill_one pcapsule-hub node1
ready restarted
is "every node's part is there" True "$(complete restarted)"
is "the Job is the same, and none failed" "$uid " "$(job "$name" '{.metadata.uid} {.status.failed}')"

say "a part that fails each time"
snapshot broken '{last: 20s}'
name=$(job_of broken)
kill_part "$name" 1
kill_part "$name" 1
ready broken
is "every node's part is there" False "$(complete broken)"
is "states of the nodes" "Bundled Failed" "$(k -n pcapsule get snapshot broken -o jsonpath='{.status.nodes[*].state}')"
some "words about the reason" "$(node_of broken node2 '{.message}' | grep -c 'exit code 137')"
fetch broken token -o "$dir/broken" 2>"$dir/broken.log"
is "warnings about the node" 1 "$(grep -c 'coverage gap: node node2' "$dir/broken.log")"
bundles=("$dir"/broken/*.pcapsule)
is "coverage gaps of the node" 1 "$(rows "select count(*) from coverage where kind = 'hole' and reason = 'missing' and detail like 'node node2:%'")"
some "calls that the other node saw" "$(count "http && path == '/from-front'")"

say "a snapshot that is deleted while its Job runs"
snapshot deleted '{last: 20s}'
name=$(job_of deleted)
for ((i = 0; i < 60; i++)); do [ -n "$(job "$name" '{.metadata.uid}' 2>/dev/null || true)" ] && break; sleep 0.5; done
is "a deletion" 0 "$(k -n pcapsule delete snapshot deleted --timeout=90s >/dev/null; echo $?)"
is "what is left of its Job" "" "$(k -n pcapsule get jobs,pods -l "batch.kubernetes.io/job-name=$name" -o name; k -n pcapsule get job "$name" -o name 2>/dev/null)"

say "what the hub's account may run"
k -n pcapsule get configmap pcapsule-job -o jsonpath='{.data.job\.yaml}' | sed -e 's|^metadata: {|metadata: {name: try, namespace: pcapsule, |' -e 's|^spec:|spec:\n  completionMode: Indexed\n  completions: 1|' >"$dir/job.yaml"
try() { # SED-EXPRESSION: creates the changed Job as the hub's account, without effect
	sed -e "$1" "$dir/job.yaml" >"$dir/changed.yaml"
	k create --dry-run=server --as system:serviceaccount:pcapsule:pcapsule-hub -f "$dir/changed.yaml" 2>&1 | grep -o "created\|the hub's Jobs [a-z]* [a-z']*" | head -n 1
}
is "its own Job" created "$(try '')"
is "another image" "the hub's Jobs run the" "$(try 's|image: .*|image: evil|')"
is "a folder of the node" "the hub's Jobs have the" "$(try 's|persistentVolumeClaim: {.*}}|hostPath: {path: /}}|')"
is "the recorders' account" "the hub's Jobs have no" "$(try 's|automountServiceAccountToken: false|serviceAccountName: pcapsule-recorder|')"
is "the node's network" "the hub's Jobs share nothing" "$(try 's|enableServiceLinks: false|hostNetwork: true|')"
is "privileges" "the hub's Jobs have no" "$(try 's|allowPrivilegeEscalation: false|privileged: true|')"
is "a Secret" "the hub's Jobs read no" "$(try 's|value: /var/lib/pcapsule-hub|valueFrom: {secretKeyRef: {name: pcapsule-ca, key: x}}|')"

say "keys chosen by a RecorderConfig"
k apply -f scripts/e2e/secrets.yaml >/dev/null
k -n shop rollout status deploy/secret --timeout=90s >/dev/null
for d in ledger teller; do k -n billing rollout status "deploy/$d" --timeout=90s >/dev/null; done
sleep 8
snapshot closed '{last: 8s}'
ready closed
fetch closed token -o "$dir/closed" || { trouble; exit 1; }
bundles=("$dir"/closed/*.pcapsule)
some "handshakes before keys are chosen" "$(count "tls")"
is "calls over TLS that are readable then" 0 "$(count "http && path.startsWith('/secret-')")"
configure '{keys: {of: [namespace=shop]}}'
rolled_out Everywhere
sleep 12
snapshot opened '{last: 10s}'
ready opened
fetch opened token -o "$dir/opened" || { trouble; exit 1; }
bundles=("$dir"/opened/*.pcapsule)
some "calls over TLS that are readable now" "$(count "http && path == '/secret-shop' && src.namespace == 'shop' && status_code == 200")"
is "calls of a namespace that was not chosen" 0 "$(count "http && path == '/secret-billing'")"
some "its handshakes" "$(count "tls && src.namespace == 'billing'")"
is "recorders that restarted" "0 0" "$(k -n pcapsule get pod -l app.kubernetes.io/name=pcapsule-recorder -o jsonpath='{.items[*].status.containerStatuses[0].restartCount}')"
k -n pcapsule delete snapshots --all --timeout=90s >/dev/null
is "Jobs that are left" "" "$(k -n pcapsule get jobs -o name)"
finish
