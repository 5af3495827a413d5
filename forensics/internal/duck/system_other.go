//go:build !linux && !windows

package duck

import (
	"os"
	"os/exec"
)

func program() (string, error) { return os.Executable() }

// prepare has nothing to do: the worker ends when its input does.
func prepare(*exec.Cmd) (free func()) { return func() {} }

func bound(*exec.Cmd, int64) error { return nil }

func resident(int) int64 { return 0 }
