#!/usr/bin/env bash
# Hub and recorders on a real cluster of two nodes: the chart, calls between the nodes, a Snapshot,
# its bundles as one case, a hub and a recorder that are killed, and a node whose power is cut.
. "$(dirname "$0")/lib.sh"
start pchub 2
go test -c -o "$dir/questions" ./mcp/questions
go run ./scripts/release images -o "$dir/next" -repository e2e.local -tag 2 pcapsule-recorder 2>"$dir/images.log" || { cat "$dir/images.log" >&2; exit 1; }
timeout 120 "$cluster/load.sh" "$dir"/next/*.image.tar >"$dir/load.log" 2>&1 || { cat "$dir/load.log" >&2; exit 1; }

# The chart, with values for the small disks of such nodes, and with the hub on the node that stays.
cat >"$dir/values.yaml" <<-'EOF'
	image: {registry: e2e.local, tag: "1", pullPolicy: Never}
	recorder: {maxSize: 100Mi, extraArgs: [--reserve=32Mi, --segment-time=5s]}
	hub: {nodeSelector: {kubernetes.io/hostname: node1}}
	mcp: {enabled: true}
	live: {rows: {enabled: true, maxSize: 32MiB}}
EOF
install_chart "$dir/values.yaml"
is "recorders with a certificate" 2 "$(for ((i = 0; i < 30; i++)); do
	n=$(k get csr -o jsonpath='{range .items[?(@.status.certificate)]}{.spec.signerName}{"\n"}{end}' | grep -c pcapsule.dev/recorder) && [ "$n" -ge 2 ] && break
	sleep 1
done; echo "$n")"

start_pods
people
k -n shop create serviceaccount stranger >/dev/null
k -n shop create token stranger >"$dir/stranger"

say "a snapshot of both nodes"
snapshot incident '{last: 20s}'
ready incident
k -n pcapsule get snapshots
is "every node's part is there" True "$(complete incident)"
is "bundles that the MCP server opens" 2 "$(for ((i = 0; i < 30; i++)); do
	k -n pcapsule logs deploy/pcapsule-hub -c mcp | grep '^opening' | grep -o '\.pcapsule' | wc -l | grep -v '^0' && break
	sleep 1
done)"
is "a stranger gets nothing" "1 no" "$(fetch incident stranger -o "$dir/no" >"$dir/stranger.log" 2>&1; echo "$? $([ -e "$dir/no" ] && echo yes || echo no)")"
grep -q 403 "$dir/stranger.log" || { say "WRONG answer to a stranger:"; cat "$dir/stranger.log"; failed=$((failed + 1)); }
fetch incident token -o "$dir/incident" || { trouble; exit 1; }
bundles=("$dir"/incident/*.pcapsule)
is "bundles" 2 "${#bundles[@]}"
say "a person with the right to one namespace"
k -n shop create serviceaccount observer >/dev/null
k -n shop create role traffic --verb=get --resource=snapshots.pcapsule.dev/content,liveconfigs.pcapsule.dev/content >/dev/null
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
is "snapshots that the plugin left" 0 "$(for ((i = 0; i < 20; i++)); do
	n=$(k -n pcapsule get snapshots -o name | grep -c record-) || break
	sleep 1
done; echo "$n")"
both_sides incident
is "packets lost" "" "$(rows "select source, packets from coverage where kind = 'hole' and reason = 'drop'")"

say "a configuration, which is applied without a restart"
recorders() { k -n pcapsule get pod -l app.kubernetes.io/name=pcapsule-recorder -o jsonpath='{range .items[*]}{.metadata.uid} {.status.containerStatuses[0].restartCount}{"\n"}{end}' | sort; }
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
h upgrade pcapsule deploy/chart -n pcapsule --reuse-values --set recorder.maxSize=90Mi --set recorder.image=e2e.local/pcapsule-recorder:2 >"$dir/upgrade.log" 2>&1 || { cat "$dir/upgrade.log"; failed=$((failed + 1)); }
k -n pcapsule rollout status ds/pcapsule-recorder --timeout=90s >/dev/null || trouble
is "recorders that the upgrade left as they were" 0 "$(recorders | cut -d ' ' -f 1 | grep -cFf <(cut -d ' ' -f 1 "$dir/before") || true)"
is "images that they have now" "e2e.local/pcapsule-recorder:2" "$(k -n pcapsule get pod -l app.kubernetes.io/name=pcapsule-recorder -o jsonpath='{range .items[*]}{.spec.containers[0].image}{"\n"}{end}' | sort -u)"
sleep 6
snapshot upgraded '{last: 60s}'
ready upgraded
is "every node's part is there" True "$(complete upgraded)"
fetch upgraded token -o "$dir/upgraded" || { trouble; exit 1; }
bundles=("$dir"/upgraded/*.pcapsule)
both_sides upgraded # one recorder ends when the next one records
is "packets lost by the upgrade" "" "$(rows "select source, reason, packets, detail from coverage where kind = 'hole' and reason in ('drop', 'restart') and packets > 0")"

say "the MCP server in the hub's pod"
"$cluster/in.sh" kubectl -n pcapsule port-forward deployment/pcapsule-hub 8898 >"$dir/forward.log" 2>&1 &
forward=$!
for ((i = 0; i < 30; i++)); do
	timeout 20 "$cluster/in.sh" curl -sS http://127.0.0.1:8898/mcp/snapshots >"$dir/mcp.json" 2>"$dir/mcp.err" && break
	sleep 1
done
some "bundles that it answers about" "$(grep -o '"dissections":\[' "$dir/mcp.json" | wc -l)"
say "the 48 questions, to it and on a machine without a network"
window=($(k -n pcapsule get snapshot incident -o jsonpath='{.status.from} {.status.to}'))
bundles=("$dir"/incident/*.pcapsule)
order=$(rows "select max(regexp_extract(path, '/orders/([0-9]+)', 1)) from calls where path like '/orders/%'")
middle=$(date -u -d "${window[0]} + 10 seconds" +%FT%TZ)
cat >"$dir/arguments.json" <<-EOF
	{"from": "$middle", "to": "${window[1]}", "against_from": "${window[0]}", "against_to": "$middle", "baseline_to": "$middle", "at": "$middle",
	"namespace": "shop", "service": "desk", "services": ["desk", "store"], "source": "shopper", "target": "store", "database": "store", "layer": "desk",
	"pod": "$(k -n shop get pods -l app=desk -o jsonpath='{.items[0].metadata.name}')", "label": "team", "value": "sales", "wrong_service": "front", "wrong_target": "web",
	"path": "/broken", "endpoint": "/orders/$order", "opposite": "/account/me", "status": 500, "order": "$order", "user": "$((order - 40000))", "request_id": "visit-$((order - 50000))-2",
	"retries": 3, "minutes": 2, "limit": 10, "threshold_ms": 100, "allowed_cidrs": ["10.0.0.0/8"], "allowed_domains": ["example.org"]}
EOF
asked() { # FOLDER COMMAND...: asks the server at port 8898, where the command runs programs
	mkdir "$dir/$1"
	PCAPSULE_QUESTIONS_URL=http://127.0.0.1:8898/mcp PCAPSULE_QUESTIONS_ARGUMENTS=$dir/arguments.json PCAPSULE_QUESTIONS_DUMP=$dir/$1 PCAPSULE_NIGHTLY=1 timeout 300 "${@:2}" >"$dir/$1.log" 2>&1 || { cat "$dir/$1.log"; failed=$((failed + 1)); }
}
asked hub "$cluster/in.sh" "$dir/questions" -test.run TestQuestions/remote
kill "$forward"
asked laptop unshare -n bash -c 'ip link set lo up
	"$1" serve --addr=127.0.0.1:8898 "${@:3}" 2>/dev/null &
	server=$!
	until curl -s -o /dev/null http://127.0.0.1:8898/mcp; do sleep 1; done
	code=0; "$2" -test.run TestQuestions/remote || code=$?
	kill "$server"; exit "$code"' laptop "$dir/pcapsule" "$dir/questions" "${bundles[@]}"
some "answers" "$(ls "$dir/hub" | wc -l)"
is "questions without an answer" "" "$(for ((i = 1; i <= 48; i++)); do compgen -G "$dir/hub/remote-$(printf %02d "$i")-*" >/dev/null || echo "$i"; done)"
is "answers that differ" "" "$(for f in "$dir"/hub/*; do diff <(tr , '\n' <"$f") <(tr , '\n' <"$dir/laptop/${f##*/}") >"$dir/differ" || { echo "${f##*/}:"; sed -n 1,6p "$dir/differ"; }; done)"
hubs=$(k -n pcapsule get pod -l app.kubernetes.io/name=pcapsule-hub -o jsonpath='{.items[0].status.podIP}')
is "whether the network reaches it" 7 "$(timeout 20 "$cluster/in.sh" curl -sS "http://$hubs:8898/mcp" >/dev/null 2>&1; echo $?)"

say "calls while they are recorded"
resource LiveConfig default '{}' || failed=$((failed + 1))
k -n pcapsule wait --for=condition=Following liveconfig/default --timeout=60s >/dev/null || { k -n pcapsule get liveconfig default -o yaml; failed=$((failed + 1)); }
is "nodes that are followed" 2/2 "$(k -n pcapsule get liveconfig default -o jsonpath='{.status.following}')"
live() { # TOKEN PATH ARGS...
	timeout 60 "$cluster/in.sh" curl -sS --cacert "$dir/ca.crt" --resolve "pcapsule-hub.pcapsule.svc:8443:$hub" -H "Authorization: Bearer $(cat "$dir/$1")" -G "https://pcapsule-hub.pcapsule.svc:8443$2" "${@:3}"
}
for ((i = 0; i < 20; i++)); do
	live token /mcp/calls -d db=live -d limit=1000 --data-urlencode "kfl=http && path == '/from-front' && src.pod.startsWith('front-') && dst.pod.startsWith('web-') && src.node == 'node1' && dst.node == 'node2'" >"$dir/live.json"
	[ "$(grep -o '"id"' "$dir/live.json" | wc -l)" -gt 0 ] && break
	sleep 1
done
some "calls of the last 30 seconds with both sides" "$(grep -o '"id"' "$dir/live.json" | wc -l)"
grep -q '"id"' "$dir/live.json" || head -c 2000 "$dir/live.json"
is "calls that are there twice" "" "$(live token /mcp/calls -d db=live -d limit=1000 --data-urlencode "kfl=http && path == '/from-front'" | grep -o 'from-front?n=[0-9]*' | sort | uniq -d | head -n 3)"
live token /metrics >/dev/null
sleep 5
some "pairs of workloads in the metrics" "$(live token /metrics | grep -c '^pcapsule_live_calls_total{.*front')"
timeout -s INT 20 "$cluster/in.sh" bash -c 'PATH=$1:$PATH exec kubectl pcapsule --account investigator tail --format ndjson "$2"' tail "$dir" "http && path == '/from-front'" >"$dir/tail.ndjson" 2>>"$dir/plugin.log" || true
some "calls of a tail by the plugin" "$(wc -l <"$dir/tail.ndjson")"
is "of these twice" "" "$(grep -o 'from-front?n=[0-9]*' "$dir/tail.ndjson" | sort | uniq -d | head -n 3)"
is "a stranger gets nothing live" 403 "$(live stranger /mcp/tail -o /dev/null -w '%{http_code}')"
for ((i = 0; i < 10; i++)); do
	live observer /mcp/calls -d db=live -d limit=1000 >"$dir/live.json" && grep -q '"id"' "$dir/live.json" && break
	sleep 2
done
some "calls within the namespace, for a person with that right" "$(grep -o '"id"' "$dir/live.json" | wc -l)"
grep -q '"id"' "$dir/live.json" || head -c 2000 "$dir/live.json"
is "names of other namespaces in them" "" "$(grep -oE 'kube-system|coredns|pcapsule-hub-' "$dir/live.json" | sort -u)"
is "without a token" 401 "$(timeout 20 "$cluster/in.sh" curl -sS --cacert "$dir/ca.crt" --resolve "pcapsule-hub.pcapsule.svc:8443:$hub" -o /dev/null -w '%{http_code}' https://pcapsule-hub.pcapsule.svc:8443/metrics)"
for which in "['*']" "[node2]"; do
	resource LiveConfig default "{rows: $which}" || failed=$((failed + 1))
	sleep 12 # until the hub has read it, and its status is new
	k -n pcapsule wait --for=condition=Following liveconfig/default --timeout=60s >/dev/null || { k -n pcapsule get liveconfig default -o yaml; failed=$((failed + 1)); }
	for ((i = 0; i < 20; i++)); do
		live token /mcp/calls -d db=live -d limit=1000 --data-urlencode "kfl=http && path == '/from-front' && src.pod.startsWith('front-') && dst.pod.startsWith('web-') && src.node == 'node1' && dst.node == 'node2'" >"$dir/live.json"
		grep -q '"id"' "$dir/live.json" && break
		sleep 1
	done
	some "calls with both sides, with rows of $which instead of packets" "$(grep -o '"id"' "$dir/live.json" | wc -l)"
	grep -q '"id"' "$dir/live.json" || head -c 2000 "$dir/live.json"
done
is "a wrong name of a node" 1 "$(resource LiveConfig default "{rows: ['../x']}" 2>/dev/null; echo $?)"
k -n pcapsule delete liveconfig default >/dev/null

say "a hub that is killed while it collects"
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
is "connections of the hub and the recorders" 0 "$(rows "select count(*) from connections where dst_port in (8443, 9465)")"
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
is "what is left of the cluster" "customresourcedefinition.apiextensions.k8s.io/captures.pcapsule.dev customresourcedefinition.apiextensions.k8s.io/liveconfigs.pcapsule.dev customresourcedefinition.apiextensions.k8s.io/recorderconfigs.pcapsule.dev customresourcedefinition.apiextensions.k8s.io/snapshots.pcapsule.dev customresourcedefinition.apiextensions.k8s.io/snapshotschedules.pcapsule.dev " "$(left clusterroles,clusterrolebindings,customresourcedefinitions)"
is "what is left of the namespace" "configmap/pcapsule-ca lease.coordination.k8s.io/pcapsule-hub secret/pcapsule-ca " "$(left -n pcapsule daemonsets,deployments,services,networkpolicies,configmaps,secrets,leases,roles,persistentvolumeclaims)"
finish
