package secrets

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha512"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"runtime"
	"testing"
)

// manyLines is a key log of n lines that needs no memory: five for each connection, all of
// the same length, with generated values.
type manyLines struct{ n int64 }

var lineLabels = [5]string{"CLIENT_HANDSHAKE_TRAFFIC_SECRET ", "SERVER_HANDSHAKE_TRAFFIC_SECRET ", "CLIENT_TRAFFIC_SECRET_0         ", "SERVER_TRAFFIC_SECRET_0         ", "EXPORTER_SECRET                 "}

const manyLine = 32 + 64 + 1 + 64 + 1

func (m manyLines) size() int64 { return m.n * manyLine }

func manyRandom(i int64) []byte {
	v := sha512.Sum512(binary.BigEndian.AppendUint64(nil, uint64(i/5)))
	return v[:32]
}

func (m manyLines) line(i int64, dst []byte) {
	v := sha512.Sum512(binary.BigEndian.AppendUint64(nil, uint64(i/5)))
	v[63] ^= byte(i % 5)
	n := copy(dst, lineLabels[i%5])
	n += hex.Encode(dst[n:], v[:32])
	dst[n] = ' '
	n++
	n += hex.Encode(dst[n:], v[32:])
	dst[n] = '\n'
}

func (m manyLines) ReadAt(b []byte, off int64) (int, error) {
	var buf [manyLine]byte
	done := 0
	for done < len(b) {
		i := off / manyLine
		if i >= m.n {
			return done, io.EOF
		}
		m.line(i, buf[:])
		n := copy(b[done:], buf[off%manyLine:])
		done, off = done+n, off+int64(n)
	}
	return done, nil
}

func BenchmarkKeyLog(b *testing.B) {
	const n = 1 << 20
	text := make([]byte, manyLines{n}.size())
	manyLines{n}.ReadAt(text, 0)
	b.SetBytes(int64(len(text)))
	b.ResetTimer()
	for range b.N {
		s := NewStore()
		if err := s.AddLog("many", bytes.NewReader(text), int64(len(text))); err != nil {
			b.Fatal(err)
		}
		s.Ready()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/line")
}

func BenchmarkFind(b *testing.B) {
	const n = 1 << 20
	text := make([]byte, manyLines{n}.size())
	manyLines{n}.ReadAt(text, 0)
	s := NewStore()
	if err := s.AddLog("many", bytes.NewReader(text), int64(len(text))); err != nil {
		b.Fatal(err)
	}
	s.Ready()
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		if got := s.Find(manyRandom(int64(i % n))); len(got) != 5 {
			b.Fatal(len(got))
		}
	}
}

func BenchmarkFindNothing(b *testing.B) {
	const n = 1 << 20
	s := NewStore()
	if err := s.AddLog("many", manyLines{n}, manyLines{n}.size()); err != nil {
		b.Fatal(err)
	}
	s.Ready()
	id := fixed(1, 32)
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		if s.Find(id) != nil {
			b.Fatal("found")
		}
	}
}

