package derive_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/derive"
	"github.com/pcapsule/pcapsule/internal/nightly"
)

// planted is a scenario: a secret that was planted, and the texts that must not be in the derived bundle.
type planted struct {
	name string
	bad  []string
}

// stage is a capture with many scenarios, and what is wrong with the bundle that a redaction makes of it.
type stage struct {
	name string
	list []planted
	lay  func(s *scene, tell bool) // tell: in places that make the secrets known, too
}

// The kinds of secrets. Each has a number, so that a search can tell them apart.
var kinds = []struct {
	name string
	of   func(n int) string
	says func(s *scene, secret string) // makes it known; nil if its form does
}{
	{"token", func(n int) string { return fmt.Sprintf("K%03dq+T/w9Zv~%03dmR", n, n) }, func(s *scene, secret string) {
		s.talk(80, say{data: request("X-Api-Key: "+secret+"\r\n", "x")}, answer("", "ok"))
	}},
	{"password", func(n int) string { return fmt.Sprintf("pä%03d\"süß&<wörd>€%03d", n, n) }, func(s *scene, secret string) {
		body := "{\"user\":\"ann\",\"password\":" + strconv.Quote(secret) + "}"
		s.talk(80, say{data: request("Content-Type: application/json\r\n", body)}, answer("", "ok"))
	}},
	{"card", func(n int) string { return luhn(fmt.Sprintf("4929%04d642%04d", n, n)) }, nil},
	{"mail address", func(n int) string { return fmt.Sprintf("ann%03d.miller@example%03d.com", n, n) }, nil},
}

