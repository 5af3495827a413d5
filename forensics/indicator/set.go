// Package indicator reads lists of indicators of compromise and finds which of them a value matches.
//
// It reads plain lists, CSV, Zeek's intelligence files, STIX 2.1 bundles and MISP JSON. A value is
// brought into one form, so that hxxp://Evil[.]example and http://evil.example/ are the same. What is
// no indicator ends with an error that names the line; what is one, but cannot be used, such as a
// private address, is left out and counted with its reason. Sizes of files, lines and sets have limits.
package indicator

import (
	"bytes"
	"fmt"
	"hash/maphash"
	"net/netip"
	"slices"
	"strings"
)

// Kind is what an indicator is about.
type Kind uint8

// Kinds. Any is a hash of which only the length is known: of a file, a certificate or a fingerprint.
const (
	Any Kind = iota
	Address
	Domain
	URL
	Mail
	File
	Certificate
	JA3
	JA3S
	JA4
	HASSH
	UserAgent
)

var kindNames = [...]string{"hash", "address", "domain", "url", "email", "file", "certificate", "ja3", "ja3s", "ja4", "hassh", "user-agent"}

// String is the name of a kind.
func (k Kind) String() string { return kindNames[k] }

// Limits of a set.
const (
	maxIndicators = 2_000_000
	maxFiles      = 100
	maxFile       = 1 << 30   // bytes
	maxLine       = 64 << 10  // bytes of a line, a value or a pattern
	maxName       = 200       // bytes
	maxKeys       = 512 << 20 // bytes of all values
	widest4       = 8         // bits of the widest IPv4 network
	widest6       = 19        // and of the widest IPv6 network: more than any registry gives to one holder
)

// Indicator is one entry of a list.
type Indicator struct {
	No     int // in the set
	Kind   Kind
	Value  string
	Port   uint16 // of the address or host; 0: any
	Name   string // what it stands for, in the words of the list
	Source *Source
	Feed   string // who published it, in the words of the list
	Line   int    // in the file
	From   int64  // from this time on it is valid, nanoseconds since 1970 UTC; 0: always
	Until  int64  // before this time it is valid; 0: forever
}

// Source is a file of indicators.
type Source struct {
	File    string
	SHA256  string // of the file, hexadecimal
	Count   int    // indicators
	Skipped []Skip
}

// Skip is a reason for which entries of a file are left out.
type Skip struct {
	Reason string
	Count  int
	Line   int // of the first
}

// entry is an indicator in a set. Most entries of a list have the same detail.
type entry struct {
	detail, line uint32
	next         uint32 // of the same key, plus 1; 0: none
	hash         uint32 // of the key
	at           uint32 // where the key begins in Set.keys
	size         uint16 // of the key
	port         uint16
	kind         Kind
}

type detail struct {
	source      int
	name, feed  string
	from, until int64
}

// Set is the indicators of some files. Nobody changes it after Read, so it is safe for concurrent use.
type Set struct {
	Sources []*Source

	entries []entry
	details []detail
	keys    []byte // of all entries: a byte for the table, then the value
	seed    maphash.Seed
	slots   []uint32       // hash table with open addressing: an entry of a key, plus 1
	used    int            // slots in use
	of      [4]int         // entries by table
	lengths []netip.Prefix // a network of each family and length
	seen    map[netip.Prefix]bool
	short   bool
}

// Tables, the first byte of a key.
const (
	addresses = iota
	domains
	urls
	others // mail addresses, hashes, fingerprints, programs
)

func newSet() *Set {
	return &Set{seed: maphash.MakeSeed(), slots: make([]uint32, 1024), seen: map[netip.Prefix]bool{}}
}

// Len is the number of indicators.
func (s *Set) Len() int {
	if s == nil {
		return 0
	}
	return len(s.entries)
}

// Has reports whether there can be indicators of a kind.
func (s *Set) Has(k Kind) bool { return s.of[tableOf(k)] > 0 }

