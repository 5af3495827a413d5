package helm

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
	admission "k8s.io/api/admissionregistration/v1"
	apps "k8s.io/api/apps/v1"
	batch "k8s.io/api/batch/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	rbac "k8s.io/api/rbac/v1"
	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/yaml"
)

var update = flag.Bool("update", false, "rewrite deploy/kustomize/base")

const base = "../kustomize/base"

func load(t *testing.T) *chart.Chart {
	t.Helper()
	c, err := loader.Load("../chart")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// render renders the chart with values in YAML, in a namespace.
func render(t *testing.T, namespace, values string) (map[string]string, error) {
	t.Helper()
	given := map[string]any{}
	if err := yaml.Unmarshal([]byte(values), &given); err != nil {
		t.Fatal(err)
	}
	c := load(t)
	all, err := util.ToRenderValues(c, given, common.ReleaseOptions{Name: "x", Namespace: namespace, Revision: 1, IsInstall: true}, common.DefaultCapabilities)
	if err != nil {
		return nil, err
	}
	files, err := engine.Render(c, all)
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for name, text := range files {
		out[path.Base(name)] = text
	}
	return out, nil
}

// decoder refuses members that the API does not know, and those that are there twice.
func decoder(t *testing.T) runtime.Decoder {
	t.Helper()
	s := runtime.NewScheme()
	if err := scheme.AddToScheme(s); err != nil {
		t.Fatal(err)
	}
	if err := apiextensions.AddToScheme(s); err != nil {
		t.Fatal(err)
	}
	return serializer.NewCodecFactory(s, serializer.EnableStrict).UniversalDeserializer()
}

// objects decodes all manifests.
func objects(t *testing.T, files map[string]string) map[string]runtime.Object {
	t.Helper()
	d, all := decoder(t), map[string]runtime.Object{}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if !strings.HasSuffix(name, ".yaml") {
			continue
		}
		for doc := range strings.SplitSeq(files[name], "\n---\n") {
			if blank(doc) {
				continue
			}
			o, kind, err := d.Decode([]byte(doc), nil, nil)
			if err != nil {
				t.Fatalf("%s: %v\n%s", name, err, doc)
			}
			var meta struct{ Metadata struct{ Name string } }
			if err := yaml.Unmarshal([]byte(doc), &meta); err != nil {
				t.Fatal(err)
			}
			all[kind.Kind+"/"+meta.Metadata.Name] = o
		}
	}
	return all
}

// blank reports whether a document has only comments.
func blank(doc string) bool {
	for line := range strings.Lines(doc) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			return false
		}
	}
	return true
}

// TestBaseIsTheChart compares the kustomize base with the chart's default values.
func TestBaseIsTheChart(t *testing.T) {
	files, err := render(t, "pcapsule", "")
	if err != nil {
		t.Fatal(err)
	}
	objects(t, files)
	want := map[string][]byte{}
	for name, text := range files {
		if strings.HasSuffix(name, ".yaml") && !blank(text) {
			want[name] = []byte("# Made from deploy/chart; to change it, change that, and run: go test -C deploy/helm -update\n" + strings.TrimSpace(text) + "\n")
		}
	}
	var k struct{ Resources []string }
	text, err := os.ReadFile(filepath.Join(base, "kustomization.yaml"))
	if err == nil {
		err = yaml.Unmarshal(text, &k)
	}
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(k.Resources)
	if got := slices.Sorted(maps.Keys(want)); !slices.Equal(append([]string{"namespace.yaml"}, got...), slices.Compact(append([]string{"namespace.yaml"}, slices.DeleteFunc(k.Resources, func(n string) bool { return n == "namespace.yaml" })...))) {
		t.Errorf("kustomization.yaml lists %v, the chart has %v", k.Resources, got)
	}
	for name, text := range want {
		file := filepath.Join(base, name)
		if *update {
			if err := os.WriteFile(file, text, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := os.ReadFile(file); err != nil || !bytes.Equal(got, text) {
			t.Errorf("%s is not what the chart renders (%v): run go test -C deploy/helm -update", file, err)
		}
	}
}

// TestVersionIsOurs: images have the program's version as their tag.
func TestVersionIsOurs(t *testing.T) {
	source, err := os.ReadFile("../../internal/version/version.go")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^var Release = "([^"]+)"`).FindSubmatch(source)
	c := load(t)
	if m == nil || c.Metadata.AppVersion != string(m[1]) || c.Metadata.Version != string(m[1]) {
		t.Errorf("the chart is %s for %s, the programs are %s", c.Metadata.Version, c.Metadata.AppVersion, m)
	}
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
}

