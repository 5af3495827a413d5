package layers

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

func number(b []byte) (n uint64) {
	for _, c := range b {
		n = n<<8 | uint64(c)
	}
	return n
}

func dec(b []byte) string { return strconv.FormatUint(number(b), 10) }
func hexed(b []byte) string {
	return fmt.Sprintf("0x%0*x", 2*len(b), number(b))
}
func mac(b []byte) string { return net.HardwareAddr(b).String() }
func raw(b []byte) string { return hex.EncodeToString(b) }

func address(b []byte) string {
	a, ok := netip.AddrFromSlice(b)
	if !ok {
		return raw(b)
	}
	return a.String()
}

// bits shows some bits of a number.
func bits(shift uint, mask uint64) func(b []byte) string {
	return func(b []byte) string { return strconv.FormatUint(number(b)>>shift&mask, 10) }
}

// times4 shows a length in words of 4 bytes.
func times4(shift uint) func(b []byte) string {
	return func(b []byte) string { return strconv.FormatUint(4*(number(b)>>shift&15), 10) }
}

var tcpFlagNames = []string{"FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR", "AE"}

func tcpFlags(b []byte) string {
	var list []string
	for i, name := range tcpFlagNames {
		if binary.BigEndian.Uint16(b)>>i&1 != 0 {
			list = append(list, name)
		}
	}
	return fmt.Sprintf("0x%03x (%s)", binary.BigEndian.Uint16(b)&0xfff, strings.Join(list, ", "))
}

func fragment(b []byte) string { return strconv.Itoa(8 * int(binary.BigEndian.Uint16(b)&0x1fff)) }