// luhn adds the check digit of a card number.
func luhn(digits string) string {
	sum := 0
	for i := range len(digits) {
		d := int(digits[len(digits)-1-i] - '0')
		if i%2 == 0 {
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum += d
	}
	return digits + strconv.Itoa((10-sum%10)%10)
}

// pieces are the parts of a secret of which none may be left.
func pieces(secret string) []string { return []string{secret[:10], secret[len(secret)-10:]} }

// stages are all scenarios.
func stages() (list []stage) {
	number := 0
	for _, p := range places() {
		for _, kind := range kinds[:2] {
			st := stage{name: p.name + ", " + kind.name}
			type todo struct{ secret, text string }
			var todos []todo
			for _, c := range codes() {
				if c.bytes && p.text || kind.name == "password" && p.name != "body" {
					continue
				}
				number++
				secret := kind.of(number)
				if kind.name == "password" && (strings.Contains(c.name, "escapes of strings") || strings.HasPrefix(c.name, "some ") || strings.Contains(c.name, "UTF-")) || p.line && c.name == "quoted-printable in lines" {
					continue
				}
				if number%nightly.Of(3, 1) != 0 {
					continue
				}
				todos = append(todos, todo{secret, c.write(secret)})
				st.list = append(st.list, planted{kind.name + ", " + p.name + ", " + c.name, pieces(secret)})
			}
			st.lay = func(s *scene, tell bool) {
				for _, x := range todos {
					if tell {
						kind.says(s, x.secret)
					}
					p.put(s, x.text)
				}
			}
			if len(todos) > 0 {
				list = append(list, st)
			}
		}
	}
	for _, kind := range kinds {
		st := stage{name: "corners, " + kind.name}
		if kind.name == "password" {
			continue
		}
		first := number
		for _, c := range corners() {
			number++
			st.list = append(st.list, planted{kind.name + ", " + c.name, pieces(kind.of(number))})
		}
		st.lay = func(s *scene, tell bool) {
			for i, c := range corners() {
				secret := kind.of(first + 1 + i)
				if kind.says != nil && tell {
					kind.says(s, secret)
				}
				c.put(s, secret)
			}
		}
		list = append(list, st)
	}
	list = append(list, wireStages(&number)...)
	return append(list, digestStages(&number)...)
}

// digestStages are digests of bodies with a secret, in the message of the body, and elsewhere.
func digestStages(number *int) (list []stage) {
	for _, where := range []string{"request", "response", "elsewhere"} {
		st := stage{name: "digests, " + where}
		var lays []func(s *scene)
		for _, d := range digests() {
			*number++
			body := fmt.Sprintf(`{"user":"ann","qty":%d,"password":"%s"}`, *number, kinds[0].of(*number))
			head, bad := d.head(body)
			if where == "elsewhere" && d.name == "weak ETag" {
				continue // a part of a digest is found in the message of its body only
			}
			const isJSON = "Content-Type: application/json\r\n"
			st.list = append(st.list, planted{"digest, " + where + ", " + d.name, bad})
			lays = append(lays, func(s *scene) {
				switch where {
				case "request":
					s.talk(80, say{data: request(isJSON+head, body)}, answer("", "ok"))
				case "response":
					s.talk(80, say{data: request("", "x")}, answer(isJSON+head, body))
				default:
					s.talk(80, say{data: request(isJSON, body)}, answer("", "ok"))
					s.talk(80, say{data: request(isJSON, `{"files":[{"name":"a","sum":"`+bad[0]+`"}]}`)}, answer("", "ok"))
				}
			})
		}
		st.lay = func(s *scene, tell bool) {
			for _, l := range lays {
				l(s)
			}
		}
		list = append(list, st)
	}
	*number++
	secret := kinds[0].of(*number)
	frame := link(0x0800, ipv4(17, 1, 0, nil, datagram(40999, 7778, []byte("key="+secret))))
	fcs := string(binary.LittleEndian.AppendUint32(nil, crc32.ChecksumIEEE(frame)))
	return append(list, stage{"checksums", []planted{{"checksum of Ethernet", []string{fcs}}}, func(s *scene, tell bool) {
		if tell {
			kinds[0].says(s, secret)
		}
		s.raw(append(frame, fcs...), nil)
	}})
}

// TestRedactionLeaksNothing plants secrets, each in an encoding and a place of its own, and looks for them in every
// file of the bundle that a redaction makes.
func TestRedactionLeaksNothing(t *testing.T) {
	scenarios, leaks := 0, 0
	for _, st := range stages() {
		t.Run(st.name, func(t *testing.T) {
			scenarios += len(st.list)
			s := newScene(t)
			st.lay(s, true)
			b := bundleOf(t, s.save())
			out := filepath.Join(t.TempDir(), "d.pcapsule")
			_, err := derive.Redact(context.Background(), b, out, derive.Redaction{Policy: removalOf(t, policy), Text: []byte(policy)}, quiet)
			if err != nil {
				leaks += len(st.list)
				t.Fatal(err)
			}
			d, err := bundle.Open(out)
			if err != nil {
				t.Fatal(err)
			}
			if again, err := exporter.Rederive(context.Background(), d, exporter.Options{Release: "test"}); err != nil || !again.OK() {
				t.Errorf("the derived bundle does not rederive: %v %v", err, again)
			}
			left := seekIn(t, out, st.list)
			leaks += len(left)
			for i, where := range left {
				t.Errorf("%s: left in %s", st.list[i].name, where)
			}
		})
	}
	t.Logf("%d scenarios, %d leaks", scenarios, leaks)
}

// TestTheSearcherFindsAll looks for the secrets in bundles that nobody redacted, so a leak would be seen.
func TestTheSearcherFindsAll(t *testing.T) {
	for _, st := range stages() {
		s := newScene(t)
		st.lay(s, false)
		b := bundleOf(t, s.save())
		left := seekIn(t, b.Dir, st.list)
		for i, p := range st.list {
			if left[i] == "" {
				t.Errorf("%s: not found in the original", p.name)
			}
		}
	}
}

// seekIn looks for scenarios in all files of a bundle, and in what the packets of each direction say together. It
// returns where each was found.
func seekIn(t *testing.T, dir string, list []planted) map[int]string {
	found := map[int]string{}
	look := func(where string, data []byte) {
		data = append(append(slices.Clone(data), 0), joinHalves(data)...)
		seek(data, 0, func(b []byte) {
			for i, p := range list {
				if found[i] == "" && slices.ContainsFunc(p.bad, func(text string) bool { return bytes.Contains(b, []byte(text)) }) {
					found[i] = where
				}
			}
		})
	}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		look("the name of "+rel, []byte(rel))
		data, err := os.ReadFile(path)
		look(rel, data)
		return err
	})
	b, oerr := bundle.Open(dir)
	if err = errors.Join(err, oerr); err != nil {
		t.Fatal(err)
	}
	for way, text := range together(t, b) {
		look("stream "+way, text)
		look("chunks of "+way, joinChunks(text))
		look("frames of "+way, joinFrames(text))
		look("messages of "+way, joinMessages(text))
		look("blocks of "+way, joinBlocks(text))
		look("records of "+way, joinRecords(text))
	}
	return found
}