// TestManyLines checks that a line needs little more than 16 bytes. PCAPSULE_KEYLOG_LINES=10000000
// tests the size that the package promises.
func TestManyLines(t *testing.T) {
	n := int64(200000)
	if v := os.Getenv("PCAPSULE_KEYLOG_LINES"); v != "" {
		if _, err := fmt.Sscan(v, &n); err != nil {
			t.Fatal(err)
		}
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	m := manyLines{n}
	s := NewStore()
	if err := s.AddLog("many", m, m.size()); err != nil {
		t.Fatal(err)
	}
	s.Ready()
	runtime.ReadMemStats(&after)
	grown := int64(after.HeapSys) - int64(before.HeapSys)
	t.Logf("%d lines: heap grew by %d bytes, %d per line; allocated %d in total", n, grown, grown/n, after.TotalAlloc-before.TotalAlloc)
	if most := 18*n + 12<<20; grown > most { // the heap grows by 4 MiB at a time
		t.Errorf("heap grew by %d bytes, want at most %d", grown, most)
	}
	if st := s.Stats()[0]; st.Keys != n || st.Lines != n || st.Duplicates != 0 || st.Conflicts != 0 || st.Wrong != 0 {
		t.Errorf("%+v", st)
	}
	for i := int64(0); i < n; i += n / 100 {
		got := s.Find(manyRandom(i))
		if len(got) != 5 || got[0].Label != ClientHandshakeTraffic || got[4].Label != Exporter {
			t.Fatalf("line %d: %v", i, got)
		}
	}
	if got := s.Randoms(10); len(got) != 10 || !bytes.Equal(got[3], manyRandom(15)) {
		t.Errorf("randoms %x", got)
	}
}

func benchmarkOpen(b *testing.B, id uint16) {
	s := SuiteOf(id)
	r := seal13(b, s, fixed(1, s.Hash.Size()), tlsPrefix, nil, 5, append(make([]byte, 16<<10), 23))
	o, err := Open13(s, fixed(1, s.Hash.Size()))
	if err != nil {
		b.Fatal(err)
	}
	dst := make([]byte, 0, 17<<10)
	b.SetBytes(16 << 10)
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		if _, _, err := o.Open(dst, r); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpenAES128GCM(b *testing.B) { benchmarkOpen(b, 0x1301) }
func BenchmarkOpenAES256GCM(b *testing.B) { benchmarkOpen(b, 0x1302) }
func BenchmarkOpenChaCha20(b *testing.B)  { benchmarkOpen(b, 0x1303) }
func BenchmarkOpenAES128CCM(b *testing.B) { benchmarkOpen(b, 0x1304) }

func BenchmarkStandardAES128GCM(b *testing.B) {
	block, err := aes.NewCipher(make([]byte, 16))
	if err != nil {
		b.Fatal(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		b.Fatal(err)
	}
	var nonce [12]byte
	sealed := aead.Seal(nil, nonce[:], make([]byte, 16<<10+1), nonce[:5])
	dst := make([]byte, 0, 17<<10)
	b.SetBytes(16 << 10)
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		if _, err := aead.Open(dst, nonce[:], sealed, nonce[:5]); err != nil {
			b.Fatal(err)
		}
	}
}

func benchmarkOpenOld(b *testing.B, version, id uint16, etm bool) {
	sealers, openers := oldPair(b, version, SuiteOf(id), etm)
	r := sealers[0].seal(23, make([]byte, 16<<10))
	dst := make([]byte, 0, 20<<10)
	b.SetBytes(16 << 10)
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		if _, _, err := openers[0].Open(dst, &r); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpen12AES128GCM(b *testing.B)    { benchmarkOpenOld(b, TLS12, 0x009c, false) }
func BenchmarkOpen12AES128CBC(b *testing.B)    { benchmarkOpenOld(b, TLS12, 0x002f, false) }
func BenchmarkOpen12AES256SHA384(b *testing.B) { benchmarkOpenOld(b, TLS12, 0xc028, true) }

func benchmarkSearch(b *testing.B, o *Opener, r *Record, n uint64) {
	b.ReportAllocs()
	for range b.N {
		if _, ok := o.Search(r, r.Seq+1, n); ok {
			b.Fatal("found a number that does not exist")
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/number")
}

func BenchmarkSearchGCM13(b *testing.B) {
	s := SuiteOf(0x1301)
	o, err := Open13(s, fixed(1, 32))
	if err != nil {
		b.Fatal(err)
	}
	benchmarkSearch(b, o, seal13(b, s, fixed(1, 32), tlsPrefix, nil, 5, append(make([]byte, 16<<10), 23)), 1<<20)
}

func BenchmarkSearchGCM12(b *testing.B) {
	sealers, openers := oldPair(b, TLS12, SuiteOf(0x009c), false)
	r := sealers[0].seal(23, make([]byte, 16<<10))
	benchmarkSearch(b, openers[0], &r, 1<<20)
}

func BenchmarkSearchChaCha(b *testing.B) {
	s := SuiteOf(0x1303)
	o, err := Open13(s, fixed(1, 32))
	if err != nil {
		b.Fatal(err)
	}
	benchmarkSearch(b, o, seal13(b, s, fixed(1, 32), tlsPrefix, nil, 5, append(make([]byte, 1000), 23)), 1000)
}

func BenchmarkSearchCBC(b *testing.B) {
	sealers, openers := oldPair(b, TLS12, SuiteOf(0x002f), false)
	r := sealers[0].seal(23, make([]byte, 1000))
	benchmarkSearch(b, openers[0], &r, 1000)
}

func BenchmarkQUICPacket(b *testing.B) {
	for _, id := range []uint16{0x1301, 0x1303} {
		b.Run(SuiteOf(id).Name, func(b *testing.B) {
			k, err := QUICKeys(QUICv1, SuiteOf(id), fixed(1, 32))
			if err != nil {
				b.Fatal(err)
			}
			packet, header, at := sealQUIC(b, k, 0x40, []byte("12345678"), 1000, 2, make([]byte, 1200))
			dst := make([]byte, 0, 1500)
			b.SetBytes(int64(len(packet)))
			b.ReportAllocs()
			for range b.N {
				if _, _, _, err := k.Unmask(packet, at); err != nil {
					b.Fatal(err)
				}
				if _, err := k.Open(dst, 1000, header, packet[len(header):]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkKeys(b *testing.B) {
	b.Run("TLS 1.3", func(b *testing.B) {
		b.ReportAllocs()
		for range b.N {
			Open13(SuiteOf(0x1301), fixed(1, 32))
		}
	})
	b.Run("TLS 1.2", func(b *testing.B) {
		b.ReportAllocs()
		for range b.N {
			Open12(TLS12, SuiteOf(0x009c), false, fixed(1, 48), fixed(1, 32), fixed(1, 32))
		}
	})
	b.Run("QUIC", func(b *testing.B) {
		b.ReportAllocs()
		for range b.N {
			QUICInitial(QUICv1, originalID)
		}
	})
}
