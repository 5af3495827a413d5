package program

import (
	"bytes"
	"testing"
)

func FuzzFile(f *testing.F) {
	b := make([]byte, 600)
	copy(b, "\x7fELF\x02\x01\x01")
	b[18], b[32], b[40], b[54], b[56], b[58], b[60], b[62] = 62, 64, 120, 56, 1, 64, 5, 1
	b[64] = 1
	f.Add(b)
	f.Add([]byte("\x7fELF"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Open(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		if all, err := m.GoFunctions("main.main", "runtime.goexit"); err == nil {
			for _, f := range all {
				for _, x := range f {
					m.Returns(x)
				}
			}
		}
		m.Returns(Span{0, uint64(len(b))})
		m.Entry()
		if v := m.GoVersion(); len(v) > maxVersion {
			t.Errorf("version %q", v)
		}
		m.Functions("SSL_free", "SSL_do_handshake")
		if id, err := m.BuildID(); (id == "") == (err == nil) {
			t.Error("neither or both of id and error", id, err)
		}
	})
}
