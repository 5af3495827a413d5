// Package sandbox runs other programs that read captured files, such as YARA, in a confined process. It uses what confines
// the database worker of a case, which is the same program: one that calls Run must call worker.Main first.
package sandbox

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"

	"github.com/pcapsule/pcapsule/forensics/internal/confine"
	"github.com/pcapsule/pcapsule/forensics/internal/duck"
	"github.com/pcapsule/pcapsule/forensics/internal/wire"
	"github.com/pcapsule/pcapsule/internal/clip"
)

// Program is another program that Run confines: no network, no files but its own, the system's libraries and Read, no other
// process, limited memory and CPU time.
type Program = confine.Program

// maxSaid is how much of a program's errors is kept.
const maxSaid = 4096

// Run runs a program in a confined process until the context ends, and returns at most that many bytes of its output, and
// the beginning of what it said on standard error. A program that cannot be confined does not run. If it fails, the error has
// what it said, and the output is what it wrote before.
func Run(ctx context.Context, p Program, most int) (written []byte, said string, err error) {
	self, err := duck.FindProgram()
	if err != nil {
		return nil, "", err
	}
	text, err := json.Marshal(p)
	if err != nil {
		return nil, "", err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	cmd := exec.CommandContext(ctx, self, wire.ProgramArgument, string(text))
	out, complaint := &head{most: most, full: stop}, &head{most: maxSaid}
	cmd.Stdout, cmd.Stderr, cmd.Env = out, complaint, []string{}
	err = cmd.Run()
	said = clip.Line([]byte(strings.TrimSpace(complaint.b.String())), 500)
	switch {
	case out.over:
		return nil, "", fmt.Errorf("%s wrote more than %d bytes", p.Path, most)
	case err == nil:
		return out.b.Bytes(), said, nil
	case ctx.Err() != nil:
		return nil, "", context.Cause(ctx)
	case cmd.ProcessState != nil && !cmd.ProcessState.Exited():
		return out.b.Bytes(), said, fmt.Errorf("%s ended: %s; it may use %d MiB of memory and %d seconds of CPU time", p.Path, cmd.ProcessState, p.Memory>>20, p.Seconds)
	}
	return out.b.Bytes(), said, fmt.Errorf("%s: %s", p.Path, said)
}

// head keeps the first bytes that are written.
type head struct {
	b    bytes.Buffer
	most int
	over bool
	full func()
}

// Write implements io.Writer.
func (h *head) Write(p []byte) (int, error) {
	if room := h.most - h.b.Len(); len(p) > room {
		h.b.Write(p[:room])
		if h.full != nil && !h.over {
			h.over = true
			h.full()
		}
		return len(p), nil
	}
	return h.b.Write(p)
}
