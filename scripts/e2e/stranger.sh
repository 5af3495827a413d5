#!/usr/bin/env bash
# Somebody who has docs/guide/cluster.md and nothing else: its commands as they stand there, from images to answers,
# and a change of values, an upgrade and a rollback.
. "$(dirname "$0")/lib.sh"
start pcstr "$nodes"
# block HEADING NUMBER: a block of code of the guide.
block() {
	awk -v heading="$1" -v n="$2" '/^#+ / {h = $0; sub(/^#+ /, "", h); i = 0} /^```/ {inside = !inside; i += inside; next} inside && h == heading && i == n' docs/guide/cluster.md
}
chart='dist/charts/pcapsule-*.tgz'
if [ -n "${E2E_BUILT:-}" ]; then # with images that are there
	ln -s "$PWD/deploy" "$dir/deploy"
	chart='deploy/chart --set image.registry=e2e.local --set-string image.tag=1'
else
	say "images, the chart and the archive"
	rm -rf dist
	block Install 1 | sed -n '/^make images/p' | bash -e >"$dir/make.log" 2>&1 || { tail -n 20 "$dir/make.log"; exit 1; }
	cp -r dist "$dir/"
	# There is no registry: the archive goes to each node, as for a cluster without a network.
	import=$(sed -n 's/.*(`\(ctr -n k8s.io images import\) FILE`).*/\1/p' docs/guide/cluster.md)
	for ((i = 1; i <= NODES; i++)); do
		timeout 200 "$cluster/in.sh" -n "$i" sh -c "$import --local '$dir'/dist/pcapsule_*.cluster.tar" >"$dir/import.log" 2>&1 || { cat "$dir/import.log"; exit 1; }
	done
fi
cat >"$dir/profile" <<-EOF
	cd "$dir"
	export PATH="$dir:\$PATH" HOME="$dir"
	trap 'kill \$(jobs -p) 2>/dev/null || true' EXIT
EOF
# words: runs commands as they stand, where kubectl and Helm reach the cluster.
words() {
	{ cat "$dir/profile"; cat; } >"$dir/words.sh"
	timeout 300 "$cluster/in.sh" bash -eo pipefail "$dir/words.sh" >"$dir/words.log" 2>&1 || { echo "e2e: the guide's commands fail:"; tail -n +4 "$dir/words.sh"; cat "$dir/words.log"; failed=$((failed + 1)); return 1; }
}
say "installing"
block Install 1 | sed -n "/^helm/s|dist/charts/pcapsule-\*.tgz|$chart|p" | words || exit 1
for o in ds/pcapsule-recorder deploy/pcapsule-hub; do k -n pcapsule rollout status "$o" --timeout=120s >/dev/null || { trouble; k -n pcapsule describe pods; exit 1; }; done
start_pods

say "a snapshot, and its answers"
block "A snapshot" 1 >"$dir/snapshot.yaml"
echo "kubectl apply -f snapshot.yaml; kubectl -n pcapsule wait --for=condition=Ready snapshot/incident --timeout=100s" | words || trouble
block "Fetching without the plugin" 1 | words || trouble
some "calls that its last command lists" "$(grep -c '500' "$dir/words.log")"
is "bundles" "$NODES" "$(ls -d "$dir"/incident/*.pcapsule | wc -l)"
block Countersignatures 1 | sed "s/worker-1/incident-node1/" | words || trouble
k -n pcapsule delete snapshot incident --timeout=60s >/dev/null
{ echo "export PCAPSULE_TOKEN=\$(kubectl -n pcapsule create token investigator)"; block "With kubectl" 1 | sed -e "s|/usr/local/bin|$dir|" -e 's/last 10m --workload shop.Deployment.checkout/last 30s --workload shop\/Deployment\/desk/' -e 's|shop/payment-7d4b9 --for 1m|shop/Deployment/front --for 5s|'; } | words || trouble

say "other values, an upgrade and a rollback"
for values in "--set mcp.enabled=true" "--set recorder.maxSize=90Mi"; do
	echo "helm upgrade pcapsule $chart -n pcapsule --reuse-values $values" | words || trouble
	for o in ds/pcapsule-recorder deploy/pcapsule-hub; do k -n pcapsule rollout status "$o" --timeout=120s >/dev/null || trouble; done
done
block "Calls while they are recorded" 1 | sed 's/worker-1, worker-2/node1/' >"$dir/live.yaml"
echo "kubectl apply -f live.yaml; kubectl -n pcapsule wait --for=condition=Following liveconfig/default --timeout=60s" | words || trouble
is "snapshots of an emptyDir, whose pod was replaced" Lost "$(k -n pcapsule get snapshot incident -o jsonpath='{.status.phase}')"
echo "helm rollback pcapsule 1 -n pcapsule" | words || trouble
for o in ds/pcapsule-recorder deploy/pcapsule-hub; do k -n pcapsule rollout status "$o" --timeout=120s >/dev/null || trouble; done
snapshot back '{last: 30s}'
ready back
is "every node's part is there, since before the rollback" True "$(complete back)"
finish