func TestValues(t *testing.T) {
	for _, tt := range []struct {
		name, values, object string
		check                func(o runtime.Object) bool
	}{
		{"registry and tag", "image: {registry: registry.example/team, tag: v1, pullPolicy: Never, pullSecrets: [{name: pull}]}", "DaemonSet/pcapsule-recorder", func(o runtime.Object) bool {
			p := o.(*apps.DaemonSet).Spec.Template.Spec
			return p.Containers[0].Image == "registry.example/team/pcapsule-recorder:v1" && p.Containers[0].ImagePullPolicy == core.PullNever && p.ImagePullSecrets[0].Name == "pull"
		}},
		{"an image by its digest", "image: {registry: registry.example/team}\nhub: {image: 'other.example/hub@sha256:00'}", "Deployment/pcapsule-hub", func(o runtime.Object) bool {
			return o.(*apps.Deployment).Spec.Template.Spec.Containers[0].Image == "other.example/hub@sha256:00"
		}},
		{"no MCP server by default", "", "Deployment/pcapsule-hub", func(o runtime.Object) bool {
			return len(o.(*apps.Deployment).Spec.Template.Spec.Containers) == 1
		}},
		{"an MCP server on the loopback", "mcp: {enabled: true, port: 9000}", "Deployment/pcapsule-hub", func(o runtime.Object) bool {
			c := o.(*apps.Deployment).Spec.Template.Spec.Containers
			return len(c) == 2 && slices.Contains(c[1].Args, "--addr=127.0.0.1:9000") && c[1].VolumeMounts[0].ReadOnly && *c[1].SecurityContext.ReadOnlyRootFilesystem
		}},
		{"a recorder alone by default", "mcp: {enabled: true}", "DaemonSet/pcapsule-recorder", func(o runtime.Object) bool {
			p := o.(*apps.DaemonSet).Spec.Template.Spec
			return len(p.Containers) == 1 && !slices.Contains(p.Containers[0].Args, "--rows=/rows")
		}},
		{"no rows without somebody who asks for them", "live: {rows: {enabled: true}}", "DaemonSet/pcapsule-recorder", func(o runtime.Object) bool {
			return len(o.(*apps.DaemonSet).Spec.Template.Spec.Containers) == 1
		}},
		{"rows by a program without rights, which reads the ring and not its key", "mcp: {enabled: true}\nlive: {rows: {enabled: true, resources: {limits: {cpu: 250m}}}}", "DaemonSet/pcapsule-recorder", func(o runtime.Object) bool {
			p := o.(*apps.DaemonSet).Spec.Template.Spec
			c := p.Containers[1]
			return slices.Contains(p.Containers[0].Args, "--rows=/rows") && c.Args[0] == "rows" && c.Resources.Limits.Cpu().MilliValue() == 250 &&
				c.SecurityContext.Capabilities.Add == nil && c.SecurityContext.Capabilities.Drop[0] == "ALL" && *c.SecurityContext.ReadOnlyRootFilesystem &&
				len(c.VolumeMounts) == 2 && c.VolumeMounts[0].SubPath == "ring" && c.VolumeMounts[0].ReadOnly
		}},
		{"a claim of the chart's own", "hub: {storage: {size: 50Gi, className: fast}}", "PersistentVolumeClaim/pcapsule-hub", func(o runtime.Object) bool {
			c := o.(*core.PersistentVolumeClaim)
			return *c.Spec.StorageClassName == "fast" && c.Annotations["helm.sh/resource-policy"] == "keep"
		}},
		{"a claim that exists", "hub: {storage: {existingClaim: mine}}", "Deployment/pcapsule-hub", func(o runtime.Object) bool {
			return o.(*apps.Deployment).Spec.Template.Spec.Volumes[0].PersistentVolumeClaim.ClaimName == "mine"
		}},
		{"a claim for many nodes", "hub: {storage: {size: 50Gi, accessMode: ReadWriteMany}}", "PersistentVolumeClaim/pcapsule-hub", func(o runtime.Object) bool {
			return slices.Equal(o.(*core.PersistentVolumeClaim).Spec.AccessModes, []core.PersistentVolumeAccessMode{core.ReadWriteMany})
		}},
		{"the hub's Jobs", "hub: {storage: {size: 50Gi}, jobs: {threshold: 10Gi}}", "Deployment/pcapsule-hub", func(o runtime.Object) bool {
			p := o.(*apps.Deployment).Spec.Template
			return slices.Contains(p.Spec.Containers[0].Args, "--job-threshold=10Gi") && slices.Contains(p.Spec.Containers[0].Args, "--job=/etc/pcapsule/job.yaml") &&
				p.Spec.Volumes[1].ConfigMap.Name == "pcapsule-job" && len(p.Annotations["pcapsule.dev/job"]) == 16
		}},
		{"copies in a store", "hub: {store: {address: 's3://evidence/x?region=eu-central-1', secret: bucket}, serviceAccount: {annotations: {a.example/role: r}}, podLabels: {azure.workload.identity/use: 'true'}}", "Deployment/pcapsule-hub", func(o runtime.Object) bool {
			p := o.(*apps.Deployment).Spec.Template
			c := p.Spec.Containers[0]
			return slices.Contains(c.Args, "--store=s3://evidence/x?region=eu-central-1") && c.EnvFrom[0].SecretRef.Name == "bucket" && p.Labels["azure.workload.identity/use"] == "true"
		}},
		{"an identity of a cloud", "hub: {serviceAccount: {annotations: {a.example/role: r}}}", "ServiceAccount/pcapsule-hub", func(o runtime.Object) bool {
			return o.(*core.ServiceAccount).Annotations["a.example/role"] == "r"
		}},
		{"snapshots of tenants", "hub: {tenants: {snapshots: 5, window: 10m}}", "Deployment/pcapsule-hub", func(o runtime.Object) bool {
			a := o.(*apps.Deployment).Spec.Template.Spec.Containers[0].Args
			return slices.Contains(a, "--tenant-snapshots=5") && slices.Contains(a, "--tenant-window=10m") && slices.Contains(a, "--tenant-retain-for=24h")
		}},
		{"a role for tenants, without a right to change or to hold a snapshot", "", "ClusterRole/pcapsule-tenant", func(o runtime.Object) bool {
			return !slices.ContainsFunc(o.(*rbac.ClusterRole).Rules, func(r rbac.PolicyRule) bool {
				return slices.Contains(r.Verbs, "update") || slices.Contains(r.Verbs, "patch") || !slices.Equal(r.APIGroups, []string{"pcapsule.dev"})
			})
		}},
		{"no role without tenants", "hub: {tenants: {snapshots: 0}}", "-ClusterRole/pcapsule-tenant", nil},
		{"no rights in other namespaces without tenants", "hub: {tenants: {snapshots: 0}}", "ClusterRole/pcapsule-hub", func(o runtime.Object) bool {
			return !slices.ContainsFunc(o.(*rbac.ClusterRole).Rules, func(r rbac.PolicyRule) bool {
				return slices.Contains(r.Resources, "events") || slices.Contains(r.Resources, "snapshots") && slices.Contains(r.Verbs, "delete")
			})
		}},
		{"an access log in a file", "hub: {accessLog: /var/lib/pcapsule-hub/access.jsonl}", "Deployment/pcapsule-hub", func(o runtime.Object) bool {
			return slices.Contains(o.(*apps.Deployment).Spec.Template.Spec.Containers[0].Args, "--access-log=/var/lib/pcapsule-hub/access.jsonl")
		}},
		{"no right to read Secrets of the cluster, or to change pods", "", "ClusterRole/pcapsule-hub", func(o runtime.Object) bool {
			return !slices.ContainsFunc(o.(*rbac.ClusterRole).Rules, func(r rbac.PolicyRule) bool {
				reads := slices.DeleteFunc(slices.Clone(r.Verbs), func(v string) bool { return v == "get" || v == "list" || v == "watch" })
				return slices.Contains(r.Resources, "secrets") || slices.Contains(r.Resources, "configmaps") || (slices.Contains(r.Resources, "pods") || slices.Contains(r.Resources, "deployments")) && len(reads) > 0
			})
		}},
		{"the right to create Jobs", "hub: {storage: {size: 50Gi}}", "Role/pcapsule-hub", func(o runtime.Object) bool { return mayCreateJobs(o.(*rbac.Role)) }},
		{"no Jobs without a volume", "", "Role/pcapsule-hub", func(o runtime.Object) bool { return !mayCreateJobs(o.(*rbac.Role)) }},
		{"no Jobs with the threshold 0", "hub: {storage: {size: 50Gi}, jobs: {threshold: 0}}", "Role/pcapsule-hub", func(o runtime.Object) bool { return !mayCreateJobs(o.(*rbac.Role)) }},
		{"nor with the values of an earlier release", "hub: {storage: {size: 50Gi, accessMode: null}, jobs: null}", "Role/pcapsule-hub", func(o runtime.Object) bool { return !mayCreateJobs(o.(*rbac.Role)) }},
		{"nothing else of Jobs then", "hub: {jobs: {threshold: 1Gi}}", "-ConfigMap/pcapsule-job", nil},
		{"a policy for Jobs", "hub: {storage: {existingClaim: mine}, image: 'other.example/hub@sha256:00'}", "ValidatingAdmissionPolicy/pcapsule-hub-jobs", func(o runtime.Object) bool {
			p := o.(*admission.ValidatingAdmissionPolicy)
			all := fmt.Sprint(p.Spec.Validations)
			return *p.Spec.FailurePolicy == admission.Fail && p.Spec.MatchConditions[0].Expression == "request.userInfo.username == 'system:serviceaccount:elsewhere:pcapsule-hub'" &&
				strings.Contains(all, `"other.example/hub@sha256:00"`) && strings.Contains(all, `claimName == "mine"`)
		}},
		{"pods of Jobs without a network", "hub: {storage: {size: 50Gi}}", "NetworkPolicy/pcapsule-part", func(o runtime.Object) bool {
			p := o.(*networking.NetworkPolicy).Spec
			return len(p.PolicyTypes) == 2 && p.Ingress == nil && p.Egress == nil
		}},
		{"the fewest capabilities", "", "DaemonSet/pcapsule-recorder", func(o runtime.Object) bool {
			return slices.Equal(o.(*apps.DaemonSet).Spec.Template.Spec.Containers[0].SecurityContext.Capabilities.Add, []core.Capability{"BPF", "PERFMON", "NET_ADMIN"})
		}},
		{"a type of SELinux", "recorder: {securityContext: {seLinuxOptions: {type: spc_t}}}", "DaemonSet/pcapsule-recorder", func(o runtime.Object) bool {
			return o.(*apps.DaemonSet).Spec.Template.Spec.SecurityContext.SELinuxOptions.Type == "spc_t"
		}},
		{"versions of resources", "", "CustomResourceDefinition/captures.pcapsule.dev", func(o runtime.Object) bool {
			v := o.(*apiextensions.CustomResourceDefinition).Spec.Versions
			return len(v) == 2 && v[0].Name == "v1beta1" && !v[0].Storage && v[1].Name == "v1alpha1" && v[1].Served && v[1].Storage && v[1].Deprecated && reflect.DeepEqual(v[0].Schema, v[1].Schema)
		}},
		{"capabilities for keys", "recorder: {tlsKeys: true}", "DaemonSet/pcapsule-recorder", func(o runtime.Object) bool {
			return slices.Contains(o.(*apps.DaemonSet).Spec.Template.Spec.Containers[0].SecurityContext.Capabilities.Add, "SYS_PTRACE")
		}},
		{"rules that always hold", "recorder: {never: [{namespace: payments, port: [5432, 6000-6100]}, {pattern: 'a\"b: {'}]}", "ConfigMap/pcapsule-policy", func(o runtime.Object) bool {
			var p struct {
				Never []map[string]any
			}
			err := yaml.Unmarshal([]byte(o.(*core.ConfigMap).Data["policy.yaml"]), &p)
			own := func(i int, name string) bool { // by the owner alone
				return p.Never[i]["workload"] == "elsewhere/"+name && p.Never[i]["port"] == "0-65535" && p.Never[i]["unknown"] == "keep"
			}
			return err == nil && len(p.Never) == 5 && own(1, "pcapsule-hub") && own(2, "pcapsule-recorder") && p.Never[4]["pattern"] == `a"b: {`
		}},
		{"arguments as they are given", `recorder: {extraArgs: ["--never=pattern=a: \"b\""]}`, "DaemonSet/pcapsule-recorder", func(o runtime.Object) bool {
			return slices.Contains(o.(*apps.DaemonSet).Spec.Template.Spec.Containers[0].Args, `--never=pattern=a: "b"`)
		}},
		{"people", "investigators: [{kind: Group, name: 'team:sre'}, {kind: ServiceAccount, name: a, namespace: b}]", "RoleBinding/pcapsule-investigator", func(o runtime.Object) bool { return true }},
		{"no network policies", "networkPolicy: {enabled: false}", "-NetworkPolicy/pcapsule-hub", nil},
		{"a short name, and one for all resources", "", "CustomResourceDefinition/snapshots.pcapsule.dev", func(o runtime.Object) bool {
			n := o.(*apiextensions.CustomResourceDefinition).Spec.Names
			return slices.Equal(n.ShortNames, []string{"psnap"}) && slices.Equal(n.Categories, []string{"pcapsule"})
		}},
		{"no resource definitions", "crds: {install: false}", "-CustomResourceDefinition/snapshots.pcapsule.dev", nil},
		{"an uninstall keeps the definitions", "", "CustomResourceDefinition/snapshots.pcapsule.dev", func(o runtime.Object) bool {
			return o.(*apiextensions.CustomResourceDefinition).Annotations["helm.sh/resource-policy"] == "keep"
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			files, err := render(t, "elsewhere", tt.values)
			if err != nil {
				t.Fatal(err)
			}
			all := objects(t, files)
			if absent, ok := strings.CutPrefix(tt.object, "-"); ok {
				if all[absent] != nil {
					t.Errorf("there is a %s", absent)
				}
				return
			}
			if o := all[tt.object]; o == nil || !tt.check(o) {
				t.Errorf("%s is %+v", tt.object, o)
			}
			for name, text := range files {
				if strings.Contains(text, "namespace: pcapsule,") || strings.Contains(text, "namespace: pcapsule}") {
					t.Errorf("%s names the namespace pcapsule, but the release is in another", name)
				}
			}
		})
	}
}

