package servicemap_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask/asktest"
)

func TestOverviewCountsCallsWithoutAKnownEnd(t *testing.T) {
	for want, c := range map[bool]*forensics.Case{
		true:  asktest.Bundles(t, forensics.Options{}, asktest.Export(t, []string{asktest.Sample("hard", "one-sided.pcap")}, exporter.Options{})),
		false: asktest.Open(t, "http2.pcap"),
	} {
		o := asktest.Put(t, c, "get_overview", "{}")
		if text := fmt.Sprint(o["summary"]); strings.Contains(text, "the capture does not show how") != want {
			t.Errorf("want %v: %s", want, text)
		}
	}
}
