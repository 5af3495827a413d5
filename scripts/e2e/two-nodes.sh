#!/usr/bin/env bash
# Hub and recorders on a real cluster of two nodes: the chart, calls between the nodes, a Snapshot,
# its bundles as one case, a hub and a recorder that are killed, and a node whose power is cut.
. "$(dirname "$0")/lib.sh"
start pchub 2 pcapsule-recorder pcapsule-hub pcapsule scripts/e2e/talk

# The chart, with values for the small disks of such nodes, and with the hub on the node that stays.
cat >"$dir/values.yaml" <<-'EOF'
	image: {registry: e2e.local, tag: "1", pullPolicy: Never}
	recorder: {maxSize: 100Mi, extraArgs: [--reserve=32Mi, --segment-time=5s]}
	hub: {nodeSelector: {kubernetes.io/hostname: node1}}
	mcp: {enabled: true}
EOF
say "installing"
h install pcapsule deploy/chart -n pcapsule --create-namespace -f "$dir/values.yaml" >"$dir/install.log" 2>&1 || { cat "$dir/install.log"; exit 1; }
trouble() {
	k -n pcapsule get pods -o wide || true
	k -n pcapsule logs ds/pcapsule-recorder --all-pods --tail 30 || true
	k -n pcapsule logs deploy/pcapsule-hub --tail 60 || true
	k -n pcapsule get snapshots -o yaml || true
}
k -n pcapsule rollout status ds/pcapsule-recorder --timeout=90s >/dev/null || { trouble; k -n pcapsule describe pods; exit 1; }
k -n pcapsule rollout status deploy/pcapsule-hub --timeout=90s >/dev/null || { trouble; k -n pcapsule describe pods; exit 1; }
is "recorders with a certificate" 2 "$(for ((i = 0; i < 30; i++)); do
	n=$(k get csr -o jsonpath='{range .items[?(@.status.certificate)]}{.spec.signerName}{"\n"}{end}' | grep -c pcapsule.dev/recorder) && [ "$n" -ge 2 ] && break
	sleep 1
done; echo "$n")"

say "starting pods"
k apply -f scripts/e2e/two-nodes.yaml >/dev/null
for d in web store front back; do k -n shop rollout status "deploy/$d" --timeout=90s >/dev/null; done
sleep "$seconds"
for d in front back; do
	k -n shop logs "deploy/$d" >"$dir/talked"
	grep -q '^200 OK' "$dir/talked" || { echo "e2e: $d does not talk:" >&2; tail -n 5 "$dir/talked" >&2; exit 1; }
done

# snapshot NAME SPEC: creates one, and waits until it is ready.
snapshot() {
	cat >"$dir/snapshot.yaml" <<-EOF
		apiVersion: pcapsule.dev/v1alpha1
		kind: Snapshot
		metadata: {name: $1, namespace: pcapsule}
		spec: $2
	EOF
	k apply -f "$dir/snapshot.yaml" >/dev/null
}
ready() { k -n pcapsule wait --for=condition=Ready "snapshot/$1" --timeout=110s >/dev/null || { trouble; exit 1; }; }
complete() { k -n pcapsule get snapshot "$1" -o jsonpath='{.status.conditions[?(@.type=="Complete")].status}'; }

k -n pcapsule get configmap pcapsule-ca -o jsonpath='{.data.ca\.crt}' >"$dir/ca.crt"
k -n pcapsule create serviceaccount investigator >/dev/null
k -n pcapsule create rolebinding investigator --role=pcapsule-investigator --serviceaccount=pcapsule:investigator >/dev/null
k -n shop create serviceaccount stranger >/dev/null
k -n pcapsule create token investigator >"$dir/token"
k -n shop create token stranger >"$dir/stranger"
hub=$(k -n pcapsule get service pcapsule-hub -o jsonpath='{.spec.clusterIP}')
fetch() { # SNAPSHOT TOKEN FLAGS...
	timeout 110 "$cluster/in.sh" "$dir/pcapsule" fetch "https://$hub:8443" "$1" --ca "$dir/ca.crt" --server-name pcapsule-hub.pcapsule.svc --token-file "$dir/$2" "${@:3}"
}

