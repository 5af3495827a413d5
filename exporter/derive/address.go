package derive

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"unsafe"

	"github.com/pcapsule/pcapsule/exporter/internal/cryptopan"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Limits of addresses.
const (
	maxAddresses = 1 << 16
	maxKeys      = 1 << 10 // keys that are tried
)

// ErrAddresses means that addresses cannot be replaced by pseudonyms.
var ErrAddresses = errors.New("addresses cannot be replaced by pseudonyms")

// addressRule is the rule of addresses.
const addressRule = "address"

// pseudonyms replaces addresses (docs/format/derived.md). It is immutable once it has a key.
type pseudonyms struct {
	m     *cryptopan.Map
	rule  int32
	known map[netip.Addr]bool // of the original, in headers or in texts of tables
	spelt map[string]bool     // as they are written there
}

// special reports whether an address says nothing of a machine.
func special(a netip.Addr) bool {
	return a.IsUnspecified() || a.IsLoopback() || a.IsMulticast() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

// add makes an address known, as it is written somewhere.
func (p *pseudonyms) add(text string, a netip.Addr) {
	p.known[a] = true
	p.spelt[strings.Clone(text)] = true
}

// choose chooses the first key of a seed by which no pseudonym is a known address or a special one.
func (p *pseudonyms) choose(seed [32]byte) error {
	for n := range uint32(maxKeys) {
		b := append([]byte{7}, seed[:]...)
		p.m = cryptopan.New(sha256.Sum256(binary.BigEndian.AppendUint32(b, n)))
		ok := true
		for a := range p.known {
			if is := p.of(a); special(is) || p.known[is] {
				ok = false
				break
			}
		}
		if ok {
			return nil
		}
	}
	return fmt.Errorf("%w: each key gives one of the %d addresses of the original as a pseudonym of another", ErrAddresses, len(p.known))
}

// of is the pseudonym of an address.
func (p *pseudonyms) of(a netip.Addr) netip.Addr {
	b := a.AsSlice()
	p.replace(b)
	a, _ = netip.AddrFromSlice(b)
	return a
}

// replace replaces an address of 4 or 16 bytes in place, unless it is special.
func (p *pseudonyms) replace(b []byte) {
	if a, ok := netip.AddrFromSlice(b); ok && !special(a) {
		p.m.Replace(b)
	}
}

// addressByte reports whether a byte may be in the text of an address.
func addressByte(c byte) bool {
	return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'f' || c == '.' || c == ':'
}

// addressesIn calls do for each address in a text, with the place of its text.
func addressesIn(s string, do func(from, to int, a netip.Addr)) {
	for i := 0; i < len(s); {
		if !addressByte(s[i]) {
			i++
			continue
		}
		end := i + 1
		for end < len(s) && addressByte(s[end]) {
			end++
		}
		if end-i >= 2 && (i == 0 || !wordByte(s[i-1])) && (end == len(s) || !wordByte(s[end])) {
			run(s, i, end, do)
		}
		i = end
	}
}

// run finds an address in a run of bytes of which addresses are made: the whole run, or it without
// a port or what ends a sentence.
func run(s string, from, to int, do func(from, to int, a netip.Addr)) {
	for from < to && (s[from] == '.' || s[from] == ':' && !strings.HasPrefix(s[from:to], "::")) {
		from++
	}
	for to > from && (s[to-1] == '.' || s[to-1] == ':' && !strings.HasSuffix(s[from:to], "::")) {
		to--
	}
	text := s[from:to]
	if strings.Count(text, ".") >= 3 {
		if i := strings.IndexByte(text, ':'); i > 0 && strings.Count(text, ":") == 1 { // a port
			text = text[:i]
		}
	} else if strings.Count(text, ":") < 2 {
		return
	}
	if a, err := netip.ParseAddr(text); err == nil && !special(a.Unmap()) {
		do(from, from+len(text), a.Unmap())
	}
}

// reverseNamesIn calls do for each domain name in a text that stands for an address (RFC 1035 section 3.5, RFC 3596
// section 2.5).
func reverseNamesIn(s string, do func(name string, a netip.Addr)) {
	if !hasReverseName(s) {
		return
	}
	for _, match := range reverseName.FindAllStringSubmatch(s, maxAddresses) {
		var a netip.Addr
		if four, six := backwards(match[1]), backwards(match[2]); len(four) > 0 {
			a, _ = netip.ParseAddr(strings.Join(four, "."))
		} else if b, err := hex.DecodeString(strings.Join(six, "")); err == nil {
			a, _ = netip.AddrFromSlice(b)
		}
		if a.IsValid() && !special(a) {
			do(match[0], a)
		}
	}
}

var reverseName = regexp.MustCompile(`(?i)\b(?:((?:[0-9]{1,3}\.){3}[0-9]{1,3})\.in-addr|((?:[0-9a-f]\.){31}[0-9a-f])\.ip6)\.arpa\b`)

// hasReverseName is a quick test, because few texts have such a name.
func hasReverseName(s string) bool {
	const suffix = ".arpa"
	for i := 0; i+len(suffix) <= len(s); i++ {
		if s[i] == '.' && strings.EqualFold(s[i:i+len(suffix)], suffix) {
			return true
		}
	}
	return false
}

// backwards are the labels of a domain name, the last one first.
func backwards(name string) []string {
	list := strings.FieldsFunc(name, func(r rune) bool { return r == '.' })
	slices.Reverse(list)
	return list
}

// addressTexts are the ways to write an address in addition to those of formsOf.
func addressTexts(a netip.Addr) []string {
	b := a.AsSlice()
	slices.Reverse(b)
	if a.Is4() {
		dots := fmt.Sprintf("%d.%d.%d.%d", b[0], b[1], b[2], b[3])
		return []string{a.String(), strings.ReplaceAll(a.String(), ".", "-"), dots + ".in-addr.arpa"}
	}
	var nibbles strings.Builder
	for _, c := range b {
		fmt.Fprintf(&nibbles, "%x.%x.", c&15, c>>4)
	}
	return []string{a.String(), a.StringExpanded(), nibbles.String() + "ip6.arpa"}
}

// ofEnds are columns with the ends of conversations, which are in headers, not in messages.
func ofEnds(column string) bool { return strings.HasSuffix(column, "_ip") || column == "ip" }

// addressRow takes the addresses in a row. A short text goes from the message alone, and so do the
// bytes of an address, which could be anything elsewhere.
func (s *secrets) addressRow(r *row) error {
	if s.search.names == nil {
		return nil
	}
	if p := text(r, "protocol"); r.table == "calls" && (p == "tcp" || p == "udp" || p == "sctp") {
		eachNo(r.cites(), func(no int64) { s.unread[no] = true })
	}
	for i, v := range r.values {
		eachText(v, func(text string) {
			reverseNamesIn(text, s.search.names.add)
			addressesIn(text, func(from, to int, a netip.Addr) {
				s.search.names.add(text[from:to], a)
				if ofEnds(r.names[i]) {
					return
				}
				eachNo(r.cites(), func(no int64) {
					if s.addresses[no] == nil {
						s.addresses[no] = map[netip.Addr]bool{}
					}
					s.addresses[no][a] = true
					for _, t := range addressTexts(a) {
						if len(t) < leastValue {
							put(s.short, no, brief{t, ""}, s.search.names.rule)
						}
					}
				})
			})
		})
	}
	if len(s.search.names.spelt) > maxAddresses {
		return fmt.Errorf("%w: the bundle has more than %d", ErrAddresses, maxAddresses)
	}
	return nil
}

// eachText calls do for each text in a value of a row.
func eachText(v any, do func(string)) {
	switch v := v.(type) {
	case string:
		do(v)
	case []byte:
		do(unsafe.String(unsafe.SliceData(v), len(v)))
	case []string:
		for _, s := range v {
			do(s)
		}
	case []table.Header:
		for i := range v {
			do(v[i].Name)
			do(v[i].Value)
		}
	case []table.Pair:
		for i := range v {
			do(v[i].Name)
			do(v[i].Value)
		}
	}
}

// addressForms makes the texts of all known addresses known to the search, and the bytes of those
// of IPv6, which are nothing else anywhere.
func (s *secrets) addressForms() {
	rule := s.search.names.rule
	text := func(t string) {
		for _, f := range formsOf(t, "") {
			f.alone = f.text == t
			s.search.form(f, rule)
		}
	}
	for t := range s.search.names.spelt {
		text(t)
	}
	for a := range s.search.names.known {
		for _, t := range addressTexts(a) {
			text(t)
		}
		if b := a.AsSlice(); len(b) == 16 {
			with := s.search.names.of(a).AsSlice()
			s.search.form(form{text: string(b), with: string(with), packed: true}, rule)
		}
	}
}

// inBytes replaces the bytes of known addresses of IPv4 in a payload that no dissector reads, whatever
// they are there.
func (w *worker) inBytes(x *item) {
	for i := 0; i+4 <= len(x.payload); i++ {
		if a := netip.AddrFrom4([4]byte(x.payload[i:])); w.search.names.known[a] {
			w.edit(x.index, x.at+int32(i), string(w.search.names.of(a).AsSlice()), w.search.names.rule)
			i += 3
		}
	}
}

// alone reports whether b[from:to] is not a part of a longer number with dots.
func alone(b []byte, from, to int) bool {
	digit := func(i int) bool { return i >= 0 && i < len(b) && b[i] >= '0' && b[i] <= '9' }
	dot := func(i int) bool { return i >= 0 && i < len(b) && b[i] == '.' }
	return !digit(from-1) && !digit(to) && !(dot(from-1) && digit(from-2)) && !(dot(to) && digit(to+1))
}

// pseudonymous is a text, which need not keep its length, with pseudonyms in place of addresses. A
// network keeps its length of prefix, and the bits behind it stay 0.
func (p *pseudonyms) pseudonymous(s string) string {
	var out strings.Builder
	done := 0
	addressesIn(s, func(from, to int, a netip.Addr) {
		out.WriteString(s[done:from])
		is := p.of(a)
		var bits int
		if n, _ := fmt.Sscanf(s[to:min(len(s), to+4)], "/%d", &bits); n == 1 {
			if net, err := a.Prefix(bits); err == nil && net.Addr() == a {
				if net, err := is.Prefix(bits); err == nil {
					is = net.Addr()
				}
			}
		}
		out.WriteString(is.String())
		done = to
	})
	return out.String() + s[done:]
}
