package dissect

// Hold takes n bytes out of the engine's budget for what a dissector keeps by itself
// beyond one Read, such as a message in pieces. False means that it must not keep them.
func (c *Conn) Hold(n int) bool { return c.grow(n) }

// Release gives back n bytes that Hold took.
func (c *Conn) Release(n int) { c.shrink(n) }
