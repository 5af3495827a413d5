package pcapng

import "fmt"

// DamageKind is a kind of damage to a capture file.
type DamageKind string

// Kinds of damage.
const (
	DamageTruncated  DamageKind = "truncated"  // the file ends inside a block or record
	DamageLength     DamageKind = "length"     // an impossible length
	DamageTrailer    DamageKind = "trailer"    // the two lengths of a block differ
	DamageCaplen     DamageKind = "caplen"     // captured length longer than its block
	DamageInterface  DamageKind = "interface"  // interface not defined, or uncertain
	DamageBlock      DamageKind = "block"      // body too short for its type
	DamageOptions    DamageKind = "options"    // option longer than its block
	DamageVersion    DamageKind = "version"    // unknown version
	DamageTime       DamageKind = "time"       // time before 1970 or after April 2261
	DamageZeros      DamageKind = "zeros"      // zero bytes instead of a block or record
	DamageRecord     DamageKind = "record"     // pcap record with an impossible header
	DamageUnreadable DamageKind = "unreadable" // the bytes could not be read or decompressed
)

// Damage is a damaged place of a file. Length counts the bytes without a packet; it is 0 if nothing
// was skipped.
type Damage struct {
	Offset, Length int64
	Kind           DamageKind
	Detail         string
}

// DamageTotal counts all damage, including places that are not listed.
type DamageTotal struct {
	Places, Bytes int64
}

func (d Damage) String() string {
	return fmt.Sprintf("%s at %d, %d bytes skipped: %s", d.Kind, d.Offset, d.Length, d.Detail)
}

// Damage lists the damage found so far, in file order, at most Options.MaxDamage places.
func (r *Reader) Damage() []Damage { return r.damage[:len(r.damage):len(r.damage)] }

// DamageTotal counts the damage found so far.
func (r *Reader) DamageTotal() DamageTotal { return r.total }

// note counts one place. Detail is formatted only if the place is listed, so that a file
// of nothing but damage costs no memory.
func (r *Reader) note(off, length int64, kind DamageKind, format string, args ...any) {
	r.total.Places++
	r.total.Bytes += length
	if kind != DamageTime && kind != DamageVersion {
		r.unseen = true // Wireshark stops here
	}
	if len(r.damage) < r.opt.MaxDamage {
		r.damage = append(r.damage, Damage{off, length, kind, fmt.Sprintf(format, args...)})
	}
}

// lose starts a scan: the bytes at off cannot be read, and the next block is not where
// it should be.
func (r *Reader) lose(off int64, kind DamageKind, format string, args ...any) {
	r.scanning = true
	r.scanFrom = off + 1
	r.lost = Damage{Offset: off, Kind: kind}
	if len(r.damage) < r.opt.MaxDamage {
		r.lost.Detail = fmt.Sprintf(format, args...)
	}
	r.onFound = ""
	r.unseen = true
}

// distrust halves the longest block to wait for, after a long one that was not there:
// otherwise each false length would cost a read of 64 MiB.
func (r *Reader) distrust(size uint64) {
	if size > trustBlock {
		r.maxBlock = max(r.maxBlock/2, trustBlock)
	}
}

// found ends a scan at off, where reading continues.
func (r *Reader) found(off int64, atEnd bool) {
	r.scanning = false
	r.lost.Length = off - r.lost.Offset
	if !atEnd {
		if r.onFound != "" {
			r.lost.Kind = r.onFound
		}
		r.gaps++
	}
	if r.pass != nil {
		r.pass(0, r.lost.Offset, r.lost.Length, nil)
	}
	r.total.Places++
	r.total.Bytes += r.lost.Length
	if len(r.damage) < r.opt.MaxDamage {
		r.damage = append(r.damage, r.lost)
	}
}
