package otlp

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
)

// TestSend is a collector that answers in different ways. Its answers are made by the collector's own library.
func TestSend(t *testing.T) {
	answer := func(rejected int64, text string) string {
		r := ptraceotlp.NewExportResponse()
		if rejected > 0 {
			r.PartialSuccess().SetRejectedSpans(rejected)
		}
		r.PartialSuccess().SetErrorMessage(text)
		raw, err := r.MarshalProto()
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	for _, tt := range []struct {
		name    string
		codes   []int // of the answers; the last one repeats
		body    string
		path    string
		asked   int
		to      string
		want    string // part of the error; empty: none
		waiting string
	}{
		{"taken", []int{200}, "", "", 1, "/v1/traces", "", ""},
		{"taken, with an empty answer", []int{202}, answer(0, ""), "/", 1, "/v1/traces", "", ""},
		{"another path", []int{200}, "", "/custom", 1, "/custom", "", ""},
		{"taken at the third try", []int{503, 429, 200}, "", "", 3, "/v1/traces", "", "0"},
		{"never taken", []int{503}, "", "", tries, "/v1/traces", "503", ""},
		{"refused", []int{401}, "", "", 1, "/v1/traces", "401", ""},
		{"a warning", []int{200}, answer(0, "old schema"), "", 1, "/v1/traces", "", ""},
		{"some are rejected", []int{200}, answer(3, "too old"), "", 1, "/v1/traces", `rejected 3 spans: "too old"`, ""},
		{"not a message", []int{200}, "<html>", "", 1, "/v1/traces", "not a message", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			asked := 0
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, err := io.ReadAll(r.Body)
				if err != nil || string(body) != "spans" || r.Header.Get("Content-Type") != "application/x-protobuf" || r.Header.Get("Authorization") != "Bearer x" || r.URL.Path != tt.to {
					t.Errorf("%q %v %s, %v", body, r.Header, r.URL, err)
				}
				code := tt.codes[min(asked, len(tt.codes)-1)]
				asked++
				if tt.waiting != "" {
					w.Header().Set("Retry-After", tt.waiting)
				}
				w.WriteHeader(code)
				io.WriteString(w, tt.body)
			}))
			defer s.Close()
			u, err := url.Parse(s.URL + tt.path)
			if err != nil {
				t.Fatal(err)
			}
			c := &Collector{URL: u, Headers: map[string]string{"Authorization": "Bearer x"}, wait: time.Millisecond}
			err = c.Send(t.Context(), []byte("spans"))
			var e *Error
			if asked != tt.asked || (err == nil) != (tt.want == "") || err != nil && (!errors.As(err, &e) || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("asked %d times, %v; want %d times, %q", asked, err, tt.asked, tt.want)
			}
		})
	}
}

func TestSendNowhere(t *testing.T) {
	u, err := url.Parse("http://127.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	var e *Error
	if err := (&Collector{URL: u, wait: time.Millisecond}).Send(t.Context(), nil); !errors.As(err, &e) {
		t.Errorf("nobody listens: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := (&Collector{URL: u}).Send(ctx, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
}
