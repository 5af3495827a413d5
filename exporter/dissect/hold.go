package dissect

// Hold takes n bytes from the engine's budget for what a dissector keeps beyond one Read, such
// as a message in pieces. If it returns false, the dissector must not keep them.
func (c *Conn) Hold(n int) bool { return c.grow(n) }

// Release returns n bytes that Hold took.
func (c *Conn) Release(n int) { c.shrink(n) }
