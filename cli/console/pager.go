package console

import (
	"errors"
	"io"
	"os"
	"os/exec"
)

// Pager sends output to a terminal through a program that shows it page by page. The program
// starts at the first byte, so that a command that fails does not start it.
type Pager struct {
	term  *os.File
	cmd   *exec.Cmd
	in    io.WriteCloser
	begun bool
}

// PagerOf returns a pager for the terminal out: the program in PAGER, or else less, which
// prints text that fits the screen without paging. It returns nil if there is no pager, out
// is not a terminal, or PAGER is empty or cat.
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

// Write implements io.Writer. If the program cannot start, the text is written to the
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
		p.cmd.Env = append(p.cmd.Env, "LESS=FRX") // exit if it fits one screen, pass colours, keep the text on exit
	}
	in, err := p.cmd.StdinPipe()
	if err == nil && p.cmd.Start() == nil {
		p.in = in
	}
}

// Close waits until the reader quits the pager.
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