// expect makes room for a file, so that a long list is not copied each time that it grows.
func (s *Set) expect(size int64) {
	n := int(min(size, 64<<20))
	s.keys = slices.Grow(s.keys, n)
	s.entries = slices.Grow(s.entries, n/40)
	for s.used == 0 && len(s.slots) < n/20 {
		s.slots = make([]uint32, 2*len(s.slots))
	}
}

// ShortHashes reports whether there can be MD5 or SHA-1 hashes of files.
func (s *Set) ShortHashes() bool { return s.short }

// value is an indicator while it is read.
type value struct {
	kind   Kind
	prefix netip.Prefix // of an Address; the whole address of a single one
	text   string       // of the others
	port   uint16
}

// put stores a value.
func (s *Set) put(v value, d detail, line int) error {
	if len(s.entries) >= maxIndicators {
		return fmt.Errorf("there are more than %d indicators", maxIndicators)
	}
	if n := len(s.details); n == 0 || s.details[n-1] != d {
		s.details = append(s.details, d)
	}
	at := len(s.keys)
	if v.prefix.IsValid() {
		s.keys = appendAddress(s.keys, v.prefix)
		s.length(v.prefix)
	} else {
		s.keys = append(append(s.keys, byte(tableOf(v.kind))), v.text...)
	}
	if len(s.keys) > maxKeys {
		return fmt.Errorf("the indicators have more than %d bytes", maxKeys)
	}
	s.of[tableOf(v.kind)]++
	s.short = s.short || (v.kind == File || v.kind == Any) && len(v.text) < lengthSHA256
	e := entry{detail: uint32(len(s.details) - 1), line: uint32(line), at: uint32(at), size: uint16(len(s.keys) - at), port: v.port, kind: v.kind}
	key := s.keys[at:]
	slot := s.find(key, &e.hash)
	if s.slots[slot] == 0 {
		s.used++
	}
	e.next = s.slots[slot]
	if s.entries = append(s.entries, e); e.next != 0 {
		s.keys = s.keys[:at] // that of the other entry
		s.entries[len(s.entries)-1].at = s.entries[e.next-1].at
	}
	s.slots[slot] = uint32(len(s.entries))
	if s.used*2 > len(s.slots) {
		s.grow()
	}
	return nil
}

// appendAddress writes the key of a network or address.
func appendAddress(b []byte, p netip.Prefix) []byte {
	a := p.Addr().As16()
	bits := p.Bits()
	if p.Addr().Is4() {
		bits += 96
	}
	return append(append(append(b, addresses), a[:]...), byte(bits))
}

func tableOf(k Kind) int {
	switch k {
	case Address:
		return addresses
	case Domain:
		return domains
	case URL:
		return urls
	}
	return others
}

// find returns the slot of a key, or a free one.
func (s *Set) find(key []byte, hash *uint32) int {
	h := maphash.Bytes(s.seed, key)
	*hash = uint32(h)
	mask := len(s.slots) - 1
	for at := int(*hash) & mask; ; at = (at + 1) & mask {
		no := s.slots[at]
		if no == 0 {
			return at
		}
		if e := &s.entries[no-1]; e.hash == *hash && string(s.key(e)) == string(key) {
			return at
		}
	}
}

func (s *Set) key(e *entry) []byte { return s.keys[e.at : int(e.at)+int(e.size)] }

// grow doubles the table.
func (s *Set) grow() {
	old := s.slots
	s.slots = make([]uint32, 2*len(old))
	mask := len(s.slots) - 1
	for _, no := range old {
		if no == 0 {
			continue
		}
		at := int(s.entries[no-1].hash) & mask
		for s.slots[at] != 0 {
			at = (at + 1) & mask
		}
		s.slots[at] = no
	}
}

// length notes the length of a network.
func (s *Set) length(p netip.Prefix) {
	family := netip.IPv6Unspecified()
	if p.Addr().Is4() {
		family = netip.IPv4Unspecified()
	}
	if l := netip.PrefixFrom(family, p.Bits()); !s.seen[l] {
		s.seen[l] = true
		s.lengths = append(s.lengths, l)
	}
}

