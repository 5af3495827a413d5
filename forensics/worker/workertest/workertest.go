// Package workertest lets tests open cases.
package workertest

import (
	"github.com/pcapsule/pcapsule/forensics/internal/duck"
	"github.com/pcapsule/pcapsule/internal/duckdbtest"
)

// Main has the cases of a test use the database worker of package duckdbtest. TestMain calls it first.
func Main() {
	_, _ = duckdbtest.Prepare() // a case repeats the error
	duck.SetProgram(duckdbtest.Program)
}
