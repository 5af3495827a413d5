//go:build linux && !amd64

package confine

// alsoReaching are older forms that some architectures have.
var alsoReaching []uint32