// inCluster has objects that a chart's lookup finds. It implements engine.ClientProvider.
type inCluster []runtime.Object

// GetClientFor implements engine.ClientProvider.
func (c inCluster) GetClientFor(apiVersion, kind string) (dynamic.NamespaceableResourceInterface, bool, error) {
	lists := map[schema.GroupVersionResource]string{
		{Group: "storage.k8s.io", Version: "v1", Resource: "storageclasses"}: "StorageClassList",
		{Version: "v1", Resource: "persistentvolumeclaims"}:                  "PersistentVolumeClaimList",
	}
	g, _ := schema.ParseGroupVersion(apiVersion)
	return fake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), lists, c...).Resource(g.WithResource(strings.ToLower(kind) + map[string]string{"StorageClass": "es", "PersistentVolumeClaim": "s"}[kind])), kind == "PersistentVolumeClaim", nil
}

// TestDataIsKept: by default the hub gets a volume if the cluster has a default class; otherwise the notes warn.
func TestDataIsKept(t *testing.T) {
	object := func(text string) runtime.Object {
		o := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(text), &o.Object); err != nil {
			t.Fatal(err)
		}
		return o
	}
	fast := object("{apiVersion: storage.k8s.io/v1, kind: StorageClass, metadata: {name: fast}}")
	standard := object("{apiVersion: storage.k8s.io/v1, kind: StorageClass, metadata: {name: standard, annotations: {storageclass.kubernetes.io/is-default-class: 'true'}}}")
	former := object("{apiVersion: storage.k8s.io/v1, kind: StorageClass, metadata: {name: former, annotations: {storageclass.kubernetes.io/is-default-class: 'false'}}}")
	claimed := object("{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: pcapsule-hub, namespace: elsewhere}, spec: {resources: {requests: {storage: 7Gi}}}}")
	for _, tt := range []struct {
		name, storage string
		cluster       inCluster
		size, claim   string // of the chart's claim, and the one that the hub uses; empty: none
	}{
		{"a default class", "{}", inCluster{fast, standard}, "50Gi", "pcapsule-hub"},
		{"no default class", "{}", inCluster{fast, former}, "", ""},
		{"a class that somebody chose", "{className: fast}", inCluster{fast}, "50Gi", "pcapsule-hub"},
		{"a claim that is there keeps its size", "{}", inCluster{fast, claimed}, "7Gi", "pcapsule-hub"},
		{"a size", "{size: 9Gi}", inCluster{standard}, "9Gi", "pcapsule-hub"},
		{"somebody wants none", "{size: ''}", inCluster{standard}, "", ""},
		{"another claim", "{existingClaim: mine}", inCluster{standard}, "", "mine"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var given map[string]any
			if err := yaml.Unmarshal([]byte("hub: {storage: "+tt.storage+"}"), &given); err != nil {
				t.Fatal(err)
			}
			c := load(t)
			all, err := util.ToRenderValues(c, given, common.ReleaseOptions{Name: "x", Namespace: "elsewhere", Revision: 1, IsInstall: true}, common.DefaultCapabilities)
			if err != nil {
				t.Fatal(err)
			}
			files, err := engine.RenderWithClientProvider(c, all, tt.cluster)
			if err != nil {
				t.Fatal(err)
			}
			text := map[string]string{}
			for name, f := range files {
				text[path.Base(name)] = f
			}
			found := objects(t, text)
			size, claim := "", ""
			if o, ok := found["PersistentVolumeClaim/pcapsule-hub"].(*core.PersistentVolumeClaim); ok {
				size = o.Spec.Resources.Requests.Storage().String()
			}
			if v := found["Deployment/pcapsule-hub"].(*apps.Deployment).Spec.Template.Spec.Volumes[0].PersistentVolumeClaim; v != nil {
				claim = v.ClaimName
			}
			if warned := strings.Contains(text["NOTES.txt"], "WARNING"); size != tt.size || claim != tt.claim || warned != (tt.claim == "") {
				t.Errorf("a claim of %q, used %q, warned: %v", size, claim, warned)
			}
		})
	}
}

