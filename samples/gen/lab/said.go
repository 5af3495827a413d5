package lab

import (
	"fmt"
	"os"
	"strings"
	"sync"
)

// Said is what a client did, as it knows it: an action, its object and its result.
type Said struct {
	mu    sync.Mutex
	Lines []string
}

func (s *Said) Line(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Lines = append(s.Lines, fmt.Sprintf(format, args...))
}

func (s *Said) Write(file string) error {
	return os.WriteFile(file, []byte("# action\tobject\tresult\n"+strings.Join(s.Lines, "\n")+"\n"), 0o644)
}
