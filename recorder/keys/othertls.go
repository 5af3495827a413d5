package keys

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/pcapsule/pcapsule/recorder/internal/program"
)

// unsupported are TLS libraries whose keys cannot be read, by the beginning of a library's name
// and by text in programs that contain them.
var unsupported = []struct{ name, file, text string }{
	{"Java's own TLS", "libjvm.so", ""},
	{"NSS", "libnss3.so", ""},
	{"BoringSSL", "", "BoringSSL"},
	{"LibreSSL", "libtls.so", "LibreSSL "},
	{"rustls", "", "rustls-0."},
	{"Mbed TLS", "libmbedtls.so", "mbedtls_ssl_"},
	{"wolfSSL", "libwolfssl.so", "wolfSSL"},
	{"s2n-tls", "libs2n.so", "s2n_negotiate"},
	{"OpenSSL without symbols", "", "ssl/statem/"}, // names of its source files, for errors
}

const maxText = 64 << 20 // of a program's constants that are searched

// otherTLS names a TLS library that a file is, or that a program contains, by its name and its
// texts. It is called only for files in which no supported library was found.
func otherTLS(r io.ReaderAt, size int64, path string, isProgram bool) (name string) {
	if name, err := os.Readlink(path); err == nil {
		path = name
	}
	base := filepath.Base(path)
	for _, u := range unsupported {
		if u.file != "" && strings.HasPrefix(base, u.file) {
			return u.name
		}
	}
	if !isProgram {
		return "" // only programs are searched: a library's texts may be about others
	}
	m, err := program.Open(r, size)
	if err != nil {
		return ""
	}
	if m.IsGo() {
		return "" // Go's own packages name other libraries
	}
	text, err := m.Text(".rodata", maxText)
	if err != nil {
		return ""
	}
	for _, u := range unsupported {
		if u.text != "" && bytes.Contains(text, []byte(u.text)) {
			return u.name
		}
	}
	return ""
}
