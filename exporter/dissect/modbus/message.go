package modbus

import (
	"encoding/binary"
	"fmt"

	"github.com/pcapsule/pcapsule/exporter/dissect"
)

const (
	headSize  = 7    // with the unit
	maxLength = 254  // unit and PDU, MODBUS Messaging on TCP/IP Implementation Guide section 3.1
	maxVendor = 4096 // of messages with functions of vendors, which are longer in practice
	exception = 0x80
)

// head is the head of a message, and its function.
type head struct {
	transaction uint16
	size        int // of the whole message
	unit        uint8
	function    uint8 // without the bit of an exception
	failed      bool
}

// readHead reads the head; b has headSize bytes and the function.
func readHead(b []byte) (h head, err error) {
	length := int(binary.BigEndian.Uint16(b[4:]))
	h = head{transaction: binary.BigEndian.Uint16(b), size: 6 + length, unit: b[6], function: b[7] &^ exception, failed: b[7]&exception != 0}
	if binary.BigEndian.Uint16(b[2:]) != 0 || length < 2 || length > maxOf(h.function) || h.function == 0 {
		return h, fmt.Errorf("reading a message: protocol %d, length %d and function %d are not those of Modbus", binary.BigEndian.Uint16(b[2:]), length, h.function)
	}
	return h, nil
}

// maxOf is the greatest length of a message. Vendors send longer ones with functions of their own.
func maxOf(function uint8) int {
	if tables()["function"][int64(function)] != "" {
		return maxLength
	}
	return maxVendor
}

func word(b []byte) int { return int(binary.BigEndian.Uint16(b)) }

// requestFits reports whether the data after the function of a request has the form of its function.
func requestFits(function uint8, d []byte) bool {
	n := len(d)
	switch function {
	case 1, 2:
		return n == 4 && counted(d, 2000)
	case 3, 4:
		return n == 4 && counted(d, 125)
	case 5:
		return n == 4 && d[3] == 0 && (d[2] == 0 || d[2] == 0xff)
	case 6:
		return n == 4
	case 8:
		return n >= 4 && n%2 == 0 && word(d) <= 20
	case 7, 11, 12, 17:
		return n == 0
	case 15:
		return n >= 6 && counted(d, 1968) && int(d[4]) == (word(d[2:])+7)/8 && n == 5+int(d[4])
	case 16:
		return n >= 7 && counted(d, 123) && int(d[4]) == 2*word(d[2:]) && n == 5+int(d[4])
	case 20, 21:
		return n >= 8 && int(d[0]) == n-1 && d[1] == 6
	case 22:
		return n == 6
	case 23:
		return n >= 11 && counted(d, 125) && counted(d[4:], 121) && int(d[8]) == 2*word(d[6:]) && n == 9+int(d[8])
	case 24:
		return n == 2
	case 43:
		return n >= 1 && (d[0] == 13 && n >= 2 || d[0] == 14 && n == 3 && d[1] >= 1 && d[1] <= 4)
	}
	return false
}

// counted reports whether a quantity follows an address, and both stay within 65536.
func counted(d []byte, most int) bool {
	n := word(d[2:])
	return n >= 1 && n <= most && word(d)+n <= 1<<16
}

// responseFits does the same for a response.
func responseFits(function uint8, failed bool, d []byte) bool {
	n := len(d)
	if failed {
		return n == 1 && tables()["exception"][int64(d[0])] != ""
	}
	switch function {
	case 1, 2, 12, 17, 20, 21:
		return n >= 2 && int(d[0]) == n-1
	case 3, 4, 23:
		return n >= 3 && int(d[0]) == n-1 && n%2 == 1
	case 5:
		return requestFits(5, d)
	case 6, 11:
		return n == 4
	case 7:
		return n == 1
	case 8:
		return requestFits(8, d)
	case 15:
		return n == 4 && counted(d, 1968)
	case 16:
		return n == 4 && counted(d, 123)
	case 22:
		return n == 6
	case 24:
		return n >= 4 && word(d) == n-2 && word(d[2:]) <= 31
	case 43:
		return n >= 1 && (d[0] == 13 || d[0] == 14 && n >= 6)
	}
	return false
}

// detect requires messages of known functions whose data has the form of the function in this direction, up to the end
// of the bytes. The header alone is weak: its only fixed bytes are two zeros. Some messages are the same in both
// directions; later ones decide.
func detect(dir dissect.Dir, b []byte) dissect.Verdict {
	v := dissect.More
	for len(b) > 0 {
		if len(b) > 2 && b[2] != 0 || len(b) > 3 && b[3] != 0 || len(b) > 4 && b[4] != 0 || len(b) > 5 && (b[5] < 2 || b[5] > maxLength) || len(b) > 7 && tables()["function"][int64(b[7]&^exception)] == "" {
			return dissect.No
		}
		if len(b) < headSize+1 {
			return v
		}
		h, err := readHead(b)
		switch {
		case err != nil || h.failed && dir == dissect.ToServer:
			return dissect.No
		case len(b) < h.size:
			return v
		}
		if !h.fits(dir, b[headSize+1:h.size]) {
			return dissect.No
		}
		v, b = dissect.Likely, b[h.size:]
	}
	return v
}

// detectOnPort also accepts functions that the specification leaves to vendors, whose data has any form: one
// or more whole messages, up to the end.
func detectOnPort(_ dissect.Dir, b []byte) dissect.Verdict {
	for len(b) > headSize {
		h, err := readHead(b)
		if err != nil || len(b) < h.size {
			return dissect.No
		}
		if b = b[h.size:]; len(b) == 0 {
			return dissect.Yes
		}
	}
	return dissect.No
}

// fits reports whether the data after the function has the form of the function in this direction.
func (h *head) fits(dir dissect.Dir, data []byte) bool {
	if dir == dissect.ToClient {
		return responseFits(h.function, h.failed, data)
	}
	return !h.failed && requestFits(h.function, data)
}