say "a snapshot of both nodes"
snapshot incident '{last: 20s}'
ready incident
k -n pcapsule get snapshots
is "every node's part is there" True "$(complete incident)"
is "a stranger gets nothing" "1 no" "$(fetch incident stranger -o "$dir/no" >"$dir/stranger.log" 2>&1; echo "$? $([ -e "$dir/no" ] && echo yes || echo no)")"
grep -q 403 "$dir/stranger.log" || { say "WRONG answer to a stranger:"; cat "$dir/stranger.log"; failed=$((failed + 1)); }
fetch incident token -o "$dir/incident" || { trouble; exit 1; }
bundles=("$dir"/incident/*.pcapsule)
is "bundles" 2 "${#bundles[@]}"
say "a person with the right to one namespace"
k -n shop create serviceaccount observer >/dev/null
k -n shop create role traffic --verb=get --resource=snapshots.pcapsule.dev/content >/dev/null
k -n shop create rolebinding traffic --role=traffic --serviceaccount=shop:observer >/dev/null
k -n shop create token observer >"$dir/observer"
inside=$(rows "select count(*) from calls where 'shop' in (src_namespace, dst_namespace) and coalesce(src_namespace, 'shop') = 'shop' and coalesce(dst_namespace, 'shop') = 'shop'")
some "names that were looked up, by everybody" "$(count dns)"
fetch incident observer -o "$dir/observed" 2>"$dir/observer.log" || { cat "$dir/observer.log"; trouble; failed=$((failed + 1)); }
is "warnings about the right" 1 "$(grep -c 'see 1 namespace: shop' "$dir/observer.log")"
bundles=("$dir"/observed/*.pcapsule)
is "bundles" 2 "${#bundles[@]}"
some "calls" "$(rows "select count(*) from calls")"
is "calls, of those within the namespace" "$inside" "$(rows "select count(*) from calls")"
is "other namespaces of calls, connections and endpoints" "" "$(rows "select distinct n from (select src_namespace n from calls union all select dst_namespace from calls union all select src_namespace from connections union all select dst_namespace from connections union all select namespace from endpoints union all select namespace from workloads) where n <> 'shop'")"
is "files with a name of another namespace" "" "$(grep -rlaE 'kube-system|coredns|pcapsule-hub-' "$dir/observed" | grep -v /custody/)"
bundles=("$dir"/incident/*.pcapsule)
ln -s pcapsule "$dir/kubectl-pcapsule"
plugin() { timeout 200 "$cluster/in.sh" bash -c 'PATH=$1:$PATH exec kubectl pcapsule --account investigator "${@:2}"' plugin "$dir" "$@" 2>>"$dir/plugin.log"; }
is "calls by the plugin" "$(count http)" "$(plugin query incident http -- --count | tail -n 1 | tr -d ', ')"
pod=$(k -n shop get pods -l app=web -o jsonpath='{.items[0].metadata.name}')
plugin record "shop/$pod" --for 5s -o "$dir/pod.pcapsule" || { cat "$dir/plugin.log"; failed=$((failed + 1)); }
some "calls of one pod, recorded by the plugin" "$(bin/pcapsule query "$dir/pod.pcapsule" http --count | tail -n 1 | tr -d ', ')"
is "calls of others in that" 0 "$(bin/pcapsule query "$dir/pod.pcapsule" "http && src.pod != '$pod' && dst.pod != '$pod'" --count | tail -n 1 | tr -d ', ')"
is "snapshots that the plugin left" 0 "$(k -n pcapsule get snapshots -o name | grep -c record-)"
# both_sides SNAPSHOT: every call of the clients was seen on both nodes, and none is missing.
both_sides() {
	local window way client server from to calls all first last least most
	# Without the first and the last second: a call at the edge may be in one node's window only.
	window=($(k -n pcapsule get snapshot "$1" -o jsonpath='{.status.from} {.status.to}'))
	first=$(($(date -d "${window[0]}" +%s%N) + 1000000000)) last=$(($(date -d "${window[1]}" +%s%N) - 1000000000))
	for way in "front web node1 node2" "back store node2 node1"; do
		read -r client server from to <<<"$way"
		calls="http && path == '/from-$client' && status_code == 200 && ts_ns > $first && ts_ns < $last"
		all=$(count "$calls")
		some "calls from $client to $server" "$all"
		is "of these with pod, workload and node of both sides, service and process" "$all" "$(count "$calls && src.namespace == 'shop' && src.pod.startsWith('$client-') && src.workload == '$client' && src.node == '$from' && src.process == 'talk' && dst.namespace == 'shop' && dst.pod.startsWith('$server-') && dst.workload == '$server' && dst.service == '$server' && dst.node == '$to' && dst.process == 'talk'")"
		is "of these seen on both nodes" "$all" "$(rows "select count(*) from calls c join sightings s on s.of_bundle = c.bundle and s.of_call_no = c.call_no where c.path = '/from-$client' and c.status_code = 200 and c.ts_ns > $first and c.ts_ns < $last and s.bundle <> c.bundle")"
	done
	# What the clients say that they did: each request has a number. Nothing was lost, so nothing may be missing.
	for client in front back; do
		rows "select regexp_extract(query_string, 'n=([0-9]+)', 1) from calls where path = '/from-$client' and status_code = 200 and ts_ns > $first and ts_ns < $last" | sort -n >"$dir/seen"
		least=$(head -n 1 "$dir/seen") most=$(tail -n 1 "$dir/seen")
		k -n shop logs "deploy/$client" | sed -n 's/^200 OK .*?n=//p' | awk -v a="${least:-1}" -v b="${most:-0}" '$1 >= a && $1 <= b' | sort -n >"$dir/said"
		some "requests that $client says it made, from number ${least:-?} to ${most:-?}" "$(wc -l <"$dir/said")"
		is "requests of $client that are missing, or there twice" "" "$(diff "$dir/said" "$dir/seen" | grep '^[<>]' | tr '\n' ' ')"
	done
}
both_sides incident
is "packets lost" "" "$(rows "select source, packets from coverage where kind = 'hole' and reason = 'drop'")"

say "a configuration, which is applied without a restart"
recorders() { k -n pcapsule get pod -l app.kubernetes.io/name=pcapsule-recorder -o jsonpath='{range .items[*]}{.metadata.uid} {.status.containerStatuses[0].restartCount}{"\n"}{end}' | sort; }
configure() { # SPEC [NAME]
	cat >"$dir/config.yaml" <<-EOF
		apiVersion: pcapsule.dev/v1alpha1
		kind: RecorderConfig
		metadata: {name: ${2:-default}, namespace: pcapsule}
		spec: $1
	EOF
	k apply -f "$dir/config.yaml" >/dev/null
}
status() { k -n pcapsule get recorderconfig default -o jsonpath="$1"; }
rolled_out() { # REASON: waits until the condition has it, for this version
	local n
	for ((n = 0; n < 60; n++)); do
		[ "$(status '{.status.conditions[?(@.type=="Applied")].reason} {.status.observedGeneration}')" = "$1 $(status '{.metadata.generation}')" ] && break
		sleep 1
	done
	is "what became of it" "$1" "$(status '{.status.conditions[?(@.type=="Applied")].reason}')"
}
recorders >"$dir/before"
some "names that were looked up before" "$(count "dns")"
begun=$(date +%s%N)
configure '{never: [{port: [53]}], retention: {maxAge: 1h}}'
rolled_out Everywhere
since=$(date +%s%N)
is "recorders that apply it" 2/2 "$(status '{.status.applied}')"
sleep 12
snapshot switched "{from: \"$(date -u -d "@$((begun / 1000000000 - 4))" +%FT%TZ)\", to: \"$(date -u +%FT%TZ)\"}"
ready switched
fetch switched token -o "$dir/switched" || { trouble; exit 1; }
bundles=("$dir"/switched/*.pcapsule)
both_sides switched # the change lost nothing
is "packets lost by the change" "" "$(rows "select source, reason, packets, detail from coverage where kind = 'hole' and reason in ('drop', 'restart') and packets > 0")"
is "names that were looked up since" 0 "$(count "dns && ts_ns > $since")"
is "nodes whose coverage states the rule" 2 "$(rows "select count(distinct bundle) from coverage where reason = 'policy' and detail like '%port=53%'")"
configure '{filter: "port ("}'
rolled_out Rejected
is "the version in force" "1 1" "$(status '{.status.nodes[*].generation}')"
some "reasons that name the filter" "$(status '{.status.nodes[*].message}' | grep -c filter)"
is "recorders that restarted" "" "$(recorders | diff - "$dir/before")"
is "a configuration with another name" 1 "$(configure '{}' other 2>/dev/null; echo $?)"
is "a rule without a condition" 1 "$(configure '{never: [{}]}' 2>/dev/null; echo $?)"

say "the chart"
refused() { # WHAT WORDS ARGS...: a command of Helm that must fail, with words in its answer
	local code=0
	h "${@:3}" >"$dir/refused.log" 2>&1 || code=$?
	is "$1" "yes yes" "$([ "$code" != 0 ] && echo yes || echo no) $(grep -qF -- "$2" "$dir/refused.log" && echo yes || { cat "$dir/refused.log" >&2; echo no; })"
}
refused "a wrong value" /mcp/port upgrade pcapsule deploy/chart -n pcapsule --reuse-values --set-string mcp.port=x
refused "a value with a wrong name" nodeselector upgrade pcapsule deploy/chart -n pcapsule --reuse-values --set hub.nodeselector.a=b
refused "a second hub" "cannot be imported" install another deploy/chart -n another --create-namespace -f "$dir/values.yaml"
recorders >"$dir/before"
h upgrade pcapsule deploy/chart -n pcapsule --reuse-values --set recorder.maxSize=90Mi >"$dir/upgrade.log" 2>&1 || { cat "$dir/upgrade.log"; failed=$((failed + 1)); }
k -n pcapsule rollout status ds/pcapsule-recorder --timeout=90s >/dev/null || trouble
is "recorders that the upgrade left as they were" 0 "$(recorders | cut -d ' ' -f 1 | grep -cFf <(cut -d ' ' -f 1 "$dir/before") || true)"
snapshot upgraded '{last: 30s}'
ready upgraded
is "every node's part is there" True "$(complete upgraded)"

say "the MCP server in the hub's pod"
"$cluster/in.sh" kubectl -n pcapsule port-forward deployment/pcapsule-hub 8898 >"$dir/forward.log" 2>&1 &
forward=$!
for ((i = 0; i < 30; i++)); do
	timeout 20 "$cluster/in.sh" curl -sS http://127.0.0.1:8898/mcp/snapshots >"$dir/mcp.json" 2>"$dir/mcp.err" && break
	sleep 1
done
kill "$forward"
some "bundles that it answers about" "$(grep -o '"dissections":\[' "$dir/mcp.json" | wc -l)"
hubs=$(k -n pcapsule get pod -l app.kubernetes.io/name=pcapsule-hub -o jsonpath='{.items[0].status.podIP}')
is "whether the network reaches it" 7 "$(timeout 20 "$cluster/in.sh" curl -sS "http://$hubs:8898/mcp" >/dev/null 2>&1; echo $?)"

say "a hub that is killed while it collects"
# All processes of the container, found by its control group: names are cut, and other clusters have the same.
kill_one() { # POD-SELECTOR NODE
	local id pids
	id=$(k -n pcapsule get pod -l "app.kubernetes.io/name=$1" --field-selector "spec.nodeName=$2" -o jsonpath='{.items[0].status.containerStatuses[0].containerID}')
	pids=$(grep -ls -- "${id#containerd://}" /proc/[0-9]*/cgroup | cut -d / -f 3 || true)
	if [ -n "$id" ] && [ -n "$pids" ]; then kill -9 $pids; return; fi
	say "WRONG: no process of $1 on $2"; failed=$((failed + 1))
}
snapshot killed '{last: 30s}'
kill_one pcapsule-hub node1
ready killed
is "every node's part is there" True "$(complete killed)"

