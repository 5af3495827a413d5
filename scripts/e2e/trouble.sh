#!/usr/bin/env bash
# What goes wrong in clusters: addresses that are used again, an API server that is away, a slow network that breaks,
# a full volume; and ways that packets take: through a proxy beside the client, and from the node's own network.
. "$(dirname "$0")/lib.sh"
start pctrb 2
cat >"$dir/values.yaml" <<-'EOF'
	image: {registry: e2e.local, tag: "1", pullPolicy: Never}
	recorder: {maxSize: 100Mi, extraArgs: [--reserve=32Mi, --segment-time=5s]}
	hub: {nodeSelector: {kubernetes.io/hostname: node1}}
EOF
install_chart "$dir/values.yaml"
people
start_pods
second() { timeout 120 "$cluster/in.sh" -n 2 "$@"; }
link() { ip netns exec "$PCAPSULE_E2E_NAME-n2" "$@"; }
# of SNAPSHOT: its bundles.
of() {
	fetch "$1" token -o "$dir/$1" || { trouble; exit 1; }
	bundles=("$dir/$1"/*.pcapsule)
}
# made POD: pages of a pod's log that were answered.
made() { k -n shop logs "$1" -c talk | grep -c '^200 OK'; }

say "two pods with one address, and two ways to a server"
begun=$(date -u +%FT%TZ)
cat >"$dir/pods.yaml" <<-EOF
	apiVersion: v1
	kind: Pod
	metadata: {name: first, namespace: shop}
	spec:
	  nodeName: node2
	  restartPolicy: Never
	  containers:
	  - {name: talk, image: "e2e.local/talk:1", imagePullPolicy: Never, args: [once, "15", "http://store.shop/reused"]}
	---
	apiVersion: v1
	kind: Pod
	metadata: {name: host, namespace: shop}
	spec:
	  nodeName: node1
	  hostNetwork: true
	  dnsPolicy: ClusterFirstWithHostNet
	  containers:
	  - {name: talk, image: "e2e.local/talk:1", imagePullPolicy: Never, args: [get, "http://web.shop/from-host"]}
	---
	apiVersion: v1
	kind: Pod
	metadata: {name: meshed, namespace: shop}
	spec:
	  nodeName: node1
	  terminationGracePeriodSeconds: 1
	  containers:
	  - {name: talk, image: "e2e.local/talk:1", imagePullPolicy: Never, args: [get, "http://web.shop/from-meshed"]}
	  - {name: proxy, image: "e2e.local/talk:1", imagePullPolicy: Never, args: [proxy], securityContext: {runAsUser: 1337}}
EOF
k apply -f "$dir/pods.yaml" >/dev/null
k -n shop wait --for=condition=Ready pod/meshed pod/host --timeout=60s >/dev/null
# As a mesh does it: what the pod sends to port 80 goes to the proxy, except what the proxy sends.
id=$(k -n shop get pod meshed -o jsonpath='{.status.containerStatuses[0].containerID}')
pid=$(processes "$id" | head -n 1)
nsenter --net="/proc/$pid/ns/net" nft -f - <<-'EOF'
	table ip mesh {
	  chain output { type nat hook output priority -100; meta skuid 1337 return; tcp dport 80 redirect to :15001; }
	}
EOF
redirected=$(date +%s%N)
k -n shop wait --for=jsonpath='{.status.phase}'=Succeeded pod/first --timeout=60s >/dev/null
address=$(k -n shop get pod first -o jsonpath='{.status.podIP}')
first=$(made first)
k -n shop delete pod first --timeout=60s >/dev/null
# The next pod of the node gets the address that comes after this one.
echo -n "${address%.*}.$((${address##*.} - 1))" | second sh -c 'cat >/run/cni-ipam/e2e/last_reserved_ip.0'
sed -n '/^---/q;p' "$dir/pods.yaml" | sed 's/name: first/name: next/' >"$dir/next.yaml"
k apply -f "$dir/next.yaml" >/dev/null
k -n shop wait --for=jsonpath='{.status.phase}'=Succeeded pod/next --timeout=60s >/dev/null
is "the address of the second" "$address" "$(k -n shop get pod next -o jsonpath='{.status.podIP}')"
sleep 8
snapshot ways "{from: \"$begun\", to: \"$(date -u +%FT%TZ)\"}"
ready ways
is "every node's part is there" True "$(complete ways)"
of ways
is "calls of the first pod with the address" "$first" "$(count "http && path == '/reused' && src.pod == 'first' && status_code == 200")"
is "calls of the second" "$(made next)" "$(count "http && path == '/reused' && src.pod == 'next' && status_code == 200")"
some "calls from the node's own network" "$(count "http && path == '/from-host' && src.node == 'node1' && src.process == 'talk' && dst.workload == 'web' && status_code == 200")"
# Both connections of a page through the proxy are calls: to the address that the client dialled, and by the proxy.
window=$(k -n pcapsule get snapshot ways -o jsonpath='{.status.to}')
rows "select regexp_extract(query_string, 'n=([0-9]+)', 1) as n, count(*), count(*) filter (status_code = 200) from calls where path = '/from-meshed' and ts_ns > $((redirected + 2000000000)) and ts_ns < $(($(date -d "$window" +%s%N) - 2000000000)) group by n" >"$dir/meshed"
some "pages through the proxy" "$(wc -l <"$dir/meshed")"
is "of these other than two answered calls" "" "$(grep -v ',2,2$' "$dir/meshed" | head -n 3)"

say "an API server that is away for 40 seconds"
api=$(pgrep -f "^[^ ]*kube-apiserver .*$PCAPSULE_E2E_NAME/")
kill -STOP "$api"
since=$(date +%s%N)
sleep 40
kill -CONT "$api"
k -n shop get pods >/dev/null
sleep 8
snapshot away "{from: \"$(date -u -d "@$((since / 1000000000))" +%FT%TZ)\", to: \"$(date -u +%FT%TZ)\"}"
ready away
is "every node's part is there" True "$(complete away)"
of away
both_sides away
is "packets lost" "" "$(rows "select source, reason, packets from coverage where kind = 'hole' and reason in ('drop', 'restart') and packets > 0")"

say "a slow network that breaks while a part is sent"
link tc qdisc add dev eth0 root tbf rate 600kbit burst 16kb latency 300ms
snapshot broken '{last: 60s}'
for ((i = 0; i < 40; i++)); do
	[ "$(k -n pcapsule get snapshot broken -o jsonpath='{.status.nodes[?(@.name=="node2")].state}')" = Receiving ] && break
	sleep 0.5
done
sleep 2
link nft 'add table inet cut; add chain inet cut drops { type filter hook prerouting priority -400; }; add rule inet cut drops iifname "eth0" drop'
sleep 12
is "its state meanwhile" Receiving "$(k -n pcapsule get snapshot broken -o jsonpath='{.status.nodes[?(@.name=="node2")].state}')"
link nft delete table inet cut
link tc qdisc del dev eth0 root
ready broken
is "every node's part is there" True "$(complete broken)"
of broken
is "bundles that are not whole" "" "$(for b in "${bundles[@]}"; do bin/pcapsule verify "$b" >/dev/null 2>&1 || echo "$b"; done)"

say "a full volume"
free=$(second df --output=avail -B 1 /var/lib/pcapsule | tail -n 1)
second fallocate -l $((free - 4000000)) /var/lib/filler
sleep 15
second df -h /var/lib/pcapsule | tail -n 1
second rm /var/lib/filler
sleep 12
snapshot full '{last: 60s}'
ready full
of full
some "rows that state what the disk refused or retention removed" "$(rows "select count(*) from coverage where kind = 'hole' and reason in ('disk', 'retention')")"
some "calls since there is space" "$(count "http && path == '/from-back' && src.node == 'node2' && ts_ns > $((($(date +%s) - 20) * 1000000000))")"
finish
