package derive

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"hash/crc32"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/table"
)

// digestRule is the rule of digests of what was removed.
const digestRule = "digest"

// maxDigests is the number of values, and of bodies, whose digests are searched.
const maxDigests = 2000

// digestHeaders are headers that have a digest of the body, or of what it represents, as parts of their names.
var digestHeaders = []string{"md5", "digest", "checksum", "-sha1", "-sha256", "-sha512", "-crc32", "-crc64", "-hash", "etag", "content-sha"}

// digestNames are headers that repeat an ETag.
var digestNames = map[string]bool{"if-match": true, "if-none-match": true, "if-range": true}

// isDigest reports whether a header has a digest.
func isDigest(name string) bool {
	name = strings.ToLower(name)
	for _, part := range digestHeaders {
		if strings.Contains(name, part) {
			return true
		}
	}
	return digestNames[name]
}

// digestsIn calls do for each digest in the headers of a row, without quotation marks, and its line.
func digestsIn(r *row, do func(value, whole string)) {
	for _, v := range r.values {
		list, _ := v.([]table.Header)
		for i := range list {
			if !isDigest(list[i].Name) {
				continue
			}
			value := strings.TrimPrefix(strings.TrimSpace(list[i].Value), "W/")
			for part := range strings.SplitSeq(value, ",") {
				if part = strings.Trim(strings.TrimSpace(part), `":`); !isBlank(part) {
					do(part, list[i].Value)
				}
			}
		}
	}
}

// digests makes the digests of a text values that are searched everywhere, as bytes, in hexadecimal digits and in
// base64. It does so only for the first texts of a kind.
func (s *secrets) digests(text string, of *int) {
	if *of++; *of > maxDigests {
		return
	}
	rule := s.rule(digestRule)
	b := []byte(text)
	one, two, three := md5.Sum(b), sha1.Sum(b), sha256.Sum256(b)
	four, five := sha512.Sum384(b), sha512.Sum512(b)
	castagnoli := crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli))
	for _, sum := range [][]byte{one[:], two[:], three[:], four[:], five[:], binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE(b)), binary.BigEndian.AppendUint32(nil, castagnoli)} {
		small := hex.EncodeToString(sum)
		for _, t := range []string{string(sum), small, strings.ToUpper(small), base64.StdEncoding.EncodeToString(sum), base64.RawURLEncoding.EncodeToString(sum)} {
			s.search.form(form{text: t, with: strings.Repeat(string(fill), len(t)), packed: true}, rule)
		}
	}
}
