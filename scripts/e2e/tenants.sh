#!/usr/bin/env bash
# A person with the role pcapsule-tenant in one namespace, who makes, fetches and asks for its traffic: nothing of
# another namespace is in any answer, and nothing of their own is missing.
. "$(dirname "$0")/lib.sh"
start pcten "$nodes"
cat >"$dir/values.yaml" <<-'EOF'
	image: {registry: e2e.local, tag: "1", pullPolicy: Never}
	recorder: {maxSize: 100Mi, extraArgs: [--reserve=32Mi, --segment-time=5s]}
	hub: {nodeSelector: {kubernetes.io/hostname: node1}}
	mcp: {enabled: true}
EOF
install_chart "$dir/values.yaml"
people
start_pods
spread scripts/e2e/tenants.yaml
for p in vault teller agent; do k -n payments wait --for=condition=Ready "pod/$p" --timeout=60s >/dev/null; done
k -n shop create serviceaccount ada >/dev/null
k -n shop create rolebinding pcapsule-tenant --clusterrole=pcapsule-tenant --serviceaccount=shop:ada >/dev/null
k -n shop create token ada >"$dir/ada"
cp "$PCAPSULE_E2E_DIR/run-$PCAPSULE_E2E_NAME/kubeconfig" "$dir/ada.conf"
t() { timeout 120 "$cluster/in.sh" kubectl --kubeconfig "$dir/ada.conf" "$@"; } # as ada
k --kubeconfig "$dir/ada.conf" config unset users >/dev/null
t config set-credentials ada --token="$(cat "$dir/ada")" >/dev/null
t config set-context --current --user=ada >/dev/null
ln -s pcapsule "$dir/kubectl-pcapsule"
plugin() { timeout 200 "$cluster/in.sh" bash -c 'PATH=$1:$PATH exec kubectl pcapsule --kubeconfig "$1/ada.conf" --hub "$2" "${@:3}"' plugin "$dir" "https://$hub:8443" "$@" 2>>"$dir/plugin.log"; }
resource LiveConfig default '{}'
for ((i = 0; i < 30; i++)); do
	for p in teller agent; do k -n payments logs "$p" | grep -c '^200 OK' >/dev/null || sleep 1; done
done
sleep 10

# clean WHAT FILE...: nothing of the other namespace is in files, other than in the log of who had them.
clean() { is "traces of the other namespace in $1" "" "$(grep -rlaE 'planted|payments|teller|vault' "${@:2}" | grep -v /custody/ | head -n 3)"; }
# own FOLDER FIRST LAST: all calls of the namespace are there.
own() {
	bundles=("$1"/*.pcapsule)
	for client in front back; do complete_calls "$client" "$2" "$3"; done
	some "calls of shop to the servers that the other namespace calls" "$(count "http && dst.service in ['web', 'store', 'desk'] && src.namespace == 'shop'")"
	is "calls with an end in another namespace" 0 "$(rows "select count(*) from calls where coalesce(src_namespace, 'shop') <> 'shop' or coalesce(dst_namespace, 'shop') <> 'shop'")"
	is "bundles that are not whole" "" "$(for b in "${bundles[@]}"; do bin/pcapsule verify "$b" >/dev/null 2>&1 || echo "$b"; done)"
}

say "a snapshot of their own"
echo '{apiVersion: pcapsule.dev/v1beta1, kind: Snapshot, metadata: {name: incident}, spec: {last: 20s}}' >"$dir/snapshot.yaml"
t -n shop create -f "$dir/snapshot.yaml" >/dev/null
t -n shop wait --for=condition=Ready snapshots.pcapsule.dev/incident --timeout=110s >/dev/null || { k -n shop get snapshots -o yaml; trouble; exit 1; }
is "every node's part is there" True "$(t -n shop get snapshot incident -o jsonpath='{.status.conditions[?(@.type=="Complete")].status}')"
is "its status has no counts" "" "$(t -n shop get snapshot incident -o jsonpath='{.status.packets}{.status.calls}{.status.bytes}{.status.nodes[*].packets}{.status.nodes[*].bytes}')"
window incident shop
fetch shop/incident ada -o "$dir/incident" || { trouble; exit 1; }
clean "bundles" "$dir/incident"
own "$dir/incident" "$first" "$last"
fetch shop/incident token -o "$dir/no" >"$dir/no.log" 2>&1 || true
some "refusals of the hub's investigator, who has no right there" "$(grep -c 403 "$dir/no.log")"

say "by the plugin, without a right in the hub's namespace"
plugin snapshot shop/second --last 15s -o "$dir/second" || { cat "$dir/plugin.log"; failed=$((failed + 1)); }
clean "bundles" "$dir/second"
is "calls of a question by the plugin" "$(bundles=("$dir"/second/*.pcapsule); count http)" "$(plugin query shop/second http -- --count | tail -n 1 | tr -d ', ')"

say "a snapshot in the hub's namespace, which has the traffic of all"
snapshot everything '{last: 20s}'
ready everything
fetch everything token -o "$dir/everything" || { trouble; exit 1; }
bundles=("$dir"/everything/*.pcapsule)
for path in inside near far port node; do some "planted calls, $path, for a person who may see all" "$(count "http && path == '/planted-$path'")"; done
fetch everything ada -o "$dir/part" 2>"$dir/part.log" || { cat "$dir/part.log"; trouble; failed=$((failed + 1)); }
clean "bundles" "$dir/part"
window everything
own "$dir/part" "$first" "$last"

say "calls while they are recorded, metrics, the map"
live() { # TOKEN PATH ARGS...
	timeout 60 "$cluster/in.sh" curl -sS --cacert "$dir/ca.crt" --resolve "pcapsule-hub.pcapsule.svc:8443:$hub" -H "Authorization: Bearer $(cat "$dir/$1")" -G "https://pcapsule-hub.pcapsule.svc:8443$2" "${@:3}"
}
mkdir "$dir/live"
for ((i = 0; i < 20; i++)); do
	live ada /mcp/calls -d db=live -d limit=1000 >"$dir/live/calls"
	grep -q /from-front "$dir/live/calls" && grep -q /from-back "$dir/live/calls" && break
	sleep 2
done
for path in from-front from-back; do some "calls $path" "$(grep -o "/$path\"" "$dir/live/calls" | wc -l)"; done
for ((i = 0; i < 20; i++)); do
	live token /mcp/calls -d db=live -d limit=1000 --data-urlencode "kfl=http && path.startsWith('/planted')" >"$dir/planted"
	grep -q /planted- "$dir/planted" && break
	sleep 2
done
some "planted calls for a person who may see all" "$(grep -o '/planted-' "$dir/planted" | wc -l)"
for path in databases snapshots dissections; do live ada "/mcp/$path" >"$dir/live/$path"; done
for path in flows flows/summary resolve/workloads resolve/ips spans; do live ada "/mcp/$path" -d db=live >"$dir/live/${path//\//-}"; done
some "workloads that are listed" "$(grep -o '"front-' "$dir/live/resolve-workloads" | wc -l)"
live ada /metrics >"$dir/live/metrics"
sleep 5
live ada /metrics >>"$dir/live/metrics"
live ada /mcp/tail --max-time 30 >"$dir/live/tail" 2>/dev/null || true
some "calls of a tail" "$(grep -c from- "$dir/live/tail")"
clean "live answers" "$dir/live"

say "questions about a snapshot, below the path of its page"
of() { live "$1" "/v1/namespaces/$2/snapshots/$3/$4" "${@:5}"; } # TOKEN NAMESPACE SNAPSHOT PATH ARGS...
mkdir "$dir/asked"
for s in shop/incident pcapsule/everything; do
	name=${s//\//-}
	of ada "${s%/*}" "${s#*/}" mcp/calls -d limit=1000 >"$dir/asked/$name"
	of ada "${s%/*}" "${s#*/}" mcp/resolve/workloads >"$dir/asked/$name-workloads"
	of ada "${s%/*}" "${s#*/}" mcp/flows -d limit=1000 >"$dir/asked/$name-flows"
	for path in from-front from-back; do some "calls $path of $s" "$(grep -o "/$path\"" "$dir/asked/$name" | wc -l)"; done
	some "the list has $s" "$(grep -c "\"/v1/namespaces/${s%/*}/snapshots/${s#*/}/\"" "$dir/live/snapshots")"
