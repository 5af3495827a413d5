package console

import (
	"os"

	"golang.org/x/sys/windows"
)

// escapes reports whether a terminal acts on escape sequences. It enables them first,
// because a Windows console prints them as text by default.
func escapes(f *os.File) bool {
	h := windows.Handle(f.Fd())
	var mode uint32
	if windows.GetConsoleMode(h, &mode) != nil {
		return true // not a Windows console, for example Cygwin's terminal
	}
	if mode&windows.ENABLE_VIRTUAL_TERMINAL_PROCESSING != 0 {
		return true
	}
	return windows.SetConsoleMode(h, mode|windows.ENABLE_PROCESSED_OUTPUT|windows.ENABLE_VIRTUAL_TERMINAL_PROCESSING) == nil
}
