package guess

import "encoding/binary"

// streams are the forms of protocols on streams, from the most specific to the least.
var streams = []form{
	{"ssh", either("SSH-2.0-", "SSH-1.")},
	{"amqp", client("AMQP")},
	{"bittorrent", either("\x13BitTorrent protocol")},
	{"vnc", either("RFB 003.", "RFB 004.")},
	{"bolt", client("\x60\x60\xb0\x17")},
	{"git", isGit},
	{"rsync", either("@RSYNCD: ")},
	{"zabbix", either("ZBXD\x01", "ZBXD\x03")},
	{"hbase", client("HBas")},
	{"hadoop", client("hrpc")},
	{"ceph", either("ceph v")},
	{"xmpp", either("<stream:stream", "<?xml version='1.0'?><stream:", "<?xml version=\"1.0\"?><stream:")},
	{"nsq", client("  V2")},
	{"nats", func(c, s *Side) bool { return prefix(s.Head, "INFO {") || prefix(c.Head, "CONNECT {") }},
	{"stomp", func(c, s *Side) bool { return prefix(c.Head, "CONNECT\n", "STOMP\n") || prefix(s.Head, "CONNECTED\n") }},
	{"clickhouse", func(c, _ *Side) bool { return prefix(c.Head, "\x00") && contains(c.Head, "ClickHouse") }},
	{"rtsp", func(c, s *Side) bool { return isRTSP(c.Head) || isRTSP(s.Head) }},
	{"pptp", func(c, _ *Side) bool { return len(c.Head) >= 8 && binary.BigEndian.Uint32(c.Head[4:]) == 0x1a2b3c4d }},
	{"stun", func(c, _ *Side) bool { return isSTUN(c.Head) }},
	{"mqtt", isMQTT},
	{"mysql", isMySQL},
	{"mongodb", func(c, s *Side) bool { return isMongoDB(c.Head) || isMongoDB(s.Head) }},
	{"smb", func(c, s *Side) bool { return isSMB(c.Head) || isSMB(s.Head) }},
	{"rdp", isRDP},
	{"mssql", isMSSQL},
	{"oracle", isOracle},
	{"ldap", func(c, s *Side) bool { return isLDAP(c.Head) || isLDAP(s.Head) }},
	{"kerberos", func(c, s *Side) bool { return isKerberosStream(c.Head) || isKerberosStream(s.Head) }},
	{"diameter", func(c, _ *Side) bool { return isDiameter(c.Head) }},
	{"thrift", func(c, s *Side) bool { return isThrift(c.Head) || isThrift(s.Head) }},
	{"cassandra", isCassandra},
	{"memcached", isMemcached},
	{"kafka", isKafka},
	{"fastcgi", func(c, _ *Side) bool {
		return prefix(c.Head, "\x01\x01\x00\x01\x00\x08\x00\x00\x00") && at(c.Head, 9)-1 < 3
	}},
	{"nfs", func(c, _ *Side) bool { return isRPC(c.Head, 4, nfsProgram) }},
	{"sunrpc", func(c, _ *Side) bool { return isRPC(c.Head, 4, 0) }},
	{"telnet", func(c, s *Side) bool { return isTelnet(c.Head) || isTelnet(s.Head) }},
	{"ftp", isFTP},
	{"smtp", isSMTP},
	{"pop3", isPOP3},
	{"imap", func(_, s *Side) bool { return prefix(s.Head, "* OK", "* PREAUTH", "* BYE") }},
	{"irc", func(c, _ *Side) bool { return prefix(c.Head, "NICK ", "CAP LS") }},
	{"shell", isShell},
}

// isGit reports a pkt-line with the name of a service (gitprotocol-pack).
func isGit(c, _ *Side) bool {
	return len(c.Head) > 8 && c.Head[0] == '0' && prefix(c.Head[4:], "git-upload-pack ", "git-receive-pack ", "git-upload-archive ")
}

// isMQTT reports a CONNECT with the protocol's name (MQTT 5.0 section 3.1).
func isMQTT(c, _ *Side) bool {
	b := c.Head
	if at(b, 0) != 0x10 {
		return false
	}
	i := 1
	for i < 4 && at(b, i)&0x80 != 0 && i < len(b) {
		i++
	}
	return i+1 < len(b) && prefix(b[i+1:], "\x00\x04MQTT", "\x00\x06MQIsdp")
}

