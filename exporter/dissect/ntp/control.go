package ntp

import (
	"encoding/binary"
	"fmt"
	"strconv"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Sizes of the heads of control and private messages.
const (
	controlSize = 12
	privateSize = 8
)

// operations of control messages, RFC 9327 section 2.
var operations = map[uint8]string{0: "unspecified", 1: "read_status", 2: "read_variables", 3: "write_variables", 4: "read_clock", 5: "write_clock", 6: "set_trap", 7: "trap",
	8: "configure", 9: "save_config", 10: "read_mru", 11: "read_ordlist", 12: "request_nonce", 31: "unset_trap"}

// controlErrors are the names of error codes, RFC 9327 section 3.1.
var controlErrors = map[int32]string{1: "authentication failure", 2: "invalid message", 3: "invalid operation", 4: "unknown association", 5: "unknown variable", 6: "invalid value", 7: "administratively prohibited"}

// privateRequests are those of ntpd's ntp_request.h, by their numbers.
var privateRequests = [...]string{"peer_list", "peer_list_sum", "peer_info", "peer_stats", "sys_info", "sys_stats", "io_stats", "mem_stats", "loop_info", "timer_stats", "config", "unconfig",
	"set_sys_flag", "clear_sys_flag", "monitor", "nomonitor", "get_restrict", "restrict_add", "restrict_sub", "unrestrict", "monlist", "reset_stats", "reset_peer", "reread_keys", 24: "", 25: "", 26: "trust_key",
	27: "untrust_key", 28: "auth_info", 29: "traps", 30: "add_trap", 31: "clear_trap", 32: "request_key", 33: "control_key", 34: "control_stats", 35: "leap_info", 36: "clock_info", 37: "set_clock_fudge",
	38: "kernel", 39: "clock_bug_info", 41: "set_precision", 42: "monlist", 43: "hostname_association", 44: "interface_stats", 45: "interface_reload"}

// privateErrors are the names of error codes, ntp_request.h.
var privateErrors = map[int32]string{1: "implementation", 2: "request", 3: "format", 4: "no data", 7: "authentication failure"}

// controlShape checks a control message and returns its size without a MAC, 0 if it is not one.
func controlShape(b []byte) int {
	if len(b) < controlSize || b[0]>>6 != 0 || b[0]>>3&7 < 1 || b[0]>>3&7 > 4 {
		return 0
	}
	count := int(binary.BigEndian.Uint16(b[10:]))
	n := controlSize + (count+3)&^3
	if _, known := operations[b[1]&31]; !known || count > 0xffff-controlSize || len(b) < controlSize+count {
		return 0
	}
	return min(n, len(b))
}

// control handles a control message.
func (k *conn) control(in *dissect.Input) (int, error) {
	b := in.Data
	n := controlShape(b)
	if n == 0 {
		return 0, fmt.Errorf("reading a control message: %d bytes and operation %d are not one", len(b), b[1]&31)
	}
	if rest := len(b) - n; rest == 20 || rest == 24 || rest == 12 {
		n = len(b) // a MAC
	}
	op := operations[b[1]&31]
	sequence := uint64(binary.BigEndian.Uint16(b[2:]))
	if b[1]&0x80 == 0 {
		c := k.begin(in, n, modeControl)
		c.Row.Operation = table.Some(op)
		k.Await(key{in.Dir, modeControl, sequence}, c, 0)
		return n, nil
	}
	id := key{in.Dir.Other(), modeControl, sequence}
	if more := b[1]&0x20 != 0; more {
		if c, ok := k.Get(id); ok { // a fragment
			c.X.Response(in, 0, n)
			return n, nil
		}
	}
	c := k.answer(in, n, modeControl, id)
	c.Row.Operation = table.Some(op)
	if b[1]&0x40 != 0 {
		c.Row.Status = table.Some(int32(b[4]))
		c.Row.StatusText = name(controlErrors, c.Row.Status.V)
	}
	k.End(c, "")
	return n, nil
}

// privateShape checks a private message and returns its size, 0 if it is not one.
func privateShape(b []byte) int {
	if len(b) < privateSize || b[0]>>3&7 < 1 || b[0]>>3&7 > 4 || b[2] > 3 {
		return 0
	}
	items, size := int(binary.BigEndian.Uint16(b[4:])&0xfff), int(binary.BigEndian.Uint16(b[6:])&0xfff)
	n := privateSize + items*size
	if int(b[3]) >= len(privateRequests) || privateRequests[b[3]] == "" || b[6]&0xf0 != 0 || n > len(b) || items > 0 && size == 0 {
		return 0
	}
	return n
}

// private handles a private message. A response may have many, with the same number.
func (k *conn) private(in *dissect.Input) (int, error) {
	b := in.Data
	n := privateShape(b)
	if n == 0 {
		return 0, fmt.Errorf("reading a private message: %d bytes with request %d are not one", len(b), b[3])
	}
	n = len(b) // requests are padded to a fixed size, and may have a MAC
	op, id := privateRequests[b[3]], uint64(b[2])<<8|uint64(b[3])
	if b[0]&0x80 == 0 {
		c := k.begin(in, n, modePrivate)
		c.Row.Operation = table.Some(op)
		k.Await(key{in.Dir, modePrivate, id}, c, 0)
		return n, nil
	}
	if b[0]&0x40 != 0 {
		if c, ok := k.Get(key{in.Dir.Other(), modePrivate, id}); ok {
			c.X.Response(in, 0, n)
			return n, nil
		}
	}
	c := k.answer(in, n, modePrivate, key{in.Dir.Other(), modePrivate, id})
	c.Row.Operation = table.Some(op)
	if code := int32(b[4] >> 4); code != 0 {
		c.Row.Status, c.Row.StatusText = table.Some(code), name(privateErrors, code)
	}
	k.End(c, "")
	return n, nil
}

func name(names map[int32]string, code int32) table.Opt[string] {
	if s, ok := names[code]; ok {
		return table.Some(s)
	}
	return table.Some("error " + strconv.Itoa(int(code)))
}