say "a recorder that is killed"
kill_one pcapsule-recorder node2
sleep 3
k -n pcapsule rollout status ds/pcapsule-recorder --timeout=60s >/dev/null || trouble
snapshot restarted '{last: 30s}'
ready restarted
is "every node's part is there" True "$(complete restarted)"
fetch restarted token -o "$dir/restarted"
bundles=("$dir"/restarted/*.pcapsule)
is "connections of the hub's own transfers" 0 "$(rows "select count(*) from connections where dst_port = 9465")"
is "names that were looked up, although the configuration is broken and the recorder restarted" 0 "$(count "dns")"
some "rows that state the restart" "$(rows "select count(*) from coverage where kind = 'hole' and reason = 'restart'")"

say "a node whose power is cut"
timeout 60 "$cluster/node-ctl.sh" kill 2
snapshot gone '{last: 20s, patience: 5s}'
ready gone
is "every node's part is there" False "$(complete gone)"
fetch gone token -o "$dir/gone" 2>"$dir/gone.log"
is "warnings about the node" 1 "$(grep -c 'coverage gap: node node2' "$dir/gone.log")"
bundles=("$dir"/gone/*.pcapsule)
is "bundles" 2 "${#bundles[@]}"
is "coverage gaps of the node" 1 "$(rows "select count(*) from coverage where kind = 'hole' and reason in ('missing', 'not_scheduled') and detail like 'node node2:%'")"
some "calls that the other node saw" "$(count "http && path == '/from-front'")"

say "bad requests"
is "snapshot without a window" 1 "$(snapshot none '{}' 2>/dev/null; echo $?)"
is "snapshot with a path as a node" 1 "$(snapshot path '{last: 1m, nodes: ["../x"]}' 2>/dev/null; echo $?)"
snapshot future '{from: "2020-01-01T00:00:00Z", to: "2199-01-01T00:00:00Z"}'
for ((i = 0; i < 20; i++)); do [ "$(k -n pcapsule get snapshot future -o jsonpath='{.status.phase}')" = Failed ] && break; sleep 1; done
is "snapshot of the future" "False Invalid" "$(k -n pcapsule get snapshot future -o jsonpath='{.status.conditions[?(@.type=="Accepted")].status} {.status.conditions[?(@.type=="Accepted")].reason}')"
k -n pcapsule delete snapshots --all --timeout=60s >/dev/null
is "snapshots that are left" "" "$(k -n pcapsule get snapshots -o name)"

say "an uninstall, which leaves what it says"
h uninstall pcapsule -n pcapsule >"$dir/uninstall.log" 2>&1 || { cat "$dir/uninstall.log"; failed=$((failed + 1)); }
left() { k get "$@" -o name 2>/dev/null | grep pcapsule | sort | tr '\n' ' '; }
is "what is left of the cluster" "customresourcedefinition.apiextensions.k8s.io/recorderconfigs.pcapsule.dev customresourcedefinition.apiextensions.k8s.io/snapshots.pcapsule.dev " "$(left clusterroles,clusterrolebindings,customresourcedefinitions)"
is "what is left of the namespace" "configmap/pcapsule-ca lease.coordination.k8s.io/pcapsule-hub secret/pcapsule-ca " "$(left -n pcapsule daemonsets,deployments,services,networkpolicies,configmaps,secrets,leases,roles,persistentvolumeclaims)"
if [ "$failed" != 0 ]; then
	trouble
	echo "--- questions"; sort -u "$dir/query.err" 2>/dev/null | head -n 20
	echo "e2e: $failed wrong" >&2
	exit 1
fi
say "all as it should be"
