package object

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/table"
)

const form = "--b\r\nContent-Disposition: form-data; name=\"note\"\r\n\r\nhello\r\n--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a.bin\"\r\nContent-Type: application/octet-stream\r\n\r\n\x00\r\n--bx\r\n\r\n\r\n--b--\r\n"

const mail = "Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed;\r\n boundary=\"out er\"\r\n\r\npreamble\r\n--out er\r\nContent-Type: multipart/alternative; boundary=in\r\n\r\n--in\r\n\r\ntext\r\n" +
	"--in\r\nContent-Type: text/html\r\n\r\n<p>\r\n--in--\r\n\r\n--out er\r\nContent-Type: application/pdf\r\nContent-Transfer-Encoding: Base64\r\nContent-Disposition: attachment;\r\n filename*=UTF-8''caf%C3%A9.pdf\r\n\r\n" +
	"JVBERi0x\r\nLjQK\r\n--out er\r\nContent-Type: text/plain; name=\"=?utf-8?q?n=C3=B6te=2Etxt?=\"\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\na =\r\nb=3D \r\n--out er\r\nContent-Type: message/rfc822\r\n\r\n" +
	"Subject: inner\r\nContent-Type: image/gif; name=i.gif\r\n\r\nGIF89a\r\n--out er--\r\nepilogue"

func TestScanner(t *testing.T) {
	for _, c := range []struct{ name, kind, body, want string }{
		{"a form: a field is no file, and a line like the boundary belongs to the content", "multipart/form-data; boundary=b", form, `2 a.bin disposition "\x00\r\n--bx\r\n\r\n" application/octet-stream`},
		{"a mail", "message/rfc822", mail, `2 café.pdf disposition "%PDF-1.4\n" application/pdf|3 nöte.txt type "a b=" text/plain|4   "Subject: inner\r\nContent-Type: image/gif; name=i.gif\r\n\r\nGIF89a" message/rfc822|4.0 i.gif type "GIF89a" image/gif`},
		{"a mail that is one file", "message/rfc822", "Content-Type: application/zip\nContent-Transfer-Encoding: base64\n\nUEsDBA==\n", `1   "PK\x03\x04" application/zip`},
		{"a form that is cut", "multipart/form-data; boundary=b", form[:len(form)-9], `2 a.bin disposition "\x00\r\n--bx\r\n\r\n" application/octet-stream cut`},
		{"base64 with damage", "message/rfc822", "Content-Type: application/zip\r\nContent-Transfer-Encoding: base64\r\n\r\nUEsD!BA==\r\n", `1   "PK\x03\x04" application/zip decoding`},
		{"a quoted name without an end, and no parameter syntax", "multipart/form-data; boundary=b", "--b\nContent-Disposition: form-data; name=x; filename=../../a b.sh; filename=c\n\n#!/bin/sh\n--b--", `1 ../../a b.sh disposition "#!/bin/sh" text/x-shellscript`},
		{"no boundary", "multipart/form-data", form, "none"},
		{"no multipart", "text/plain", form, "none"},
		{"a plain mail", "message/rfc822", "Subject: a\r\n\r\ntext\r\n", ""},
		{"empty parts", "multipart/mixed; boundary=b", "--b\r\n--b\r\n\r\n--b--", ""},
	} {
		for _, step := range []int{1, 3, 1000} {
			if got := scan(t, c.kind, c.body, step); got != c.want {
				t.Errorf("%s, in steps of %d:\n got %s\nwant %s", c.name, step, got, c.want)
			}
		}
	}
}

// scan reads a body in steps, makes each file again from the body, and describes them.
func scan(t *testing.T, kind, body string, step int) string {
	s := NewScanner(kind)
	if s == nil {
		return "none"
	}
	for rest := body; len(rest) > 0; rest = rest[min(step, len(rest)):] {
		s.Write([]byte(rest[:min(step, len(rest))]))
	}
	files, _ := s.Close("")
	var list []string
	for _, f := range files {
		data := again(body, &f)
		if table.Hash(sha256.Sum256(data)) != f.SHA256 || int64(len(data)) != f.Length {
			t.Errorf("file %s: %q is not what was hashed (%d bytes)", f.Name, data, f.Length)
		}
		list = append(list, strings.TrimSpace(fmt.Sprintf("%s %s %s %q %s %s", f.Part, f.Name, f.NamedBy, data, f.Kind, f.Why)))
	}
	return strings.Join(list, "|")
}

// again makes a file from its body.
func again(body string, f *File) []byte {
	var out bytes.Buffer
	d := NewDecoder(f.Transfer, &out)
	io.WriteString(d, body[f.Offset:f.Offset+f.Size])
	if c, ok := d.(io.Closer); ok {
		_ = c.Close()
	}
	return out.Bytes()
}

func TestScannerIsBounded(t *testing.T) {
	deep := strings.Repeat("Content-Type: message/rfc822\n\n", 5000)
	many := strings.Repeat("--b\nContent-Disposition: attachment\n\nx\n", 5000)
	for _, c := range []struct{ kind, body string }{{"message/rfc822", deep}, {"multipart/mixed; boundary=b", many}, {"multipart/mixed; boundary=b", "--b\nA: " + strings.Repeat("a", 1<<20)}} {
		s := NewScanner(c.kind)
		s.Write([]byte(c.body))
		if files, more := s.Close(""); len(files) > maxFiles || len(s.levels) > maxLevels || len(c.body) < 1<<20 && !more || len(s.kept) > maxLine {
			t.Errorf("%.40q: %d files, more %v", c.body, len(files), more)
		}
	}
}

func TestPayload(t *testing.T) {
	for kind, want := range map[string]bool{"": true, "application/json": true, "application/problem+json": true, "text/plain": true, "application/grpc-web+proto": true,
		"image/svg+xml": false, "text/html": false, "application/zip": false, "application/octet-stream": false, "application/vnd.ms-excel": false} {
		if Payload(kind) != want {
			t.Errorf("Payload(%q) = %v", kind, !want)
		}
	}
}

func FuzzScanner(f *testing.F) {
	f.Add("multipart/form-data; boundary=b", form, 3)
	f.Add("message/rfc822", mail, 7)
	f.Fuzz(func(t *testing.T, kind, body string, step int) {
		if step < 1 || step > 1<<16 {
			return
		}
		if a, b := scan(t, kind, body, step), scan(t, kind, body, len(body)+1); a != b {
			t.Errorf("in steps of %d: %s\nat once: %s", step, a, b)
		}
	})
}
