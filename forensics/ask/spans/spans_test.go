package spans_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/forensics/ask/asktest"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/otel/attribute"
	semconv "go.opentelemetry.io/otel/semconv/v1.37.0"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask/spans"
)

// exported are the spans of calls, read by the collector's own decoders, which must agree.
type exported struct {
	text   []byte // lines of JSON
	spans  []ptrace.Span
	owners map[pcommon.SpanID]pcommon.Map // the resource of each span
}

func exportSpans(t *testing.T, c *forensics.Case, kfl string) *exported {
	t.Helper()
	x := &exported{owners: map[pcommon.SpanID]pcommon.Map{}}
	_, n, err := spans.Each(ctx, c, forensics.Query{KFL: kfl}, "test", func(m *tracepb.TracesData) error {
		text, err := spans.JSON(m)
		if err != nil {
			return err
		}
		x.text = append(append(x.text, text...), '\n')
		read, err := (&ptrace.JSONUnmarshaler{}).UnmarshalTraces(text)
		if err != nil {
			return err
		}
		raw, err := spans.Proto(m)
		if err != nil {
			return err
		}
		same, err := (&ptrace.ProtoUnmarshaler{}).UnmarshalTraces(raw)
		if err != nil {
			return err
		}
		a, err := (&ptrace.ProtoMarshaler{}).MarshalTraces(read)
		if err != nil {
			return err
		}
		if b, err := (&ptrace.ProtoMarshaler{}).MarshalTraces(same); err != nil || !bytes.Equal(a, b) {
			t.Errorf("JSON and Protocol Buffers differ: %v", err)
		}
		for _, r := range read.ResourceSpans().All() {
			for _, s := range r.ScopeSpans().All() {
				for _, p := range s.Spans().All() {
					x.spans = append(x.spans, p)
					if _, twice := x.owners[p.SpanID()]; twice || p.SpanID().IsEmpty() || p.TraceID().IsEmpty() {
						t.Errorf("span %s of trace %s: ids must be unique", p.SpanID(), p.TraceID())
					}
					x.owners[p.SpanID()] = r.Resource().Attributes()
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(x.spans) != 2*n {
		t.Errorf("%d spans of %d calls", len(x.spans), n)
	}
	return x
}

func (x *exported) find(t *testing.T, kind ptrace.SpanKind, key, value string) ptrace.Span {
	t.Helper()
	for _, s := range x.spans {
		if v, ok := s.Attributes().Get(key); ok && v.AsString() == value && s.Kind() == kind {
			return s
		}
	}
	t.Fatalf("no span of kind %s with %s = %q", kind, key, value)
	return ptrace.Span{}
}

func attr(m pcommon.Map, key string) string {
	v, ok := m.Get(key)
	if !ok {
		return ""
	}
	return v.AsString()
}

// TestSpansOfTheShop reads the spans of a sample with the collector's decoders.
func TestSpansOfTheShop(t *testing.T) {
	c := asktest.Open(t, "shop.pcapng")
	x := exportSpans(t, c, "")
	if again := exportSpans(t, c, ""); !bytes.Equal(x.text, again.text) {
		t.Error("the same calls give other bytes")
	}
	known := keysOfSpans()
	children := 0
	for _, s := range x.spans {
		for _, m := range []pcommon.Map{s.Attributes(), x.owners[s.SpanID()]} {
			for key := range m.All() {
				if !slices.Contains(known, key) && !strings.HasPrefix(key, "pcapsule.") && !strings.HasPrefix(key, "k8s.pod.label.") {
					t.Errorf("attribute %s is not of the conventions", key)
				}
			}
		}
		if attr(x.owners[s.SpanID()], "service.name") == "" || s.Name() == "" || s.EndTimestamp() < s.StartTimestamp() {
			t.Errorf("span %q of %v, %d to %d", s.Name(), x.owners[s.SpanID()].AsRaw(), s.StartTimestamp(), s.EndTimestamp())
		}
		if s.Kind() == ptrace.SpanKindServer && s.ParentSpanID().IsEmpty() {
			t.Errorf("span %q of a server has no parent", s.Name())
		}
		if s.Kind() == ptrace.SpanKindClient && !s.ParentSpanID().IsEmpty() {
			children++
		}
	}
	if children < 10 {
		t.Errorf("%d calls have a parent", children)
	}
	q := x.find(t, ptrace.SpanKindClient, "db.system.name", "postgresql")
	if attr(x.owners[q.SpanID()], "k8s.namespace.name") == "" || attr(q.Attributes(), "network.peer.port") != "5432" {
		t.Errorf("%v of %v", q.Attributes().AsRaw(), x.owners[q.SpanID()].AsRaw())
	}
	some := exportSpans(t, c, "postgresql")
	for _, s := range some.spans { // the same spans, whatever else is exported
		if _, ok := x.owners[s.SpanID()]; !ok {
			t.Fatalf("span %s is only in the export of some calls", s.SpanID())
		}
	}
}

// TestWhereSpansAreInATrace is a call that a traced one caused, and calls with and without a header.
func TestWhereSpansAreInATrace(t *testing.T) {
	const trace, above = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
	const edge, shop, store, other, msec = "10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", time.Millisecond
	w := &asktest.Made{}
	with := func(path string) string {
		return strings.Replace(asktest.Get(path), "\r\n\r\n", "\r\ntraceparent: 00-"+trace+"-"+above+"-01\r\n\r\n", 1)
	}
	w.Single(10*msec, 50*msec, edge, shop, with("/buy"), asktest.Answer("503 Busy", "{}"))
	w.Single(20*msec, 10*msec, shop, store, asktest.Get("/stock"), asktest.Answer("404 Not Found", "{}"))
	w.Single(100*msec, 10*msec, edge, other, asktest.Get("/alone"), asktest.Answer("200 OK", "{}"))
	x := exportSpans(t, w.Open(t), "http")
	buy := x.find(t, ptrace.SpanKindServer, "url.path", "/buy")
	stock := x.find(t, ptrace.SpanKindServer, "url.path", "/stock")
	alone := x.find(t, ptrace.SpanKindServer, "url.path", "/alone")
	client := map[string]ptrace.Span{}
	for _, s := range x.spans {
		if s.Kind() == ptrace.SpanKindClient {
			client[s.SpanID().String()] = s
		}
	}
	above1 := func(s ptrace.Span) string { return client[s.ParentSpanID().String()].ParentSpanID().String() }
	if buy.TraceID().String() != trace || above1(buy) != above {
		t.Errorf("the traced call is in trace %s below %s", buy.TraceID(), above1(buy))
	}
	if stock.TraceID().String() != trace || above1(stock) != buy.SpanID().String() {
		t.Errorf("the call below it is in trace %s below %s", stock.TraceID(), above1(stock))
	}
	if alone.TraceID() == buy.TraceID() || above1(alone) != "" {
		t.Errorf("a call of its own is in trace %s below %s", alone.TraceID(), above1(alone))
	}
	asked := client[stock.ParentSpanID().String()]
	if buy.Status().Code() != ptrace.StatusCodeError || stock.Status().Code() != ptrace.StatusCodeUnset || asked.Status().Code() != ptrace.StatusCodeError || attr(asked.Attributes(), "error.type") != "404" ||
		!strings.HasPrefix(attr(asked.Attributes(), "url.full"), "http://") || attr(asked.Attributes(), "http.request.method") != "GET" || attr(asked.Attributes(), "pcapsule.parent.confidence") != "likely" {
		t.Errorf("status %s, %s, %s; %v", buy.Status().Code(), stock.Status().Code(), asked.Status().Code(), asked.Attributes().AsRaw())
	}
}

// keysOfSpans are the attributes that spans may have, by the conventions' own constants.
func keysOfSpans() (list []string) {
	for _, k := range []attribute.Key{semconv.ServiceNameKey, semconv.ServiceNamespaceKey, semconv.K8SNamespaceNameKey, semconv.K8SPodNameKey, semconv.K8SPodUIDKey, semconv.K8SDeploymentNameKey, semconv.K8SStatefulSetNameKey,
		semconv.K8SDaemonSetNameKey, semconv.K8SReplicaSetNameKey, semconv.K8SJobNameKey, semconv.K8SCronJobNameKey, semconv.K8SNodeNameKey, semconv.K8SContainerNameKey, semconv.ContainerIDKey, semconv.ContainerImageNameKey, semconv.ContainerImageTagsKey,
		semconv.ProcessExecutableNameKey, semconv.ProcessExecutablePathKey, semconv.ProcessPIDKey, semconv.NetworkTransportKey, semconv.NetworkProtocolNameKey, semconv.NetworkProtocolVersionKey, semconv.NetworkPeerAddressKey,
		semconv.NetworkPeerPortKey, semconv.ServerAddressKey, semconv.ServerPortKey, semconv.ClientAddressKey, semconv.ErrorTypeKey, semconv.HTTPRequestMethodKey, semconv.HTTPRequestMethodOriginalKey, semconv.HTTPResponseStatusCodeKey,
		semconv.HTTPRequestBodySizeKey, semconv.HTTPResponseBodySizeKey, semconv.URLFullKey, semconv.URLSchemeKey, semconv.URLPathKey, semconv.URLQueryKey, semconv.DBSystemNameKey, semconv.DBOperationNameKey, semconv.DBQueryTextKey,
		semconv.DBResponseStatusCodeKey, semconv.MessagingSystemKey, semconv.MessagingOperationNameKey, semconv.MessagingDestinationNameKey, semconv.MessagingConsumerGroupNameKey, semconv.RPCSystemKey, semconv.RPCServiceKey,
		semconv.RPCMethodKey, semconv.RPCGRPCStatusCodeKey, semconv.DNSQuestionNameKey} {
		list = append(list, string(k))
	}
	return list
}
