package kfl

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/pcapsule/pcapsule/kfl/internal/parse"
)

// Display is a query as a display filter of Wireshark.
type Display struct {
	// Filter matches the frames of both directions of the calls that match the query.
	Filter string

	// Reverse is KFL for the query with client and server exchanged, empty if that is the query itself. Filter also
	// matches the frames of calls that match only this, because Wireshark knows no client.
	Reverse string
}

// Display translates a query of addresses, ports and transports. For any other, why says what Wireshark has no field
// for, and the result is empty.
//
// LIMIT: in a tunnel, Wireshark compares the addresses of all layers; in an ICMP error also those of the packet that
// it quotes.
func (q *Query) Display() (d Display, why string) {
	if q.root == nil || q.expr.Root == nil {
		return d, "it has no condition"
	}
	if q.limit > 0 {
		return d, "it has a limit"
	}
	there, back := displayWriter{}, displayWriter{reverse: true}
	forward, kflForward := there.write(q.root)
	backward, kflBackward := back.write(q.root)
	if there.why != "" {
		return d, there.why
	}
	if kflForward == kflBackward {
		return Display{Filter: forward}, ""
	}
	return Display{Filter: forward + " || " + backward, Reverse: kflBackward}, ""
}

// displayWriter writes a condition as a display filter for one direction, and as KFL.
type displayWriter struct {
	reverse bool
	why     string // what it cannot translate
}

// sided returns the field of an end of a frame or a call.
func (w *displayWriter) sided(client bool, of, kflOf string) (display, filter string) {
	if client != w.reverse {
		return strings.Replace(of, "SIDE", "src", 1), "src." + kflOf
	}
	return strings.Replace(of, "SIDE", "dst", 1), "dst." + kflOf
}

func (w *displayWriter) refuse(what string) (display, filter string) {
	if w.why == "" {
		w.why = "Wireshark has no field that always equals " + what
	}
	return "", ""
}

func (w *displayWriter) write(n *node) (display, filter string) {
	switch n.op {
	case opAnd, opOr:
		sign := map[op]string{opAnd: " && ", opOr: " || "}[n.op]
		var left, right []string
		for _, a := range n.args {
			d, f := w.write(a)
			left, right = append(left, d), append(right, f)
		}
		return "(" + strings.Join(left, sign) + ")", "(" + strings.Join(right, sign) + ")"
	case opNot:
		d, f := w.write(n.args[0])
		return "!(" + d + ")", "!(" + f + ")"
	case opCompare:
		if a, b := n.args[0], n.args[1]; a.op == opCol && b.op == opConst && (n.str == "==" || n.str == "!=") {
			d, f := w.equal(a.str, b)
			if n.str == "!=" {
				return "!(" + d + ")", "!(" + f + ")"
			}
			return d, f
		}
	case opIn:
		a, list := n.args[0], n.args[1]
		if a.op != opCol || list.op != opList || len(list.args) == 0 {
			break
		}
		var left, right []string
		for _, b := range list.args {
			if b.op != opConst {
				return w.refuse(columnOf(n))
			}
			d, f := w.equal(a.str, b)
			left, right = append(left, d), append(right, f)
		}
		return "(" + strings.Join(left, " || ") + ")", "(" + strings.Join(right, " || ") + ")"
	case opRange:
		if a := n.args[0]; a.op == opCol && (a.str == "src_ip" || a.str == "dst_ip") && len(n.nets) > 0 {
			var left, right []string
			for _, net := range n.nets {
				d, f := w.address(a.str == "src_ip", net.Addr(), net.String(), "cidr(%s, %s)")
				left, right = append(left, d), append(right, f)
			}
			return "(" + strings.Join(left, " || ") + ")", "(" + strings.Join(right, " || ") + ")"
		}
	}
	return w.refuse(columnOf(n))
}

// equal writes a comparison of a column with a constant.
func (w *displayWriter) equal(column string, b *node) (display, filter string) {
	switch column {
	case "src_ip", "dst_ip":
		if ip, err := netip.ParseAddr(b.str); err == nil {
			return w.address(column == "src_ip", ip, b.str, "%s == %s")
		}
	case "src_port", "dst_port":
		if b.num < 1 || b.num > 65535 || b.typ.kind != kInt { // 0 is a call without ports
			break
		}
		field, name := w.sided(column == "src_port", "SIDEport == "+strconv.FormatInt(b.num, 10), "port")
		return fmt.Sprintf("(tcp.%[1]s || udp.%[1]s || sctp.%[1]s)", field), name + " == " + strconv.FormatInt(b.num, 10)
	case "transport":
		if b.str == "tcp" || b.str == "sctp" {
			return b.str, `transport == "` + b.str + `"`
		}
	}
	return w.refuse(column)
}

func (w *displayWriter) address(client bool, ip netip.Addr, text, compare string) (display, filter string) {
	family := "ip"
	if ip.Is6() {
		family = "ipv6"
	}
	field, name := w.sided(client, family+".SIDE == "+text, "ip")
	return field, fmt.Sprintf(compare, name, parse.Quote(text))
}

// columnOf names a column that a condition reads.
func columnOf(n *node) string {
	if n.op == opCol {
		return n.str
	}
	for _, a := range n.args {
		if name := columnOf(a); name != "this condition" {
			return name
		}
	}
	return "this condition"
}
