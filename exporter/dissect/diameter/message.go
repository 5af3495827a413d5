package diameter

import (
	"encoding/binary"
	"fmt"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

// Limits of a message.
const (
	headSize   = 20
	maxMessage = 1 << 20
	maxAVPs    = 64 // names that are shown
	maxText    = 255
	maxNested  = 4 // AVPs inside one another
)

// Flags of a message, RFC 6733 section 3.
const (
	isRequest   = 0x80
	isError     = 0x20
	isRepeated  = 0x10
	flagsNoUsed = 0x0f
)

// AVPs that are read.
const (
	avpUser             = 1
	avpUserPassword     = 2
	avpCHAPPassword     = 3
	avpAuthApplication  = 258
	avpAcctApplication  = 259
	avpVendorSpecific   = 260
	avpSession          = 263
	avpOriginHost       = 264
	avpResult           = 268
	avpProduct          = 269
	avpFailed           = 279
	avpErrorMessage     = 281
	avpDestinationRealm = 283
	avpDestinationHost  = 293
	avpOriginRealm      = 296
	avpExperimental     = 297
	avpExperimentalCode = 298
	avpCHAP             = 402
	avpRequestNumber    = 415
	avpRequestType      = 416
	avpSubscription     = 443
	avpSubscriptionData = 444
	avpEAP              = 462
	avpRecordType       = 480
	avpRecordNumber     = 485
)

// head is the head of a message.
type head struct {
	size               int
	flags              byte
	command            int64
	application        int64
	hopByHop, endToEnd uint32
}

// readHead reads the head of a message; b has headSize bytes.
func readHead(b []byte) (h head, err error) {
	h = head{size: int(binary.BigEndian.Uint32(b) & 0xffffff), flags: b[4], command: int64(binary.BigEndian.Uint32(b[4:]) & 0xffffff),
		application: int64(binary.BigEndian.Uint32(b[8:])), hopByHop: binary.BigEndian.Uint32(b[12:]), endToEnd: binary.BigEndian.Uint32(b[16:])}
	switch {
	case b[0] != 1:
		return h, fmt.Errorf("reading a message: version %d, expected 1", b[0])
	case h.size < headSize || h.size%4 != 0 || h.size > maxMessage:
		return h, fmt.Errorf("reading a message: length %d is outside %d to %d or no multiple of 4", h.size, headSize, maxMessage)
	case h.flags&flagsNoUsed != 0 || h.flags&isRequest != 0 && h.flags&isError != 0 || h.flags&isRequest == 0 && h.flags&isRepeated != 0:
		return h, fmt.Errorf("reading a message: flags 0x%02x are not allowed", h.flags)
	}
	return h, nil
}

// detect requires a head with a known command and a first AVP that fits. Usually the client sends requests, but both
// sides may.
func detect(dir dissect.Dir, b []byte) dissect.Verdict {
	if len(b) > 0 && b[0] != 1 || len(b) > 1 && b[1] > maxMessage>>16 || len(b) > 4 && b[4]&flagsNoUsed != 0 || len(b) > 7 && tables()["command"][int64(binary.BigEndian.Uint32(b[4:])&0xffffff)] == "" {
		return dissect.No
	}
	if len(b) < headSize+8 {
		return dissect.More
	}
	h, err := readHead(b)
	avp := b[headSize:]
	size := int(binary.BigEndian.Uint32(avp[4:]) & 0xffffff)
	if err != nil || h.size < headSize+8 || avp[4]&0x1f != 0 || size < 8 || avp[4]&0x80 != 0 && size < 12 || size > h.size-headSize || tables()["avp"][int64(binary.BigEndian.Uint32(avp))] == "" && avp[4]&0x80 == 0 {
		return dissect.No
	}
	if (h.flags&isRequest != 0) == (dir == dissect.ToServer) {
		return dissect.Yes
	}
	return dissect.Likely
}

// content has the values of a message's AVPs.
type content struct {
	row    *Row
	names  []string
	result table.Opt[int64]
	vendor bool // the result is one of a vendor
	auth   table.Opt[string]
	odd    string // what is wrong with the AVPs; empty if nothing is
}

// read reads AVPs, RFC 6733 section 4.1. Those inside another one have a greater depth.
func (c *content) read(b []byte, depth int) {
	for len(b) > 0 {
		if len(b) < 8 {
			c.odd = fmt.Sprintf("%d bytes after the last AVP", len(b))
			return
		}
		code, size, at := int64(binary.BigEndian.Uint32(b)), int(binary.BigEndian.Uint32(b[4:])&0xffffff), 8
		vendor := b[4]&0x80 != 0
		if vendor {
			at = 12
		}
		if size < at || size > len(b) {
			c.odd = fmt.Sprintf("AVP %d has length %d, and %d bytes are left", code, size, len(b))
			return
		}
		name := ""
		if vendor {
			name = fmt.Sprintf("%d:%d", binary.BigEndian.Uint32(b[8:]), code)
		} else {
			name = tables()["avp"].Name(code, "avp_")
		}
		if depth == 0 && len(c.names) < maxAVPs {
			c.names = append(c.names, name)
		}
		if !vendor {
			c.avp(code, b[at:size], depth)
		}
		b = b[min((size+3)&^3, len(b)):]
	}
}

// avp reads one AVP of RFC 6733, 7155, 4072 or 8506.
func (c *content) avp(code int64, v []byte, depth int) {
	row := c.row
	switch code {
	case avpVendorSpecific, avpExperimental, avpSubscription, avpFailed:
		c.group(code, v, depth)
	case avpUser:
		row.User = text(v)
	case avpSession:
		row.Session = text(v)
	case avpOriginHost:
		row.OriginHost = text(v)
	case avpOriginRealm:
		row.OriginRealm = text(v)
	case avpDestinationHost:
		row.DestinationHost = text(v)
	case avpDestinationRealm:
		row.DestinationRealm = text(v)
	case avpProduct:
		row.Product = text(v)
	case avpErrorMessage:
		row.ErrorMessage = text(v)
	case avpSubscriptionData:
		row.Subscription = text(v)
	case avpUserPassword:
		c.auth = table.Some("pap")
	case avpCHAPPassword, avpCHAP:
		c.auth = table.Some("chap")
	case avpEAP:
		c.auth = table.Some("eap")
	default:
		if len(v) == 4 {
			c.number(code, int64(binary.BigEndian.Uint32(v)))
		}
	}
}

// group reads the AVPs inside one, but only the name of that which failed.
func (c *content) group(code int64, v []byte, depth int) {
	switch {
	case code == avpFailed:
		if len(v) >= 8 {
			c.row.FailedAVP = table.Some(tables()["avp"].Name(int64(binary.BigEndian.Uint32(v)), "avp_"))
		}
	case depth < maxNested:
		c.read(v, depth+1)
	}
}

func (c *content) number(code, n int64) {
	row := c.row
	switch code {
	case avpResult:
		c.result = table.Some(n)
	case avpExperimentalCode:
		c.result, c.vendor = table.Some(n), true
	case avpAuthApplication, avpAcctApplication:
		if len(row.Applications) < maxAVPs {
			row.Applications = append(row.Applications, tables()["application"].Name(n, ""))
		}
	case avpRequestType:
		row.Step = table.Some(tables()["CC-Request-Type"].Name(n, ""))
	case avpRecordType:
		row.Step = table.Some(tables()["Accounting-Record-Type"].Name(n, ""))
	case avpRequestNumber, avpRecordNumber:
		row.Number = table.Some(n)
	}
}

func text(b []byte) table.Opt[string] { return table.NonEmpty(clip.Line(b, maxText)) }