// finish is called when all files were read.
func (s *Set) finish() {
	for i := range s.entries {
		s.Sources[s.details[s.entries[i].detail].source].Count++
	}
	slices.SortFunc(s.lengths, func(a, b netip.Prefix) int { return b.Bits() - a.Bits() })
}

// get returns the entries of a key, those first read first.
func (s *Set) get(key []byte, text string, keep func(*entry) bool) (list []Indicator) {
	var hash uint32
	for at := s.slots[s.find(key, &hash)]; at != 0; at = s.entries[at-1].next {
		e := &s.entries[at-1]
		if keep != nil && !keep(e) {
			continue
		}
		d := &s.details[e.detail]
		list = append(list, Indicator{No: int(at - 1), Kind: e.kind, Value: text, Port: e.port, Name: d.name, Source: s.Sources[d.source], Feed: d.feed, Line: int(e.line), From: d.from, Until: d.until})
	}
	slices.Reverse(list)
	return list
}

// text returns the entries of a text.
func (s *Set) text(table byte, text string, keep func(*entry) bool) []Indicator {
	if s.of[table] == 0 || text == "" {
		return nil
	}
	var buf [256]byte
	return s.get(append(append(buf[:0], table), text...), text, keep)
}

// Address returns the indicators of an address and of the networks around it. A private address has none.
func (s *Set) Address(a netip.Addr) (list []Indicator) {
	if a = a.Unmap().WithZone(""); !public(a) {
		return nil
	}
	var buf [32]byte
	for _, l := range s.lengths {
		if p, err := a.Prefix(l.Bits()); err == nil && a.Is4() == l.Addr().Is4() {
			list = append(list, s.get(appendAddress(buf[:0], p), written(p), nil)...)
		}
	}
	return list
}

// written is a network, or a single address without its length.
func written(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}

// Domain returns the indicators of a name and of the domains above it, the longest first.
func (s *Set) Domain(name string) (list []Indicator) {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	for at := name; at != ""; {
		list = append(list, s.text(domains, at, nil)...)
		_, above, _ := strings.Cut(at, ".")
		at = above
	}
	return list
}

// URL returns the indicators of a URL without its scheme. One without a query matches any query.
func (s *Set) URL(host, path, query string) (list []Indicator) {
	if host == "" {
		return nil
	}
	list = s.text(urls, urlKey(host, path, ""), nil)
	if query != "" {
		list = append(list, s.text(urls, urlKey(host, path, query), nil)...)
	}
	return list
}

// Hosts returns the hosts of URLs, each with its port if that is not the usual one.
func (s *Set) Hosts() map[string]bool {
	out := map[string]bool{}
	for i := range s.entries {
		if e := &s.entries[i]; e.kind == URL {
			host, _, _ := bytes.Cut(s.key(e)[1:], []byte("/"))
			if !out[string(host)] {
				out[string(host)] = true
			}
		}
	}
	return out
}

// Mail returns the indicators of the mail addresses in a text, such as a header.
func (s *Set) Mail(text string) (list []Indicator) {
	for _, a := range addressesIn(text) {
		list = append(list, s.text(others, a, func(e *entry) bool { return e.kind == Mail })...)
	}
	return list
}

// Other returns the indicators of a hash, a fingerprint or the name of a program.
func (s *Set) Other(k Kind, text string) []Indicator {
	if k != UserAgent && k != JA4 {
		text = strings.ToLower(text)
	}
	return s.text(others, text, func(e *entry) bool { return e.kind == k || e.kind == Any && k != UserAgent })
}

// At reports whether an indicator is valid at a time.
func (i *Indicator) At(ns int64) bool { return ns >= i.From && (i.Until == 0 || ns < i.Until) }

// MailDomains returns the domains of the mail addresses in a text.
func MailDomains(text string) (list []string) {
	for _, a := range addressesIn(text) {
		list = append(list, a[strings.LastIndexByte(a, '@')+1:])
	}
	return list
}