// isMySQL reports the server's first packet: protocol version 10 and a version text, or an error
// about the connection.
func isMySQL(_, s *Side) bool {
	b := s.Head
	if len(b) < 10 || b[3] != 0 {
		return false
	}
	n := int(b[0]) | int(b[1])<<8 | int(b[2])<<16
	if n < 8 || n > 1024 {
		return false
	}
	if b[4] == 0xff { // errors before the handshake: too many connections, host blocked or not allowed
		switch binary.LittleEndian.Uint16(b[5:]) {
		case 1040, 1129, 1130:
			return true
		}
		return false
	}
	return b[4] == 10 && b[5] >= '1' && b[5] <= '9' && contains(b[6:min(len(b), 12)], ".")
}

// isMongoDB reports a message header, and the start of the body that belongs to its opcode
// (MongoDB Wire Protocol).
func isMongoDB(b []byte) bool {
	if len(b) < 26 {
		return false
	}
	size, body := binary.LittleEndian.Uint32(b), b[16:]
	if size < 26 || size > 48_000_000 {
		return false
	}
	document := func(at int) bool { // a BSON document at b[at:] that ends within the message
		if at+4 > len(b) {
			return true // not captured
		}
		n := binary.LittleEndian.Uint32(b[at:])
		return n >= 5 && n <= size-uint32(at)
	}
	flags := binary.LittleEndian.Uint32(body)
	switch binary.LittleEndian.Uint32(b[12:]) {
	case 2013: // OP_MSG
		return flags&^0x10003 == 0 && (body[4] == 0 && document(21) || body[4] == 1)
	case 2012: // OP_COMPRESSED: the opcode inside it, and the compressor
		return (flags == 2013 || flags == 2004 || flags == 1) && body[8] <= 3
	case 2004: // OP_QUERY: the collection's name
		return flags < 1<<8 && isName(body[4]) && contains(body[4:], ".")
	case 2001, 2002, 2005, 2006: // OP_UPDATE, OP_INSERT, OP_GET_MORE, OP_DELETE
		return flags < 4 && isName(body[4]) && contains(body[4:], ".")
	case 1: // OP_REPLY: documents after flags, cursor, start and count
		return flags < 16 && document(36)
	}
	return false
}

func isName(x byte) bool {
	return x >= 'a' && x <= 'z' || x >= 'A' && x <= 'Z' || x >= '0' && x <= '9' || x == '_' || x == '$'
}

// isSMB reports a message of SMB 1, 2 or 3 in a NetBIOS session (MS-SMB2 section 2.1).
func isSMB(b []byte) bool {
	return at(b, 0) == 0 && len(b) > 8 && prefix(b[4:], "\xffSMB", "\xfeSMB", "\xfdSMB")
}

// isRDP reports an X.224 connection request or confirm with a cookie or a negotiation
// (MS-RDPBCGR section 2.2.1.1).
func isRDP(c, s *Side) bool {
	b := c.Head
	if prefix(b, "\x03\x00") && at(b, 5) == 0xe0 && len(b) > 11 {
		n := int(b[3]) // requests are short
		return contains(b[11:], "Cookie: ") || n >= 19 && n <= len(b) && prefix(b[n-8:], "\x01") && prefix(b[n-6:], "\x08\x00")
	}
	b = s.Head
	return prefix(b, "\x03\x00\x00\x13") && at(b, 5) == 0xd0 && len(b) >= 19 && (b[11] == 2 || b[11] == 3) && prefix(b[13:], "\x08\x00")
}

// isMSSQL reports PRELOGIN or LOGIN7 of TDS (MS-TDS sections 2.2.6.5 and 2.2.6.4).
func isMSSQL(c, _ *Side) bool {
	b := c.Head
	if len(b) < 20 || b[1] > 1 || b[4] != 0 || b[5] != 0 {
		return false
	}
	n := int(binary.BigEndian.Uint16(b[2:]))
	switch b[0] {
	case 0x12: // the first option is the version; the offset of its value is within the packet
		return n > 20 && n < 512 && b[8] == 0 && int(binary.BigEndian.Uint16(b[9:])) < n && binary.BigEndian.Uint16(b[11:]) == 6
	case 0x10: // the length is there twice; versions 7.0 to 7.4
		return int(binary.LittleEndian.Uint32(b[8:])) == n-8 && b[15]>>4 == 7
	}
	return false
}

