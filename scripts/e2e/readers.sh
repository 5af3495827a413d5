#!/usr/bin/env bash
# Reading evidence does not replace it: fetches of ten times the ring's size through the Service, and every other packet
# is still there; one fetch through a forwarded port.
. "$(dirname "$0")/lib.sh"
start pcrdr "$nodes"
ring=$((64 << 20))
cat >"$dir/values.yaml" <<-'EOF'
	image: {registry: e2e.local, tag: "1", pullPolicy: Never}
	recorder: {maxSize: 64Mi, extraArgs: [--reserve=32Mi, --segment-time=5s]}
	hub: {nodeSelector: {kubernetes.io/hostname: node1}}
EOF
install_chart "$dir/values.yaml"
people
start_pods
say "a snapshot with something to read"
k -n shop exec deploy/front -- /talk once 8 http://web.shop/big/1000000 >/dev/null
sleep 6
snapshot heavy '{last: 15s}'
ready heavy
# recorders: a metric of all of them, added up.
recorders() {
	local a
	for a in $(k -n pcapsule get pod -l app.kubernetes.io/name=pcapsule-recorder -o jsonpath='{.items[*].status.podIP}'); do
		timeout 20 "$cluster/in.sh" curl -sS "http://$a:9464/metrics"
	done | awk -v name="pcapsule_recorder_$1" 'index($1, name) == 1 {n += $2} END {printf "%d\n", n}'
}
begun=$(date +%s%N)
before=$(recorders packets_forbidden_total)
# read_all WHAT COMMAND...: reads until ten times the ring's size was sent.
read_all() {
	local sent=0 n=0
	say "reading $1"
	while [ "$sent" -lt $((10 * ring)) ]; do
		rm -rf "$dir/got"
		"${@:2}" -o "$dir/got" >/dev/null 2>"$dir/read.log" || { cat "$dir/read.log"; trouble; exit 1; }
		sent=$((sent + $(du -sb "$dir/got" | cut -f 1))) n=$((n + 1))
	done
	say "$n times, $((sent >> 20)) MiB"
}
# still NAME: what the pods said since the begin is in a snapshot, on both sides.
still() {
	sleep 6
	snapshot "$1" "{from: \"$(date -u -d "@$((begun / 1000000000))" +%FT%TZ)\", to: \"$(date -u +%FT%TZ)\"}"
	ready "$1"
	is "every node's part is there, from the begin on" True "$(complete "$1")"
	fetch "$1" token -o "$dir/$1" || { trouble; exit 1; }
	bundles=("$dir/$1"/*.pcapsule)
	window "$1"
	for client in front back; do complete_calls "$client" "$first" "$last"; done
	is "packets lost" "" "$(rows "select source, reason, packets from coverage where kind = 'hole' and reason in ('drop', 'retention') and packets > 0")"
	is "connections of the hub and the recorders" 0 "$(rows "select count(*) from connections where dst_port in (8443, 9465)")"
}
read_all "through the Service" fetch heavy token
still service
some "packets left out and counted" "$(($(recorders packets_forbidden_total) - before))"

# LIMIT: what the kubelet, the runtime and the API server exchange for a forwarded port is recorded, because they
# exchange everything else as well. The hub's end of it is not.
say "reading through a forwarded port"
ln -s pcapsule "$dir/kubectl-pcapsule"
begun=$(date +%s%N)
timeout 200 "$cluster/in.sh" bash -c 'PATH=$1:$PATH exec kubectl pcapsule --account investigator fetch heavy -o "$1/forwarded"' plugin "$dir" || { trouble; exit 1; }
sleep 6
snapshot port "{from: \"$(date -u -d "@$((begun / 1000000000))" +%FT%TZ)\", to: \"$(date -u +%FT%TZ)\"}"
ready port
fetch port token -o "$dir/port" || { trouble; exit 1; }
bundles=("$dir/port"/*.pcapsule)
is "connections of the hub and the recorders" 0 "$(rows "select count(*) from connections where dst_port in (8443, 9465)")"
say "sent $(($(du -sb "$dir/forwarded" | cut -f 1) >> 20)) MiB, recorded $(($(du -sb "$dir/port" | cut -f 1) >> 20)) MiB of everything; lost packets: $(rows "select coalesce(sum(packets), 0) from coverage where kind = 'hole' and reason = 'drop'")"
finish
