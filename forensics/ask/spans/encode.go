package spans

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/pcapsule/pcapsule/forensics"
)

// JSON is a message as OTLP writes it in JSON: that of Protocol Buffers, with numbers for enumerations, and hexadecimal ids.
// Equal messages give equal bytes.
func JSON(t *tracepb.TracesData) ([]byte, error) {
	raw, err := protojson.MarshalOptions{UseEnumNumbers: true}.Marshal(t)
	if err != nil {
		return nil, fmt.Errorf("encoding spans: %w", err)
	}
	var v any
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		return nil, fmt.Errorf("encoding spans: %w", err)
	}
	if err := hexIDs(v); err != nil {
		return nil, err
	}
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	err = e.Encode(v)
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), err
}

// Lines is Each with messages as JSON, for readers of one message per line.
func Lines(ctx context.Context, c *forensics.Case, q forensics.Query, release string, write func(line []byte) error) (*forensics.Result, int, error) {
	return Each(ctx, c, q, release, func(t *tracepb.TracesData) error {
		line, err := JSON(t)
		if err == nil {
			err = write(append(line, '\n'))
		}
		return err
	})
}

// hexIDs writes ids in hexadecimal digits, which Protocol Buffers write in base64.
func hexIDs(v any) error {
	switch v := v.(type) {
	case []any:
		for _, x := range v {
			if err := hexIDs(x); err != nil {
				return err
			}
		}
	case map[string]any:
		for key, x := range v {
			text, ok := x.(string)
			if !ok || key != "traceId" && key != "spanId" && key != "parentSpanId" {
				if err := hexIDs(x); err != nil {
					return err
				}
				continue
			}
			id, err := base64.StdEncoding.DecodeString(text)
			if err != nil {
				return fmt.Errorf("encoding spans: %w", err)
			}
			v[key] = hex.EncodeToString(id)
		}
	}
	return nil
}

// Proto is a message as the body of a request of OTLP over HTTP. Equal messages give equal bytes.
func Proto(t *tracepb.TracesData) ([]byte, error) {
	return proto.MarshalOptions{Deterministic: true}.Marshal(t) // it has the fields of ExportTraceServiceRequest
}