done
clean "answers about snapshots" "$dir/asked"
some "planted calls in the other snapshot, for a person who may see all" "$(of token pcapsule everything mcp/calls -d limit=1000 --data-urlencode "kfl=http && path.startsWith('/planted')" | grep -o '/planted-' | wc -l)"
is "what a person without a right there gets" 403 "$(of token shop incident mcp/calls -o /dev/null -w '%{http_code}')"
is "the page" 200 "$(of token shop incident '' -o /dev/null -w '%{http_code}')"

say "what else they can see, and what is refused"
mkdir "$dir/seen.d"
t -n shop get snapshots -o yaml >"$dir/seen.d/snapshots"
k -n shop get events -o yaml | grep -v '^ *uid' >"$dir/seen.d/events"
t -n shop describe snapshot incident >"$dir/seen.d/describe" 2>/dev/null
clean "resources and events of the namespace" "$dir/seen.d"
is "secrets in the hub's log" 0 "$(k -n pcapsule logs deploy/pcapsule-hub -c hub | grep -c planted-)"
some "lines of the access log about them" "$(k -n pcapsule logs deploy/pcapsule-hub -c hub | grep -c '"user":"system:serviceaccount:shop:ada"')"
is "snapshots of the hub's namespace" 1 "$(t -n pcapsule get snapshots >/dev/null 2>&1; echo $?)"
is "a snapshot in another namespace" 1 "$(t -n payments create -f "$dir/snapshot.yaml" >/dev/null 2>&1; echo $?)"
refused() { # NAME SPEC REASON
	echo "{apiVersion: pcapsule.dev/v1beta1, kind: Snapshot, metadata: {name: $1}, spec: $2}" >"$dir/snapshot.yaml"
	t -n shop create -f "$dir/snapshot.yaml" >/dev/null
	t -n shop wait --for=condition=Accepted=false "snapshots.pcapsule.dev/$1" --timeout=20s >/dev/null || true
	is "what the hub says of $1" "$3" "$(t -n shop get snapshot "$1" -o jsonpath='{.status.conditions[?(@.type=="Accepted")].reason}')"
}
refused nodes '{last: 1m, nodes: [node1]}' Invalid
refused held '{last: 1m, legalHold: ada}' Invalid
refused long '{last: 2h}' Invalid
echo '{apiVersion: pcapsule.dev/v1beta1, kind: Snapshot, metadata: {name: third}, spec: {last: 1s}}' >"$dir/snapshot.yaml"
t -n shop create -f "$dir/snapshot.yaml" >/dev/null
refused fourth '{last: 1s}' TooMany
is "a deletion" 0 "$(t -n shop delete snapshots --all --timeout=60s >/dev/null; echo $?)"
is "bundles that the hub still has" 1 "$(find /proc/$(processes "$(k -n pcapsule get pod -l app.kubernetes.io/name=pcapsule-hub -o jsonpath='{.items[0].status.containerStatuses[?(@.name=="hub")].containerID}')" | head -n 1)/root/var/lib/pcapsule-hub/snapshots -mindepth 1 -maxdepth 1 -type d | wc -l)"
finish
