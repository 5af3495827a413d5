package ring

import (
	"fmt"
	"testing"
	"time"
)

// BenchmarkAppend writes packets to sealed, hashed segments.
//
// TMPDIR=/dev/shm go test -run xxx -bench Append ./recorder/ring, 2026-11-20, two virtual
// CPUs of an AMD EPYC with SHA extensions, shared with other work:
//
//	packet   2 CPUs            -cpu 1
//	64       168 ns, 6.0 M/s   286 ns, 3.5 M/s
//	200      346 ns, 2.9 M/s   417 ns, 2.4 M/s
//	1,500    1.6 µs            2.0 µs
//	45,000   53 µs, 857 MB/s   68 µs, 665 MB/s
//
// Append itself is 20 ns of it. SHA-256 costs 0.55 CPU seconds a GB, and copying into the
// page cache as much; the writer does both, on another CPU if there is one.
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
