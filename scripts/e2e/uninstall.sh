#!/usr/bin/env bash
# Removing it, in any order, and installing it again: nothing hangs that the guide's command does not free, and what
# is left is what the guide says.
. "$(dirname "$0")/lib.sh"
start pcuni "$nodes"
cat >"$dir/values.yaml" <<-'EOF'
	image: {registry: e2e.local, tag: "1", pullPolicy: Never}
	recorder: {maxSize: 50Mi, extraArgs: [--reserve=32Mi, --segment-time=5s]}
	hub: {nodeSelector: {kubernetes.io/hostname: node1}}
EOF
# with_snapshots: one in the hub's namespace, one of a tenant.
with_snapshots() {
	install_chart "$dir/values.yaml"
	k create namespace shop --dry-run=client -o yaml >"$dir/shop.yaml"
	k apply -f "$dir/shop.yaml" >/dev/null
	snapshot incident '{last: 3s}'
	sed 's/name: incident, namespace: pcapsule/name: own, namespace: shop/' "$dir/resource.yaml" >"$dir/own.yaml"
	k apply -f "$dir/own.yaml" >/dev/null
	ready incident
	# No pod runs there, so nothing is collected; but the hub has to release it.
	k -n shop wait --for=condition=Accepted=false snapshot/own --timeout=60s >/dev/null || { k -n shop get snapshot own -o yaml; trouble; exit 1; }
}
guide() { sed -n '/^kubectl get snapshots.pcapsule.dev/,/^```/p' docs/guide/cluster.md | sed '/^```/d' >"$dir/release.sh"; timeout 100 "$cluster/in.sh" bash -e "$dir/release.sh" >"$dir/release.log" 2>&1 || { cat "$dir/release.log"; failed=$((failed + 1)); }; }
left() { k get "$@" -o name 2>/dev/null | grep pcapsule | sort | tr '\n' ' '; }
is_gone() { # WHAT NAMESPACE
	k wait --for=delete "namespace/$2" --timeout=60s >/dev/null 2>&1 || true
	is "$1: what is left of namespace $2" "" "$(k get namespace "$2" -o name 2>/dev/null)"
}

say "as the guide says: snapshots first"
with_snapshots
is "deleting all snapshots" 0 "$(k delete snapshots.pcapsule.dev -A --all --timeout=60s >/dev/null; echo $?)"
is "bundles on the hub's disk" "" "$(find "/proc/$(processes "$(k -n pcapsule get pod -l app.kubernetes.io/name=pcapsule-hub -o jsonpath='{.items[0].status.containerStatuses[0].containerID}')" | head -n 1)/root/var/lib/pcapsule-hub/snapshots" -mindepth 1 2>/dev/null | head -n 3)"
h uninstall pcapsule -n pcapsule >/dev/null
is "what is left of the namespace" "configmap/pcapsule-ca lease.coordination.k8s.io/pcapsule-hub secret/pcapsule-ca " "$(left -n pcapsule daemonsets,deployments,services,networkpolicies,configmaps,secrets,leases,roles,rolebindings,serviceaccounts,jobs,persistentvolumeclaims)"
is "what is left of the cluster" "" "$(left clusterroles,clusterrolebindings,validatingadmissionpolicies,validatingadmissionpolicybindings)"
is "what is left on a node" "/sys/fs/bpf/pcapsule /var/lib/pcapsule" "$(node sh -c 'ls -d /var/lib/pcapsule /sys/fs/bpf/pcapsule 2>/dev/null' | sort | tr '\n' ' ' | sed 's/ $//')"
k delete namespace pcapsule --timeout=60s >/dev/null
is_gone "the guide's order" pcapsule

say "the chart first, with snapshots"
with_snapshots
h uninstall pcapsule -n pcapsule >/dev/null
k -n pcapsule wait --for=delete pod --all --timeout=60s >/dev/null
k delete namespace pcapsule shop --wait=false >/dev/null
guide
is_gone "the chart first" pcapsule
is_gone "the chart first" shop

say "the namespace first, while the hub runs"
with_snapshots
k delete namespace pcapsule --wait=false >/dev/null
sleep 10
guide
is_gone "the namespace first" pcapsule
k delete namespace shop --timeout=60s >/dev/null
is_gone "the namespace first" shop
# Helm's record of the release went with the namespace; what it made for the whole cluster is still there.
k delete clusterroles,clusterrolebindings pcapsule-hub pcapsule-recorder >/dev/null
k delete clusterrole pcapsule-tenant >/dev/null

say "the resource definitions first"
with_snapshots
is "deleting them" 0 "$(k delete crd -l '!x' --field-selector metadata.name=snapshots.pcapsule.dev --timeout=60s >/dev/null; echo $?)"
k -n pcapsule rollout status deploy/pcapsule-hub --timeout=60s >/dev/null || trouble
is "hubs that restarted" 0 "$(k -n pcapsule get pod -l app.kubernetes.io/name=pcapsule-hub -o jsonpath='{.items[0].status.containerStatuses[0].restartCount}')"
h upgrade pcapsule deploy/chart -n pcapsule -f "$dir/values.yaml" >"$dir/upgrade.log" 2>&1 || { cat "$dir/upgrade.log"; failed=$((failed + 1)); }
k -n pcapsule rollout status deploy/pcapsule-hub --timeout=60s >/dev/null || trouble
snapshot again '{last: 3s}'
ready again
k delete snapshots.pcapsule.dev -A --all --timeout=60s >/dev/null
h uninstall pcapsule -n pcapsule >/dev/null
k delete namespace pcapsule shop --timeout=60s >/dev/null

say "without Helm"
mkdir "$dir/overlay"
cp -r deploy/kustomize/base "$dir/base"
cat >"$dir/overlay/kustomization.yaml" <<-'EOF'
	apiVersion: kustomize.config.k8s.io/v1beta1
	kind: Kustomization
	resources: [../base]
	images:
	- {name: pcapsule-recorder, newName: e2e.local/pcapsule-recorder, newTag: "1"}
	- {name: pcapsule-hub, newName: e2e.local/pcapsule-hub, newTag: "1"}
	patches:
	- target: {kind: DaemonSet}
	  patch: |
	    - {op: add, path: /spec/template/spec/containers/0/args/-, value: --reserve=32Mi}
	    - {op: add, path: /spec/template/spec/containers/0/args/-, value: --max-size=50Mi}
EOF
k apply -k "$dir/overlay" >/dev/null
k -n pcapsule rollout status ds/pcapsule-recorder --timeout=90s >/dev/null || { trouble; exit 1; }
k -n pcapsule rollout status deploy/pcapsule-hub --timeout=90s >/dev/null || { trouble; exit 1; }
sleep 3
snapshot incident '{last: 3s}'
ready incident
k delete -k "$dir/overlay" --wait=false >/dev/null
sleep 10
guide
is_gone "without Helm" pcapsule
for ((i = 0; i < 30; i++)); do [ -z "$(left customresourcedefinitions,clusterroles,clusterrolebindings)" ] && break; sleep 1; done
is "what is left of the cluster" "" "$(left customresourcedefinitions,clusterroles,clusterrolebindings)"
finish
