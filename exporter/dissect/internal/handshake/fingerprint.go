package handshake

import (
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strconv"
)

// appendList writes decimal numbers with dashes between them, without GREASE.
func appendList(b []byte, n int, at func(int) uint16) []byte {
	first := true
	for i := range n {
		v := at(i)
		if GREASE(v) {
			continue
		}
		if !first {
			b = append(b, '-')
		}
		first = false
		b = strconv.AppendUint(b, uint64(v), 10)
	}
	return b
}

// JA3 is the input string of a client's JA3 fingerprint, which is its MD5.
func (h *Client) JA3(b []byte) []byte {
	b = strconv.AppendUint(b, uint64(h.Version), 10)
	b = append(b, ',')
	b = appendList(b, h.Suites.Len(), h.Suites.At)
	b = append(b, ',')
	b = appendList(b, len(h.Types), func(i int) uint16 { return h.Types[i] })
	b = append(b, ',')
	b = appendList(b, h.Groups.Len(), h.Groups.At)
	b = append(b, ',')
	return appendList(b, len(h.PointFormats), func(i int) uint16 { return uint16(h.PointFormats[i]) })
}

// JA3S is the input string of a server's JA3S fingerprint, which is its MD5.
func (h *Server) JA3S(b []byte) []byte {
	b = strconv.AppendUint(b, uint64(h.Legacy), 10)
	b = append(b, ',')
	b = strconv.AppendUint(b, uint64(h.Suite), 10)
	b = append(b, ',')
	return appendList(b, len(h.Types), func(i int) uint16 { return h.Types[i] })
}

// MD5 is the hash of JA3 and JA3S, in hexadecimal.
func MD5(b []byte) string {
	sum := md5.Sum(b)
	return hex.EncodeToString(sum[:])
}

// JA4 is the fingerprint of a client hello over t (TCP), d (DTLS) or q (QUIC). raw contains the
// inputs of its two hashes, joined like the fingerprint itself.
func (h *Client) JA4(transport byte) (fingerprint, raw string) {
	var suites, exts []uint16
	all := 0 // extensions without GREASE
	for i := range h.Suites.Len() {
		if v := h.Suites.At(i); !GREASE(v) {
			suites = append(suites, v)
		}
	}
	for _, v := range h.Types {
		if GREASE(v) {
			continue
		}
		all++
		if v != extServerName && v != extALPN {
			exts = append(exts, v)
		}
	}
	slices.Sort(suites)
	slices.Sort(exts)

	head := append(make([]byte, 0, 12), transport)
	head = append(head, ja4Version(h.MaxVersion())...)
	if slices.Contains(h.Types, extServerName) {
		head = append(head, 'd')
	} else {
		head = append(head, 'i')
	}
	head = appendTwo(head, len(suites))
	head = appendTwo(head, all)
	head = append(head, ja4ALPN(h.ALPN)...)

	b := appendHex(make([]byte, 0, 5*len(suites)), suites)
	c := appendHex(make([]byte, 0, 5*(len(exts)+h.Schemes.Len())+1), exts)
	if h.Schemes.Len() > 0 {
		c = append(c, '_')
		for i := range h.Schemes.Len() {
			if i > 0 {
				c = append(c, ',')
			}
			c = appendHex(c, []uint16{h.Schemes.At(i)})
		}
	}
	fp := append(append([]byte{}, head...), '_')
	fp = append(appendHash(fp, b, len(suites)), '_')
	fp = appendHash(fp, c, len(exts))
	head = append(append(append(append(head, '_'), b...), '_'), c...)
	return string(fp), string(head)
}

func ja4Version(v uint16) string {
	switch v {
	case 0x0304:
		return "13"
	case 0x0303:
		return "12"
	case 0x0302:
		return "11"
	case 0x0301:
		return "10"
	case 0x0300:
		return "s3"
	case 0x0002:
		return "s2"
	case 0xfeff:
		return "d1"
	case 0xfefd:
		return "d2"
	case 0xfefc:
		return "d3"
	}
	return "00"
}

// ja4ALPN is the first and last character of the first protocol name, or of its hexadecimal form
// if one of them is neither letter nor digit.
func ja4ALPN(list [][]byte) string {
	if len(list) == 0 || len(list[0]) == 0 {
		return "00"
	}
	first, last := list[0][0], list[0][len(list[0])-1]
	if alnum(first) && alnum(last) {
		return string([]byte{first, last})
	}
	const digits = "0123456789abcdef"
	return string([]byte{digits[first>>4], digits[last&15]})
}

func alnum(c byte) bool {
	return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z'
}

// appendTwo writes a count with two digits, at most 99.
func appendTwo(b []byte, n int) []byte {
	n = min(n, 99)
	return append(b, byte('0'+n/10), byte('0'+n%10))
}

func appendHex(b []byte, list []uint16) []byte {
	const digits = "0123456789abcdef"
	for i, v := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, digits[v>>12], digits[v>>8&15], digits[v>>4&15], digits[v&15])
	}
	return b
}

// appendHash writes the first 12 digits of the SHA-256, or zeros for an empty list.
func appendHash(b, of []byte, n int) []byte {
	if n == 0 {
		return append(b, "000000000000"...)
	}
	sum := sha256.Sum256(of)
	return hex.AppendEncode(b, sum[:6])
}
