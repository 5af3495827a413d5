package dissect

// readBeside passes a datagram to a second connection on the ports of c, if its protocol sends datagrams between those
// of others. It reports whether it did.
func (c *Conn) readBeside(dir Dir, data []byte, p Packet) bool {
	if c.parent != nil || c.Info.Transport != UDP {
		return false
	}
	if c.beside == nil {
		for _, q := range c.engine.besides {
			if q != c.proto && q.Beside(nil, data) {
				c.beginBeside(q)
				break
			}
		}
	} else if !c.beside.proto.Beside(c.beside.d, data) {
		return false
	}
	if c.beside == nil {
		return false
	}
	if c.beside.turned {
		dir = dir.Other()
	}
	c.now = p
	c.RowBytes += int64(len(data))
	c.beside.Datagram(dir, data, p)
	return true
}

// beginBeside starts this second connection. It keeps the current direction of c's client, because c may later find
// that the sides are swapped.
func (c *Conn) beginBeside(p *Protocol) {
	b := &Conn{Info: c.Info, engine: c.engine, reader: reader{tlsUs: -1},
		relatives: relatives{parent: c, isBeside: true, turned: c.flipped}}
	b.Info.RolesKnown, b.Info.Began = true, [2]bool{true, true}
	c.beside = b
	b.begin(p, Yes)
}
