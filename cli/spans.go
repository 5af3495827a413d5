package cli

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/pcapsule/pcapsule/cli/exit"
	"github.com/pcapsule/pcapsule/cli/otlp"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask/spans"
	"github.com/pcapsule/pcapsule/internal/plural"
	"github.com/pcapsule/pcapsule/internal/version"
)

// otlpHeaders is the variable of the OpenTelemetry specification with headers for a collector, such as a token.
const otlpHeaders = "OTEL_EXPORTER_OTLP_HEADERS"

// exportSpans prints calls as spans, one message of OTLP in JSON per line, or sends them to a collector.
func (e *env) exportSpans(ctx context.Context, cs *forensics.Case, q forensics.Query, endpoint string) error {
	if endpoint != "" {
		return e.sendSpans(ctx, cs, q, endpoint)
	}
	res, calls, err := spans.Lines(ctx, cs, q, version.Release, func(line []byte) error {
		_, err := e.Out.Write(line)
		return err
	})
	if err != nil {
		return e.questionError(err)
	}
	if calls == 0 {
		e.afterTable(ctx, cs, res, 0, false)
	}
	return nil
}

// spanLines is spans.Lines for the servers.
func spanLines(ctx context.Context, c *forensics.Case, q forensics.Query, write func([]byte) error) (int, error) {
	_, calls, err := spans.Lines(ctx, c, q, version.Release, write)
	return calls, err
}

// sendSpans sends calls as spans to a collector.
func (e *env) sendSpans(ctx context.Context, cs *forensics.Case, q forensics.Query, endpoint string) error {
	to, err := collector(endpoint)
	if err != nil {
		return err
	}
	res, calls, err := spans.Each(ctx, cs, q, version.Release, func(t *tracepb.TracesData) error {
		body, err := spans.Proto(t)
		if err == nil {
			err = to.Send(ctx, body)
		}
		return err
	})
	var refused *otlp.Error
	switch {
	case errors.As(err, &refused):
		return exit.With(err, exit.Other, fmt.Sprintf("%s were sent; check the address, and the headers in $%s", plural.Count(int64(calls), "call", "calls"), otlpHeaders))
	case err != nil:
		return e.questionError(err)
	case calls == 0:
		e.afterTable(ctx, cs, res, 0, false)
	default:
		e.Remark("%s sent as %s", plural.Count(int64(calls), "call", "calls"), plural.Count(2*int64(calls), "span", "spans"))
	}
	return nil
}

// collector checks the address of one.
func collector(endpoint string) (*otlp.Collector, error) {
	u, err := url.Parse(endpoint)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
		return nil, exit.Usagef("--endpoint %q: must be a URL such as http://localhost:4318", endpoint)
	}
	c := &otlp.Collector{URL: u, Headers: map[string]string{}}
	for pair := range strings.SplitSeq(os.Getenv(otlpHeaders), ",") {
		name, value, ok := strings.Cut(pair, "=")
		plain, err := url.PathUnescape(strings.TrimSpace(value))
		if pair != "" && (!ok || err != nil || strings.TrimSpace(name) == "") {
			return nil, exit.Usagef("$%s: must be NAME=VALUE, separated by commas", otlpHeaders)
		}
		if pair != "" {
			c.Headers[strings.TrimSpace(name)] = plain
		}
	}
	return c, nil
}
