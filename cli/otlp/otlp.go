// Package otlp sends messages to a collector of OpenTelemetry by OTLP over HTTP, with Protocol Buffers
// (https://opentelemetry.io/docs/specs/otlp/#otlphttp).
package otlp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// Limits.
const (
	tries     = 5
	timeout   = 30 * time.Second // of one request
	maxAnswer = 1 << 20
	maxWait   = time.Minute
)

// Collector is where spans go.
type Collector struct {
	URL     *url.URL // without a path: /v1/traces is added
	Headers map[string]string

	wait time.Duration // before the second try; 0: a second
}

// Error is an answer of a collector that did not take spans, or none.
type Error struct {
	URL string
	Err error
}

func (e *Error) Error() string { return fmt.Sprintf("sending spans to %s: %v", e.URL, e.Err) }
func (e *Error) Unwrap() error { return e.Err }

// Send sends an ExportTraceServiceRequest. It tries again if the collector says that it may take it later, or does not
// answer. A part that the collector rejects is an *Error too.
func (c *Collector) Send(ctx context.Context, body []byte) error {
	u := *c.URL
	if strings.Trim(u.Path, "/") == "" {
		u.Path = "/v1/traces"
	}
	wait := c.wait
	if wait == 0 {
		wait = time.Second
	}
	for try := 1; ; try++ {
		again, after, err := c.post(ctx, u.String(), body)
		if err == nil || ctx.Err() != nil || !again || try == tries {
			if err != nil && ctx.Err() == nil {
				err = &Error{u.Redacted(), err}
			}
			return err
		}
		select {
		case <-time.After(min(max(wait, after), maxWait)):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		wait *= 2
	}
}

// again are the answers after which the specification asks for another try.
var again = []int{http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout}

func (c *Collector) post(ctx context.Context, to string, body []byte) (retry bool, after time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(body))
	if err != nil {
		return false, 0, err
	}
	for name, value := range c.Headers {
		req.Header.Set(name, value)
	}
	req.Header.Set("Content-Type", "application/x-protobuf")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return true, 0, err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	switch {
	case res.StatusCode/100 != 2:
		if seconds, err := strconv.Atoi(res.Header.Get("Retry-After")); err == nil && seconds > 0 {
			after = time.Duration(min(seconds, int(maxWait/time.Second))) * time.Second
		}
		return slices.Contains(again, res.StatusCode), after, fmt.Errorf("the collector answers %s", res.Status)
	case err != nil:
		return false, 0, err
	}
	return false, 0, rejected(answer)
}

// rejected reads ExportTraceServiceResponse: field 1 is the partial success, with the number of rejected spans in field 1
// and a message in field 2.
func rejected(answer []byte) error {
	var count uint64
	var text string
	err := fields(answer, func(no protowire.Number, _ uint64, part []byte) error {
		if no != 1 {
			return nil
		}
		return fields(part, func(no protowire.Number, n uint64, b []byte) error {
			switch no {
			case 1:
				count = n
			case 2:
				text = string(b)
			}
			return nil
		})
	})
	if err != nil {
		return fmt.Errorf("reading the collector's answer: %w", err)
	}
	if count > 0 {
		return fmt.Errorf("the collector rejected %d spans: %.200q", count, text)
	}
	return nil
}

// fields visits the fields of a message.
func fields(b []byte, visit func(no protowire.Number, n uint64, part []byte) error) error {
	for len(b) > 0 {
		no, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return errors.New("not a message of OTLP")
		}
		b = b[n:]
		size := protowire.ConsumeFieldValue(no, kind, b)
		if size < 0 {
			return errors.New("not a message of OTLP")
		}
		var number uint64
		var part []byte
		switch kind {
		case protowire.VarintType:
			number, _ = protowire.ConsumeVarint(b)
		case protowire.BytesType:
			part, _ = protowire.ConsumeBytes(b)
		}
		if err := visit(no, number, part); err != nil {
			return err
		}
		b = b[size:]
	}
	return nil
}
