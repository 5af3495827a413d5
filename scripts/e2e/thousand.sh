#!/usr/bin/env bash
# A cluster that says it has a thousand nodes, most of which are gone: a hub finds its recorders, collects what is
# there in the time of its patience, and states the others, in a status that the API accepts. How many nodes with
# recorders it serves is what go test ./hub/control -run ThousandNodes measures.
#   E2E_GONE  nodes that are gone (default 1000)
. "$(dirname "$0")/lib.sh"
start pcmany "$nodes"
gone=${E2E_GONE:-1000}
cat >"$dir/values.yaml" <<-'EOF'
	image: {registry: e2e.local, tag: "1", pullPolicy: Never}
	recorder: {maxSize: 50Mi, nodeSelector: {real: "yes"}, extraArgs: [--reserve=32Mi, --segment-time=5s]}
	hub: {nodeSelector: {kubernetes.io/hostname: node1}}
EOF
k label nodes --all real=yes >/dev/null
install_chart "$dir/values.yaml"
people
say "$gone more nodes"
for ((i = 0; i < gone; i++)); do printf -- '---\n{apiVersion: v1, kind: Node, metadata: {name: gone-%04d}}\n' "$i"; done >"$dir/nodes.yaml"
timeout 400 "$cluster/in.sh" kubectl create -f "$dir/nodes.yaml" >/dev/null
hub_pid=$(processes "$(k -n pcapsule get pod -l app.kubernetes.io/name=pcapsule-hub -o jsonpath='{.items[0].status.containerStatuses[0].containerID}')" | while read -r p; do [ "$(cat "/proc/$p/comm")" = pcapsule-hub ] && echo "$p"; done | head -n 1)
cpu() { awk '{print $14 + $15}' "/proc/$hub_pid/stat"; }
asked() { timeout 20 "$cluster/in.sh" kubectl get --raw /metrics | awk '/^apiserver_request_total/ {n += $2} END {printf "%d\n", n}'; }
before=$(cpu) requests=$(asked)
begun=$SECONDS
snapshot all '{last: 5s, patience: 20s}'
timeout 310 "$cluster/in.sh" kubectl -n pcapsule wait --for=condition=Ready snapshot/all --timeout=300s >/dev/null || { trouble; exit 1; }
took=$((SECONDS - begun))
say "ready after $took s; the hub used $((($(cpu) - before) * 10)) ms of CPU and has $(awk '/VmHWM/ {print int($2 / 1024)}' "/proc/$hub_pid/status") MiB at most; all programs asked the API $(($(asked) - requests)) times"
used=$((($(cpu) - before) * 10 / gone)) # most of it makes the bundle that states the gap
is "CPU of the hub for a node that is gone, $used ms, is at most 60" yes "$([ "$used" -le 60 ] && echo yes || echo no)"
is "what was collected" "$nodes/$((gone + nodes))" "$(k -n pcapsule get snapshot all -o jsonpath='{.status.collected}')"
is "every node's part is there" False "$(complete all)"
size=$(k -n pcapsule get snapshot all -o json | wc -c)
is "its size, $size bytes, is one that etcd stores" yes "$([ "$size" -lt 1000000 ] && echo yes || echo no)"
timeout 300 "$cluster/in.sh" curl -sS --cacert "$dir/ca.crt" --resolve "pcapsule-hub.pcapsule.svc:8443:$hub" -H "Authorization: Bearer $(cat "$dir/token")" https://pcapsule-hub.pcapsule.svc:8443/v1/snapshots/all >"$dir/all.json"
is "nodes that the hub says are missing" "$gone" "$(grep -o '{"node":"gone-[0-9]*","reason":"' "$dir/all.json" | wc -l)"
is "a deletion" 0 "$(k -n pcapsule delete snapshot all --timeout=60s >/dev/null; echo $?)"
finish
