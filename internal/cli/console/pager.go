package console

import (
	"errors"
	"io"
	"os"
	"os/exec"
)

// Pager is a terminal whose output goes through a program that shows it page by page. The
// program starts with the first byte, so that a command that fails shows none.
type Pager struct {
	term  *os.File
	cmd   *exec.Cmd
	in    io.WriteCloser
	begun bool
}

// PagerOf gives a pager for the terminal out: that of PAGER, or else less, which leaves
// what fits the screen alone. It is nil if there is none, out is no terminal, or PAGER is
// empty or cat.
func PagerOf(out any) *Pager {
	f := File(out)
	if f == nil || !Terminal(f) || os.Getenv("TERM") == "dumb" {
		return nil
	}
	if name, set := os.LookupEnv("PAGER"); set {
		if name == "" || name == "cat" {
			return nil
		}
		return &Pager{term: f, cmd: exec.Command("sh", "-c", name)}
	}
	less, err := exec.LookPath("less")
	if err != nil {
		return nil
	}
	return &Pager{term: f, cmd: exec.Command(less)}
}

// Write implements io.Writer. If the program cannot start, what it was given goes to the
// terminal.
func (p *Pager) Write(b []byte) (int, error) {
	if !p.begun {
		p.begun = true
		p.start()
	}
	if p.in == nil {
		return p.term.Write(b)
	}
	return p.in.Write(b)
}

func (p *Pager) start() {
	p.cmd.Stdout, p.cmd.Stderr, p.cmd.Env = p.term, os.Stderr, os.Environ()
	if _, set := os.LookupEnv("LESS"); !set {
		p.cmd.Env = append(p.cmd.Env, "LESS=FRX") // one screen needs no page, colours, and what was read stays
	}
	in, err := p.cmd.StdinPipe()
	if err == nil && p.cmd.Start() == nil {
		p.in = in
	}
}

// Close waits until the reader has seen enough.
func (p *Pager) Close() error {
	if p == nil || p.in == nil {
		return nil
	}
	err := p.in.Close()
	var ended *exec.ExitError
	if waited := p.cmd.Wait(); !errors.As(waited, &ended) {
		err = errors.Join(err, waited)
	}
	return err
}
