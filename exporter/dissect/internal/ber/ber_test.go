package ber

import "testing"

func TestHeader(t *testing.T) {
	for _, c := range []struct {
		name, in string
		tag      byte
		length   int64
		size     int
	}{
		{"a short length", "\x30\x05", 0x30, 5, 2},
		{"a length in two bytes", "\x04\x82\x01\x00", 4, 256, 4},
		{"10 GB", "\x04\x85\x02\x54\x0b\xe4\x00", 4, 10_000_000_000, 7},
		{"the length is not complete", "\x04\x82\x01", 4, 0, 0},
		{"nothing", "", 0, 0, 0},
		{"an indefinite length", "\x30\x80", 0x30, 0, -1},
		{"a length beyond everything", "\x30\x88\xff\xff\xff\xff\xff\xff\xff\xff", 0x30, 0, -1},
		{"a tag of two bytes", "\x1f\x81\x01", 0x1f, 0, -1},
	} {
		if tag, length, size := Header([]byte(c.in)); tag != c.tag || length != c.length || size != c.size {
			t.Errorf("%s: tag %#x, length %d, size %d, want %#x, %d, %d", c.name, tag, length, size, c.tag, c.length, c.size)
		}
	}
}

func TestReader(t *testing.T) {
	r := New([]byte("\x30\x06\x02\x01\xff\x0a\x01\x05\x04\x09abc"))
	s := r.Enter(Sequence)
	if a, b := s.Int(Integer), s.Int(Enumerated); a != -1 || b != 5 || s.Bad() || s.More() {
		t.Errorf("%d, %d, bad %v, more %v", a, b, s.Bad(), s.More())
	}
	if _, body := r.Next(); body != nil || !r.Bad() {
		t.Errorf("an element longer than its parent gives %q, bad %v", body, r.Bad())
	}
	if r.Expect(Octets) != nil || r.More() || r.Peek() != 0 {
		t.Error("a reader continues after an error")
	}
	w := New([]byte("\x02\x01\x01"))
	if w.Expect(Octets) != nil || !w.Bad() {
		t.Error("another tag is accepted")
	}
}

func TestOID(t *testing.T) {
	for in, want := range map[string]string{
		"\x2b\x06\x01\x02\x01": "1.3.6.1.2.1", "\x88\x37\x03": "2.999.3", "\x2a\x86\x48\x86\xf7\x12\x01\x02\x02": "1.2.840.113554.1.2.2",
		"\x2b\x86": "", "": "", "\x2b\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01": "",
	} {
		if got, ok := AppendOID(nil, []byte(in)); ok != (want != "") || ok && string(got) != want {
			t.Errorf("%x: %s %v, want %q", in, got, ok, want)
		}
	}
}
