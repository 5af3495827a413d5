package cli

import (
	"context"
	"fmt"
	"testing"

	"github.com/pcapsule/pcapsule/cli/exit"
	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/recorder/filter"
)

func TestExitCodeOfFilters(t *testing.T) {
	_, invalid := filter.Compile("tcp prt 80", 1, 0)
	_, unsupported := filter.Compile("tcp", 195, 0)
	for _, tt := range []struct {
		name string
		err  error
		code int
	}{
		{"an invalid filter", fmt.Errorf("making a bundle: %w", invalid), exit.Syntax},
		{"a filter that the link type does not support", &exporter.InputError{Path: "a.pcap", Err: unsupported}, exit.NotCapture},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code := exitCode(context.Background(), tt.err)
			if code != tt.code {
				t.Errorf("got %d, want %d", code, tt.code)
			}
			if hint(tt.err, code, "pcapsule bundle") == "" {
				t.Error("no hint")
			}
		})
	}
}
