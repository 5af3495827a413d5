package httpfield

import (
	"strconv"
	"strings"
)

// trace collects the headers of a distributed trace. If there are several, the order is W3C
// traceparent, B3 single, B3 multiple, Amazon, Jaeger, Datadog, Google Cloud.
type trace struct {
	traceparent, b3, b3Trace, b3Span string
	amzn, uber                       string
	ddTrace, ddParent, ddTags        string
	cloud                            string
}

func (t *trace) add(n Name, value string) {
	switch n {
	case Traceparent:
		first(&t.traceparent, value)
	case B3:
		first(&t.b3, value)
	case B3TraceID:
		first(&t.b3Trace, value)
	case B3SpanID:
		first(&t.b3Span, value)
	case AmznTraceID:
		first(&t.amzn, value)
	case UberTraceID:
		first(&t.uber, value)
	case DatadogTraceID:
		first(&t.ddTrace, value)
	case DatadogParentID:
		first(&t.ddParent, value)
	case DatadogTags:
		first(&t.ddTags, value)
	case CloudTrace:
		first(&t.cloud, value)
	}
}

func first(s *string, v string) {
	if *s == "" {
		*s = v
	}
}

// ids returns the trace id and the span id in lower case hex, empty if no header has a valid
// one.
func (t *trace) ids() (id, span string) {
	if t.traceparent != "" {
		if id, span = traceparent(t.traceparent); id != "" {
			return id, span
		}
	}
	if t.b3 != "" {
		if id, span = b3(t.b3); id != "" {
			return id, span
		}
	}
	if id = hexID(t.b3Trace, 16, 32); id != "" {
		return id, hexID(t.b3Span, 16, 16)
	}
	if t.amzn != "" {
		if id, span = amzn(t.amzn); id != "" {
			return id, span
		}
	}
	if t.uber != "" {
		if id, span = uber(t.uber); id != "" {
			return id, span
		}
	}
	if t.ddTrace != "" {
		if id, span = datadog(t.ddTrace, t.ddParent, t.ddTags); id != "" {
			return id, span
		}
	}
	return cloudTrace(t.cloud)
}

// cloudTrace reads TRACE_ID/SPAN_ID;o=OPTIONS of X-Cloud-Trace-Context. The span id is a decimal number, and may be absent.
func cloudTrace(s string) (id, span string) {
	s, _, _ = strings.Cut(s, ";")
	t, p, _ := strings.Cut(s, "/")
	if id = hexID(t, 32, 32); id == "" {
		return "", ""
	}
	if n, err := strconv.ParseUint(Trim(p), 10, 64); err == nil && n != 0 {
		span = hex64(n)
	}
	return id, span
}

// traceparent reads version-traceid-parentid-flags, W3C Trace Context section 3.2.
func traceparent(s string) (id, span string) {
	s = Trim(s)
	if len(s) < 55 || s[2] != '-' || s[35] != '-' || s[52] != '-' || !isHex(s[:2]) || !isHex(s[53:55]) || Is(s[:2], "ff") ||
		len(s) > 55 && (s[55] != '-' || s[:2] == "00") {
		return "", ""
	}
	id, span = hexID(s[3:35], 32, 32), hexID(s[36:52], 16, 16)
	if id == "" || span == "" {
		return "", ""
	}
	return id, span
}

// b3 reads traceid-spanid[-sampled[-parent]]; "0", "1" and "d" alone identify no trace.
func b3(s string) (id, span string) {
	t, rest, ok := strings.Cut(Trim(s), "-")
	if !ok {
		return "", ""
	}
	p, _, _ := strings.Cut(rest, "-")
	id, span = hexID(t, 16, 32), hexID(p, 16, 16)
	if id == "" || span == "" {
		return "", ""
	}
	return id, span
}

// amzn reads Root=1-TIME-RANDOM;Parent=SPAN;…. The id is written as the 32 hex digits that
// OpenTelemetry uses for it, so that it matches a traceparent.
func amzn(s string) (id, span string) {
	for s != "" {
		var part string
		part, s, _ = strings.Cut(s, ";")
		k, v, _ := strings.Cut(Trim(part), "=")
		switch {
		case Is(k, "root") && len(v) == 35 && v[:2] == "1-" && v[10] == '-':
			id = hexID(v[2:10]+v[11:], 32, 32)
		case Is(k, "parent"):
			span = hexID(v, 16, 16)
		}
	}
	if id == "" {
		return "", ""
	}
	return id, span
}

// uber reads Jaeger's traceid:spanid:parent:flags. Its numbers may lack leading zeros, and its
// colons may be percent-encoded.
func uber(s string) (id, span string) {
	s = Trim(s)
	if strings.Contains(s, "%3") {
		s = strings.ReplaceAll(strings.ReplaceAll(s, "%3A", ":"), "%3a", ":")
	}
	t, rest, ok := strings.Cut(s, ":")
	if !ok {
		return "", ""
	}
	p, _, _ := strings.Cut(rest, ":")
	id, span = hexID(pad(t, 16, 32), 16, 32), hexID(pad(p, 16, 16), 16, 16)
	if id == "" || span == "" {
		return "", ""
	}
	return id, span
}

// datadog converts decimal 64-bit numbers to hex; the upper half of a 128-bit trace id is the
// tag _dd.p.tid.
func datadog(trace, parent, tags string) (id, span string) {
	n, err := strconv.ParseUint(Trim(trace), 10, 64)
	if err != nil || n == 0 {
		return "", ""
	}
	id = hex64(n)
	if _, rest, ok := strings.Cut(tags, "_dd.p.tid="); ok {
		upper, _, _ := strings.Cut(rest, ",")
		if h := hexID(upper, 16, 16); h != "" {
			id = h + id
		}
	}
	if p, err := strconv.ParseUint(Trim(parent), 10, 64); err == nil && p != 0 {
		span = hex64(p)
	}
	return id, span
}

func hex64(n uint64) string { return pad(strconv.FormatUint(n, 16), 16, 16) }

// pad adds leading zeros up to the smaller of the two lengths that can hold s.
func pad(s string, short, long int) string {
	want := short
	if len(s) > short {
		want = long
	}
	if s == "" || len(s) >= want {
		return s
	}
	return strings.Repeat("0", want-len(s)) + s
}

// hexID returns s in lower case if it is hex of one of the two lengths and not all zeros, else
// "".
func hexID(s string, short, long int) string {
	s = Trim(s)
	if len(s) != short && len(s) != long || !isHex(s) || strings.Trim(s, "0") == "" {
		return ""
	}
	return strings.ToLower(s)
}

func isHex(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'f') {
			return false
		}
	}
	return true
}
