//go:build amd64 || arm64

package keys

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	bpf "github.com/pcapsule/pcapsule/bpf/keys"
	"github.com/pcapsule/pcapsule/recorder/internal/machine"
	"github.com/pcapsule/pcapsule/recorder/internal/program"
)

// Probe tests whether keys and plaintext can be read on this machine. It loads the programs and
// briefly attaches a probe to this program's own file. No process is chosen. ends is the reason if
// plaintext has no addresses, else nil.
func Probe() (ends, err error) {
	if !machine.InFirstPIDs() {
		return nil, ErrNamespace
	}
	progs, err := bpf.Load(1 << 16)
	if err != nil {
		return nil, err
	}
	defer progs.Close()
	plain, err := progs.LoadPlain(1 << 20)
	if err != nil {
		return nil, err
	}
	defer plain.Close()
	f, err := os.Open("/proc/self/exe")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	m, err := program.Open(f, st.Size())
	if err != nil {
		return nil, err
	}
	at, err := m.Entry()
	if err != nil {
		return nil, err
	}
	link, err := progs.Go("/proc/self/exe", 0, at)
	if err != nil {
		return nil, fmt.Errorf("probing this program: %w", err)
	}
	return plain.Sockets, link.Close()
}

// looked is the result of examining a file, for all processes that use it.
type looked struct {
	keys, plain                 Able
	library                     Library
	version, build              string
	reason                      Reason
	detail, plainDetail, method string
}

// Inspect reports the readable keys of the processes of this machine that have a TLS library, or of
// those that choose accepts. layouts is the folder of layouts learned earlier. It reads program
// files and attaches nothing.
func Inspect(choose func(pid uint32, executable string) bool, layouts string) []Ability {
	files := map[fileID]*looked{}
	var list []Ability
	for _, pid := range machine.PIDs() {
		r, ok := look(pid)
		if !ok || choose != nil && !choose(pid, r.exe) {
			continue
		}
		list = append(list, inspect(files, &r, choose != nil, layouts)...)
	}
	slices.SortStableFunc(list, func(a, b Ability) int { return cmp.Compare(a.PID, b.PID) })
	return list
}

// inspect examines the files of one process.
func inspect(files map[fileID]*looked, r *running, always bool, layouts string) (list []Ability) {
	mapped, _ := mappedFiles(r.pid) // none of a process that has ended
	paths := append([]string{machine.Path(r.pid, "exe")}, mapped...)
	seen := map[fileID]bool{}
	crypto := ""
	for _, p := range paths {
		x, id, name := lookAt(files, p, layouts)
		if x == nil || seen[id] {
			continue
		}
		seen[id] = true
		if x.library == Unknown && strings.HasPrefix(filepath.Base(name), "libcrypto") {
			crypto = x.version
		}
		if x.library == Unknown {
			continue
		}
		a := Ability{PID: r.pid, Executable: r.exe, File: name, Library: x.library.String(), Version: x.version, BuildID: x.build, Keys: x.keys, Method: x.method, Reason: x.reason,
			Plaintext: x.plain, Detail: x.detail}
		if a.Detail == "" {
			a.Detail = x.plainDetail
		}
		a.Need = x.need()
		list = append(list, a)
		if x.library == Go {
			return list // libraries that cgo loads are not followed
		}
	}
	for i := range list {
		if list[i].Library == OpenSSL.String() && list[i].Version == "" {
			list[i].Version = crypto
		}
	}
	if len(list) == 0 && always {
		list = append(list, Ability{PID: r.pid, Executable: r.exe, Library: Unknown.String(), Keys: No, Reason: NoTLS, Plaintext: No,
			Need: "Go's crypto/tls, and OpenSSL and GnuTLS with symbols are supported; use a key log for other libraries"})
	}
	return list
}

// need describes how to make keys readable.
func (x *looked) need() string {
	switch {
	case x.keys == Learns:
		return "record some connections of this program from their first packet, with --keys; the layout is learned from them"
	case x.keys == Yes:
		return ""
	case x.reason == BadVersion && x.library == Go:
		return "build the program with Go 1.20 or later, for this machine"
	case x.plain == Yes:
		return "use --plaintext, or have the program write a key log"
	}
	return "have the program write a key log (SSLKEYLOGFILE, if supported), or use a build with symbols"
}

// lookAt examines a file once.
func lookAt(files map[fileID]*looked, path, layouts string) (x *looked, id fileID, name string) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, id, ""
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, id, ""
	}
	if name, err = os.Readlink(path); err != nil {
		name = path
	}
	id = fileID{st.Dev, st.Ino, st.Ctim.Nano()}
	if x = files[id]; x != nil {
		return x, id, name
	}
	x = &looked{keys: No, plain: No}
	if len(files) < maxFiles {
		files[id] = x
	}
	m, err := program.Open(f, st.Size)
	if err != nil {
		return x, id, name
	}
	keys, reason, detail := analyse(f, st.Size, false)
	plain, _, plainDetail := analyse(f, st.Size, true)
	x.library, x.reason, x.detail = keys.library, reason, detail
	if x.library == Unknown {
		x.library = plain.library
	}
	if plain.library != Unknown {
		x.plain = Yes
	} else {
		x.plainDetail = plainDetail
	}
	isGo := m.IsGo()
	switch {
	case keys.library == Go:
		x.keys, x.method = Yes, "a crypto/tls function in the program's function table"
	case keys.library != Unknown:
		x.build = keys.build
		x.keys, x.method = Learns, "the layout of the library's objects is not known yet"
		if l, err := readLayout(layouts, keys.library, keys.build); layouts != "" && err == nil {
			x.keys, x.method = Yes, "the layout of the library's objects was learned earlier: "+strings.Join(l.names(), ", ")
		} else if layouts != "" && !errors.Is(err, os.ErrNotExist) {
			x.detail = err.Error()
		}
	case isGo && reason != NoTLS:
		x.library = Go
	}
	if isGo || x.library != Unknown || strings.HasPrefix(filepath.Base(name), "libcrypto") {
		if x.version = printable(m.GoVersion()); !isGo {
			text, _ := m.Text(".rodata", maxText) // a file without it has no version
			x.version = opensslIn(text)
		}
	}
	if x.library == GnuTLS {
		x.version = "ABI " + strings.TrimPrefix(filepath.Base(name), "libgnutls.so.") // the file has no separate text with the library's version
	}
	return x, id, name
}

const maxVersion = 64

// opensslVersion is OPENSSL_VERSION_TEXT.
var opensslVersion = regexp.MustCompile(`^OpenSSL [0-9]+\.[0-9]+\.[0-9]+`)

// opensslIn is the version of OpenSSL in the texts of a program or library, or nothing.
func opensslIn(b []byte) string {
	word := []byte("OpenSSL ")
	for i := bytes.Index(b, word); i >= 0; {
		rest := b[i:min(len(b), i+maxVersion)]
		end := bytes.IndexByte(rest, 0)
		if end > 0 && opensslVersion.Match(rest[:end]) {
			return printable(string(rest[:end]))
		}
		next := bytes.Index(b[i+1:], word)
		if next < 0 {
			break
		}
		i += 1 + next
	}
	return ""
}

// printable replaces all characters except printable ASCII.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
}
