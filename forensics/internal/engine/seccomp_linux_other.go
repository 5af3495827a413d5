//go:build linux && !amd64

package engine

// alsoReaching are older forms that some architectures have.
var alsoReaching []uint32