// TestMonitoring: what is scraped are ports of the pods, and alerts and the dashboard name metrics that exist.
func TestMonitoring(t *testing.T) {
	if files, err := render(t, "elsewhere", ""); err != nil || !blank(strings.ReplaceAll(files["monitoring.yaml"], "---", "")) {
		t.Errorf("by default: %v, %s", err, files["monitoring.yaml"])
	}
	files, err := render(t, "elsewhere", "monitoring: {podMonitors: true, alerts: true, dashboard: true, labels: {release: prometheus}}")
	if err != nil {
		t.Fatal(err)
	}
	text := files["monitoring.yaml"]
	delete(files, "monitoring.yaml")
	pods := objects(t, files)
	ports := map[string][]core.ContainerPort{
		"pcapsule-recorder": pods["DaemonSet/pcapsule-recorder"].(*apps.DaemonSet).Spec.Template.Spec.Containers[0].Ports,
		"pcapsule-hub":      pods["Deployment/pcapsule-hub"].(*apps.Deployment).Spec.Template.Spec.Containers[0].Ports,
	}
	kinds := map[string]int{}
	for doc := range strings.SplitSeq(text, "\n---\n") {
		if blank(doc) {
			continue
		}
		var o struct {
			Kind     string
			Metadata struct {
				Name, Namespace string
				Labels          map[string]string
			}
			Spec struct {
				PodMetricsEndpoints []struct{ Port string }
				Groups              []struct {
					Rules []struct{ Alert, Expr string }
				}
			}
			Data map[string]string
		}
		if err := yaml.Unmarshal([]byte(doc), &o); err != nil {
			t.Fatalf("%v: %s", err, doc)
		}
		kinds[o.Kind]++
		switch o.Kind {
		case "PodMonitor":
			if len(o.Spec.PodMetricsEndpoints) != 1 || !slices.ContainsFunc(ports[o.Metadata.Name], func(p core.ContainerPort) bool { return p.Name == o.Spec.PodMetricsEndpoints[0].Port }) {
				t.Errorf("%s scrapes %+v", o.Metadata.Name, o.Spec.PodMetricsEndpoints)
			}
		case "PrometheusRule":
			for _, r := range o.Spec.Groups[0].Rules {
				if r.Alert == "" || r.Expr == "" {
					t.Errorf("an alert without a name or a condition: %+v", r)
				}
			}
		case "ConfigMap":
			if !json.Valid([]byte(o.Data["pcapsule.json"])) {
				t.Error("the dashboard is no JSON")
			}
		}
		if o.Metadata.Namespace != "elsewhere" || o.Kind != "ConfigMap" && o.Metadata.Labels["release"] != "prometheus" {
			t.Errorf("%+v", o.Metadata)
		}
	}
	if !maps.Equal(kinds, map[string]int{"PodMonitor": 2, "PrometheusRule": 1, "ConfigMap": 1}) {
		t.Errorf("there are %v", kinds)
	}
	known := metricNames(t)
	named := regexp.MustCompile(`pcapsule_(recorder|hub)_[a-z_]+`).FindAllString(text, -1)
	for _, n := range named {
		if !known[n] {
			t.Errorf("no metric is called %s", n)
		}
	}
	if len(named) < 15 || !known["pcapsule_recorder_ring_segments"] {
		t.Errorf("%d names in %d known ones", len(named), len(known))
	}
}

