package spans

import (
	"cmp"
	"fmt"
	"strings"

	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/pcapsule/pcapsule/forensics"
)

// schemaURL is the version of the semantic conventions that names and values follow.
const schemaURL = "https://opentelemetry.io/schemas/1.37.0"

// attribute is a string, int64 or []string; an empty string and nil are left out.
type attribute struct {
	key   string
	value any
}

// list makes attributes of OTLP.
func list(all ...attribute) (out []*commonpb.KeyValue) {
	for _, a := range all {
		v := &commonpb.AnyValue{}
		switch x := a.value.(type) {
		case string:
			if x == "" {
				continue
			}
			v.Value = &commonpb.AnyValue_StringValue{StringValue: strings.ToValidUTF8(x, "\uFFFD")}
		case int64:
			v.Value = &commonpb.AnyValue_IntValue{IntValue: x}
		case []string:
			all := &commonpb.ArrayValue{}
			for _, text := range x {
				all.Values = append(all.Values, &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: strings.ToValidUTF8(text, "\uFFFD")}})
			}
			v.Value = &commonpb.AnyValue_ArrayValue{ArrayValue: all}
		default:
			continue
		}
		out = append(out, &commonpb.KeyValue{Key: a.key, Value: v})
	}
	return out
}

// groups joins the spans of the same resource.
type groups struct {
	release string
	out     tracepb.TracesData
	by      map[string]*tracepb.ScopeSpans
}

func (g *groups) add(r row, side string, s *tracepb.Span) {
	attributes := resource(r, side)
	key := fmt.Sprint(attributes)
	scope := g.by[key]
	if scope == nil {
		scope = &tracepb.ScopeSpans{Scope: &commonpb.InstrumentationScope{Name: "github.com/pcapsule/pcapsule", Version: g.release}, SchemaUrl: schemaURL}
		g.by[key] = scope
		g.out.ResourceSpans = append(g.out.ResourceSpans, &tracepb.ResourceSpans{Resource: &resourcepb.Resource{Attributes: list(attributes...)}, ScopeSpans: []*tracepb.ScopeSpans{scope}, SchemaUrl: schemaURL})
	}
	scope.Spans = append(scope.Spans, s)
}

// owners are the attributes with the name of a pod's owner, by its kind.
var owners = map[string]string{"Deployment": "k8s.deployment.name", "StatefulSet": "k8s.statefulset.name", "DaemonSet": "k8s.daemonset.name", "ReplicaSet": "k8s.replicaset.name",
	"Job": "k8s.job.name", "CronJob": "k8s.cronjob.name"}

// resource is an end of a call.
func resource(r row, side string) []attribute {
	t := func(name string) string { return r.text(side + name) }
	out := []attribute{{"service.name", cmp.Or(t("service"), t("workload"), t("pod"), t("process"), t("dns_name"), t("hostname"), t("name"), t("ip"))}}
	if t("namespace") != "" {
		out = append(out, attribute{"service.namespace", t("namespace")}, attribute{"k8s.namespace.name", t("namespace")})
	}
	out = append(out, attribute{"k8s.pod.name", t("pod")}, attribute{"k8s.pod.uid", t("pod_uid")})
	if key := owners[t("workload_kind")]; key != "" {
		out = append(out, attribute{key, t("workload")})
	}
	out = append(out, attribute{"k8s.node.name", t("node")}, attribute{"k8s.container.name", t("container")}, attribute{"container.id", t("container_id")})
	if image := t("image"); image != "" {
		name, _, _ := strings.Cut(image, "@")
		if i := strings.LastIndexByte(name, ':'); i > strings.LastIndexByte(name, '/') {
			out = append(out, attribute{"container.image.name", name[:i]}, attribute{"container.image.tags", []string{name[i+1:]}})
		} else {
			out = append(out, attribute{"container.image.name", name})
		}
	}
	out = append(out, attribute{"process.executable.name", t("process")}, attribute{"process.executable.path", t("exe")})
	if pid, ok := r.number(side + "pid"); ok {
		out = append(out, attribute{"process.pid", pid})
	}
	labels, _ := r[side+"labels"].([]any)
	for _, l := range labels {
		if s, ok := l.(forensics.Struct); ok && t("pod") != "" {
			name, _ := s.Get("name").(string)
			value, _ := s.Get("value").(string)
			out = append(out, attribute{"k8s.pod.label." + name, value})
		}
	}
	return out
}