// isOracle reports a TNS packet of type CONNECT: length, no checksums, and a version near 300.
func isOracle(c, _ *Side) bool {
	b := c.Head
	if len(b) < 10 || b[2] != 0 || b[3] != 0 || b[4] != 1 || b[6] != 0 || b[7] != 0 {
		return false
	}
	n, version := binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[8:])
	return n >= 58 && version >= 300 && version < 350
}

// isKerberosStream reports a message of RFC 4120 after its length (section 7.2.2).
func isKerberosStream(b []byte) bool {
	return len(b) > 8 && b[0] == 0 && b[1] == 0 && isKerberos(b[4:])
}

// isDiameter reports a header with a command that connections begin with (RFC 6733 section 3).
func isDiameter(b []byte) bool {
	if len(b) < 20 || b[0] != 1 || b[3]%4 != 0 || b[4]&0x0f != 0 {
		return false
	}
	n := int(b[1])<<16 | int(b[2])<<8 | int(b[3])
	command := int(b[5])<<16 | int(b[6])<<8 | int(b[7])
	return n >= 20 && n < 1<<16 && (command >= 257 && command <= 282 || command >= 300 && command <= 325)
}

// isThrift reports a strict binary or compact message, in a frame or without: its kind and the
// name of its method (Apache Thrift, thrift-rpc.md).
func isThrift(b []byte) bool {
	if len(b) > 16 && b[0] == 0 && b[4] >= 0x80 { // after the length of a frame
		b = b[4:]
	}
	switch {
	case len(b) < 10:
		return false
	case b[0] == 0x80 && b[1] == 1 && b[2] == 0 && b[3] >= 1 && b[3] <= 4:
		n := binary.BigEndian.Uint32(b[4:])
		return n > 0 && n < 256 && isWord(b[8:min(len(b), 8+int(n))])
	case b[0] == 0x82 && b[1]&0x1f == 1 && b[1]>>5 >= 1 && b[1]>>5 <= 4 && b[2] < 0x80:
		n := int(b[3])
		return n > 2 && n < 64 && 4+n <= len(b) && isWord(b[4:4+n])
	}
	return false
}

// isCassandra reports frames of the CQL binary protocol, versions 1 to 5: a STARTUP, or frames of
// both sides that agree on the version.
func isCassandra(c, s *Side) bool {
	frame := func(b []byte, answer byte) bool {
		if len(b) < 8 || b[0]&0x80 != answer || b[0]&0x7f < 1 || b[0]&0x7f > 5 || b[1] > 0x1f {
			return false
		}
		op, size := b[3], b[4:]
		if b[0]&0x7f >= 3 {
			op, size = b[4], b[5:]
		}
		return op <= 0x10 && at(size, 0) == 0
	}
	if !frame(c.Head, 0) {
		return false
	}
	return contains(c.Head, "CQL_VERSION") || frame(s.Head, 0x80) && c.Head[0] == s.Head[0]&0x7f
}

// isKafka reports a request, and a response with the same correlation id (Kafka protocol guide).
func isKafka(c, s *Side) bool {
	b := c.Head
	if len(b) < 14 || len(s.Head) < 8 || b[0] > 1 || s.Head[0] > 1 {
		return false
	}
	size, key, version := binary.BigEndian.Uint32(b), binary.BigEndian.Uint16(b[4:]), binary.BigEndian.Uint16(b[6:])
	return size >= 10 && key < 100 && version < 20 && string(b[8:12]) == string(s.Head[4:8])
}

// isTelnet reports two negotiations in a row (RFC 854).
func isTelnet(b []byte) bool {
	option := func(b []byte) bool { return len(b) >= 3 && b[0] == 0xff && b[1] >= 0xfb && b[1] <= 0xfe && b[2] < 50 }
	return option(b) && (len(b) == 3 || option(b[3:]))
}
