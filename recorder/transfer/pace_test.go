package transfer

import (
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// TestPace: the connections of a listener share the limit, and all bytes arrive.
func TestPace(t *testing.T) {
	for _, tt := range []struct {
		name      string
		perSecond int64
		least     time.Duration
	}{{"a limit", 4 << 20, 200 * time.Millisecond}, {"none", 0, 0}} {
		t.Run(tt.name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			p := Pace(l, tt.perSecond)
			var all sync.WaitGroup
			begin := time.Now()
			for range 2 {
				all.Go(func() {
					c, err := net.Dial("tcp", l.Addr().String())
					if err != nil {
						t.Error(err)
						return
					}
					defer c.Close()
					if n, err := io.Copy(io.Discard, c); n != 500<<10 || err != nil {
						t.Errorf("%d bytes arrived, %v", n, err)
					}
				})
				c, err := p.Accept()
				if err != nil {
					t.Fatal(err)
				}
				all.Go(func() {
					defer c.Close()
					if n, err := c.Write(make([]byte, 500<<10)); n != 500<<10 || err != nil {
						t.Errorf("%d bytes were written, %v", n, err)
					}
				})
			}
			all.Wait()
			if took := time.Since(begin); took < tt.least {
				t.Errorf("a million bytes took %s", took)
			}
		})
	}
}