// metricNames are the metrics that the sources of recorder and hub define.
func metricNames(t *testing.T) map[string]bool {
	t.Helper()
	all := map[string]bool{}
	defined := regexp.MustCompile(`(?:count|gauge|number)\((?:prometheus\.\w+, )?"([a-z_]+)"`)
	for prefix, pattern := range map[string]string{"pcapsule_recorder_": "../../recorder/agent/*.go", "pcapsule_hub_": "../../hub/metrics.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			text, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range defined.FindAllSubmatch(text, -1) {
				all[prefix+string(m[1])] = true
			}
		}
	}
	return all
}

func mayCreateJobs(r *rbac.Role) bool {
	return slices.ContainsFunc(r.Rules, func(x rbac.PolicyRule) bool {
		return slices.Equal(x.APIGroups, []string{"batch"}) && slices.Contains(x.Verbs, "create")
	})
}

// TestJob decodes the Job that the hub makes others of, and checks that its pods have no rights.
func TestJob(t *testing.T) {
	for _, tt := range []struct {
		name, values string
		check        func(*batch.JobSpec) bool
	}{
		{"defaults", "hub: {storage: {size: 1Gi}}", func(j *batch.JobSpec) bool {
			return *j.Parallelism == 4 && *j.BackoffLimitPerIndex == 2 && *j.ActiveDeadlineSeconds == 21600 && *j.TTLSecondsAfterFinished == 3600
		}},
		{"a volume of one node", "hub: {storage: {existingClaim: mine}}", func(j *batch.JobSpec) bool {
			p := j.Template.Spec
			return p.Volumes[0].PersistentVolumeClaim.ClaimName == "mine" && len(p.Affinity.PodAffinity.RequiredDuringSchedulingIgnoredDuringExecution) == 1 && p.TopologySpreadConstraints == nil
		}},
		{"a volume of all nodes", "hub: {storage: {size: 1Gi, accessMode: ReadWriteMany}}", func(j *batch.JobSpec) bool {
			return j.Template.Spec.Affinity == nil && len(j.Template.Spec.TopologySpreadConstraints) == 1
		}},
		{"values", "image: {pullSecrets: [{name: pull}]}\nhub: {storage: {size: 1Gi}, jobs: {parallelism: 9, retries: 0, deadline: 60, keepFor: 61, memory: 3Gi, resources: {limits: {memory: 5Gi}}, nodeSelector: {a: b}, tolerations: [{key: batch}]}}", func(j *batch.JobSpec) bool {
			p := j.Template.Spec
			return *j.Parallelism == 9 && *j.BackoffLimitPerIndex == 0 && *j.ActiveDeadlineSeconds == 60 && *j.TTLSecondsAfterFinished == 61 && slices.Contains(p.Containers[0].Args, "--memory=3Gi") &&
				p.Containers[0].Resources.Limits.Memory().String() == "5Gi" && p.NodeSelector["a"] == "b" && p.Tolerations[0].Key == "batch" && p.ImagePullSecrets[0].Name == "pull"
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			files, err := render(t, "elsewhere", tt.values)
			if err != nil {
				t.Fatal(err)
			}
			all := objects(t, files)
			o, _, err := decoder(t).Decode([]byte(all["ConfigMap/pcapsule-job"].(*core.ConfigMap).Data["job.yaml"]), nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			j := o.(*batch.Job).Spec
			if !tt.check(&j) {
				t.Errorf("%+v", j)
			}
			p := j.Template.Spec
			c, hub := p.Containers[0], all["Deployment/pcapsule-hub"].(*apps.Deployment).Spec.Template.Spec
			if p.RestartPolicy != core.RestartPolicyNever || *p.AutomountServiceAccountToken || p.ServiceAccountName != "" || len(p.Containers) != 1 || len(p.Volumes) != 1 {
				t.Errorf("%+v", p)
			}
			x, y := c.SecurityContext, hub.Containers[0].SecurityContext
			if *x.AllowPrivilegeEscalation || !*x.ReadOnlyRootFilesystem || !slices.Equal(x.Capabilities.Drop, y.Capabilities.Drop) || x.Capabilities.Add != nil || *p.SecurityContext.RunAsUser != *hub.SecurityContext.RunAsUser ||
				*p.SecurityContext.FSGroup != *hub.SecurityContext.FSGroup || !*p.SecurityContext.RunAsNonRoot || p.SecurityContext.SeccompProfile.Type != core.SeccompProfileTypeRuntimeDefault {
				t.Errorf("%+v, %+v", x, p.SecurityContext)
			}
			if c.Image != hub.Containers[0].Image || c.VolumeMounts[0].MountPath != "/var/lib/pcapsule-hub" || c.Args[0] != "part" {
				t.Errorf("%+v", c)
			}
		})
	}
}

func TestWrongValuesAreRefused(t *testing.T) {
	for _, tt := range []struct{ values, want string }{
		{"mcp: {port: '8898'}", "/mcp/port"},
		{"mcp: {port: 80}", "/mcp/port"},
		{"mcp: {port: 8443}", "/mcp/port"},
		{"mcp: {enabled: yes please}", "/mcp/enabled"},
		{"mpc: {enabled: true}", "mpc"},
		{"recorder: {maxsize: 1Gi}", "maxsize"},
		{"recorder: {maxSize: lots}", "/recorder/maxSize"},
		{"recorder: {folder: '/var/../etc'}", "/recorder/folder"},
		{"recorder: {folder: 'var'}", "/recorder/folder"},
		{"recorder: {peers: none}", "/recorder/peers"},
		{"recorder: {never: [{}]}", "/recorder/never/0"},
		{"recorder: {never: [{name-space: a}]}", "/recorder/never/0"},
		{"recorder: {never: [{port: 70000}]}", "/recorder/never/0/port"},
		{"recorder: {extraArgs: ['not port 22']}", "/recorder/extraArgs/0"},
		{"recorder: {image: 'a b'}", "/recorder/image"},
		{"image: {pullPolicy: Sometimes}", "/image/pullPolicy"},
		{"image: {tag: 'a/b'}", "/image/tag"},
		{"hub: {storage: {size: 10Gi, existingClaim: mine}}", "/hub/storage"},
		{"hub: {storage: {accessMode: ReadWriteOncePod}}", "/hub/storage/accessMode"},
		{"hub: {jobs: {threshold: lots}}", "/hub/jobs/threshold"},
		{"hub: {jobs: {threshold: -1}}", "/hub/jobs/threshold"},
		{"hub: {jobs: {parallelism: 0}}", "/hub/jobs/parallelism"},
		{"hub: {jobs: {retries: -1}}", "/hub/jobs/retries"},
		{"hub: {jobs: {deadline: 6h}}", "/hub/jobs/deadline"},
		{"hub: {jobs: {size: 1Gi}}", "/hub/jobs"},
		{"hub: {accessLog: 'a b'}", "/hub/accessLog"},
		{"hub: {accessLog: true}", "/hub/accessLog"},
		{"live: {rows: true}", "/live/rows"},
		{"live: {rows: {maxSize: 1}}", "/live/rows/maxSize"},
		{"live: {rows: {cpu: 1}}", "/live/rows"},
		{"investigators: [{kind: ServiceAccount, name: a}]", "/investigators/0"},
		{"investigators: [{kind: Robot, name: a}]", "/investigators/0/kind"},
	} {
		t.Run(tt.values, func(t *testing.T) {
			if _, err := render(t, "pcapsule", tt.values); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error about %s", err, tt.want)
			}
		})
	}
}

// TestNotesSayWhatStays compares the notes with what an uninstall leaves.
func TestNotesSayWhatStays(t *testing.T) {
	files, err := render(t, "pcapsule", "hub: {storage: {size: 1Gi}}\nmcp: {enabled: true}")
	if err != nil {
		t.Fatal(err)
	}
	notes := files["NOTES.txt"]
	for _, word := range []string{"custom resource", "pcapsule-ca", "Lease pcapsule-hub", "claim\npcapsule-hub", "/var/lib/pcapsule", "/sys/fs/bpf/pcapsule", "8898"} {
		if !strings.Contains(notes, word) {
			t.Errorf("the notes do not name %q:\n%s", word, notes)
		}
	}
	if strings.Contains(notes, "WARNING") {
		t.Errorf("a warning although there is a volume:\n%s", notes)
	}
}
