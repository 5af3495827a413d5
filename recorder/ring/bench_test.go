package ring

import (
	"fmt"
	"testing"
	"time"
)

// BenchmarkAppend writes packets through to sealed, hashed files. On this project's
// machine (2 cores, Xeon with SHA extensions, ext4), go test -bench Append -cpu 1:
// see docs/design for the numbers of a release.
func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{64, 200, 1500, 45_000} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			w := create(b, Options{Dir: b.TempDir(), MaxBytes: 512 << 20, Patience: 10 * time.Second, OnError: func(err error) { b.Error(err) }})
			s := sockets(b, w)
			var ids []InterfaceID
			for n := range 100 {
				ids = append(ids, declare(b, s, fmt.Sprint("worker-3/shop/web-", n)))
			}
			data := udp(size)
			p := Packet{Prefix: sll2, Data: data, OrigLen: uint32(size + 20), Flags: 1, PID: 7, TID: 8}
			b.SetBytes(int64(size))
			b.ReportAllocs()
			b.ResetTimer()
			for n := range b.N {
				p.Interface, p.Time, p.ID = ids[n%100], epoch+int64(n), uint64(n+1)
				if err := s.Append(&p); err != nil {
					b.Fatal(err)
				}
			}
			finish(b, w)
		})
	}
}
