package mcp

import (
	"context"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask/search"
)

// TestProgressCountsBytesRead searches for a text and compares the notifications before and
// after.
func TestProgressCountsBytesRead(t *testing.T) {
	c, err := forensics.Open(context.Background(), []string{bundled(t, "http1.pcapng")}, forensics.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	w := &notifier{read: &forensics.Progress{}}
	before := w.notification(2 * time.Second)
	if before.Progress != 2 || before.Total != 0 || before.Message != "reading" {
		t.Errorf("before the first byte: %+v", before)
	}
	if _, err := search.Ask(forensics.WithProgress(context.Background(), w.read), c, search.In{Text: "example"}); err != nil {
		t.Fatal(err)
	}
	done, total := w.read.Bytes()
	after := w.notification(3 * time.Second)
	if done == 0 || done != total || after.Progress != float64(done) || after.Total != float64(total) {
		t.Errorf("%d of %d bytes: %+v", done, total, after)
	}
	if again := w.notification(4 * time.Second); again.Progress <= after.Progress || again.Total != 0 {
		t.Errorf("after %+v came %+v", after, again)
	}
}