// together joins the payloads of each direction, TCP by sequence numbers and fragments by their offsets.
func together(t *testing.T, b *bundle.Bundle) map[string][]byte {
	list := map[string][]byte{}
	put := func(key string, at int, data []byte) {
		if at < 0 || at > 1<<20 {
			return
		}
		for len(list[key]) < at+len(data) {
			list[key] = append(list[key], 0)
		}
		copy(list[key][at:], data)
	}
	for _, p := range packetsOf(t, b) {
		f := p.Data
		if len(f) < 34 || f[12] != 8 || f[13] != 0 {
			continue
		}
		ip := f[14:]
		head, size := int(ip[0]&15)*4, int(binary.BigEndian.Uint16(ip[2:]))
		if size > len(ip) || head > size {
			continue
		}
		data, frag := ip[head:size], binary.BigEndian.Uint16(ip[6:])
		if frag&0x3fff != 0 {
			put(fmt.Sprintf("fragments %x", ip[4:6]), int(frag&0x1fff)*8, data)
		} else if ip[9] == 6 && len(data) >= 20 {
			first := uint32(1001)
			if ip[15] == 2 {
				first = 9_000_001
			}
			put(fmt.Sprintf("TCP %x %x", ip[12:20], data[:4]), int(int32(binary.BigEndian.Uint32(data[4:])-first)), data[data[12]>>4*4:])
		}
	}
	return list
}

// joinChunks joins the chunks of a body behind an HTTP header.
func joinChunks(text []byte) (out []byte) {
	_, text, _ = bytes.Cut(text, []byte("\r\n\r\n"))
	for {
		line, rest, ok := bytes.Cut(text, []byte("\r\n"))
		n, err := strconv.ParseUint(string(line), 16, 16)
		if !ok || err != nil || n == 0 || int(n)+2 > len(rest) {
			return out
		}
		out, text = append(out, rest[:n]...), rest[n+2:]
	}
}

// joinFrames joins what the frames of HTTP/2 hold.
func joinFrames(text []byte) (out []byte) {
	r := http2.NewFramer(nil, bytes.NewReader(bytes.TrimPrefix(text, []byte(http2.ClientPreface))))
	dec := hpack.NewDecoder(4096, func(f hpack.HeaderField) { out = append(out, f.Name+": "+f.Value+"\n"...) })
	for {
		f, err := r.ReadFrame()
		if err != nil {
			return out
		}
		switch f := f.(type) {
		case *http2.DataFrame:
			out = append(out, f.Data()...)
		case *http2.HeadersFrame:
			_, _ = dec.Write(f.HeaderBlockFragment())
		}
	}
}

// joinMessages joins the messages of WebSocket behind an HTTP header.
func joinMessages(text []byte) (out []byte) {
	_, text, ok := bytes.Cut(text, []byte("\r\n\r\n"))
	for ok && len(text) > 6 && text[0] == 0x81 {
		n, at := int(text[1]&127), 2
		if n == 126 {
			n, at = int(binary.BigEndian.Uint16(text[2:])), 4
		}
		var mask []byte
		if text[1]&128 != 0 {
			mask = text[at : at+4]
			at += 4
		}
		if n > 126<<8 || at+n > len(text) {
			return out
		}
		for i, c := range text[at : at+n] {
			if mask != nil {
				c ^= mask[i%4]
			}
			out = append(out, c)
		}
		text = text[at+n:]
	}
	return out
}
