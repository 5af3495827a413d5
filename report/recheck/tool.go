package recheck

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/pcapsule/pcapsule/report/value"
)

// tool is tshark with a home folder that only it uses.
type tool struct {
	path, home, version string
	time                time.Duration // of one run
}

func (t *tool) close() { _ = os.RemoveAll(t.home) } // it is empty or has files of the tool

// Installed returns ErrNoTool if the tool is not installed.
func Installed() error {
	_, err := find()
	return err
}

// find returns the path of the tool, or ErrNoTool.
func find() (string, error) {
	path, err := exec.LookPath(Tool)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrNoTool, err)
	}
	return filepath.Abs(path)
}

// command prepares a run without the user's configuration, plug-ins and environment.
func (t *tool) command(ctx context.Context, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, t.path, args...)
	c.Dir = t.home
	c.WaitDelay = leaveTime
	c.Env = []string{"HOME=" + t.home, "XDG_CONFIG_HOME=" + t.home, "XDG_RUNTIME_DIR=" + t.home, "TMPDIR=" + t.home, "WIRESHARK_CONFIG_DIR=" + t.home,
		"WIRESHARK_PLUGIN_DIR=" + t.home, "WIRESHARK_EXTCAP_DIR=" + t.home, "TZ=UTC", "LC_ALL=C.UTF-8"}
	for _, name := range []string{"SystemRoot", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"} {
		if v, ok := os.LookupEnv(name); ok {
			c.Env = append(c.Env, name+"="+v)
		}
	}
	return c
}

// askVersion returns the version of the tool.
func (t *tool) askVersion(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, runTime)
	defer cancel()
	out, err := t.command(ctx, "--version").Output()
	if err != nil {
		return "", fmt.Errorf("asking %s for its version: %w", t.path, err)
	}
	line, _, _ := strings.Cut(string(out), "\n") // TShark (Wireshark) 4.0.17 (Git v4.0.17 …).
	for _, word := range strings.Fields(line) {
		if word[0] >= '0' && word[0] <= '9' {
			return value.Clean(strings.TrimSuffix(word, "."), 40), nil
		}
	}
	return "", fmt.Errorf("asking %s for its version: it printed %q", t.path, value.Text(line))
}

// fields lists the fields that the tool prints.
func fields() []string {
	list := slices.Clone(raw)
	for _, p := range compared {
		for _, f := range p {
			list = append(list, f.fields...)
		}
	}
	slices.Sort(list)
	return slices.DeleteFunc(slices.Compact(list), func(f string) bool { return f == serverVersion || f == serverSuite })
}

// read runs the tool on packets and returns what it states about those at the wanted places.
func (t *tool) read(ctx context.Context, flags []string, wanted map[string]bool, packets func(context.Context, *limited) error) (map[string]frame, error) {
	ctx, cancel := context.WithTimeout(ctx, t.time)
	defer cancel()
	args := append([]string{"-n", "-r", "-", "-T", "json"}, flags...) // -n: no look-up of names
	for _, f := range fields() {
		args = append(args, "-e", f)
	}
	c := t.command(ctx, args...)
	stdin, err := c.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := c.StdoutPipe()
	if err != nil {
		return nil, err
	}
	stderr := &limited{w: &bytes.Buffer{}, left: 4 << 10}
	c.Stderr = stderr.discarding()
	if err := c.Start(); err != nil {
		return nil, fmt.Errorf("starting tshark: %w", err)
	}
	if err := limit(c.Process.Pid); err != nil {
		cancel()
		return nil, errors.Join(fmt.Errorf("limiting tshark: %w", err), c.Wait())
	}
	written := make(chan error, 1)
	go func() {
		err := packets(ctx, &limited{w: stdin, left: maxSlice})
		written <- errors.Join(err, stdin.Close())
	}()
	frames, readErr := readFrames(io.LimitReader(stdout, maxOutput), wanted)
	if ended(readErr) {
		readErr = fmt.Errorf("%w: %w", errNoEnd, readErr) // its exit status may say why
	} else if readErr != nil {
		cancel() // it may still write
	}
	writeErr := <-written
	waitErr := c.Wait()
	return frames, cause(ctx, readErr, writeErr, waitErr, stderr.text())
}

// cause is the first reason for which a run failed, in words for the report.
func cause(ctx context.Context, readErr, writeErr, waitErr error, stderr string) error {
	switch {
	case errors.Is(writeErr, errTooLarge):
		return fmt.Errorf("its connection has more than %s before it", value.Bytes(maxSlice))
	case readErr != nil && !errors.Is(readErr, errNoEnd):
		return fmt.Errorf("the output of tshark cannot be read: %w", readErr)
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return errors.New("tshark did not finish in time")
	case waitErr != nil:
		for line := range strings.Lines(stderr) {
			if why, ok := strings.CutPrefix(line, "tshark: "); ok { // other lines have a time
				return fmt.Errorf("tshark failed (%w): %s", waitErr, strings.TrimSpace(why))
			}
		}
		return fmt.Errorf("tshark failed: %w", waitErr)
	case readErr != nil:
		return readErr
	case writeErr != nil:
		return fmt.Errorf("writing packets to tshark: %w", writeErr)
	}
	return nil
}

// readFrames reads the tool's output: a JSON array with one object per packet.
func readFrames(r io.Reader, wanted map[string]bool) (map[string]frame, error) {
	d := json.NewDecoder(r)
	if _, err := d.Token(); err != nil {
		return nil, err
	}
	out := map[string]frame{}
	for d.More() {
		var packet struct {
			Source struct {
				Layers frame `json:"layers"`
			} `json:"_source"`
		}
		if err := d.Decode(&packet); err != nil {
			return nil, err
		}
		f := packet.Source.Layers
		for _, at := range f[comment] {
			if wanted[at] {
				f.derive()
				out[at] = f
			}
		}
	}
	_, err := d.Token() // the end of the array: all packets were read
	return out, err
}

var (
	errTooLarge = errors.New("more bytes than the limit")
	errNoEnd    = errors.New("the output of tshark cannot be read to its end")
)

// ended reports whether a reader found the end of its input too early.
func ended(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }

// limited writes up to a number of bytes.
type limited struct {
	w    io.Writer
	left int
	drop bool // what exceeds the limit is dropped without an error
}

// discarding makes what exceeds the limit vanish.
func (l *limited) discarding() *limited {
	l.drop = true
	return l
}

// Write writes p, or returns an error if it exceeds the limit.
func (l *limited) Write(p []byte) (int, error) {
	if len(p) > l.left {
		if !l.drop {
			return 0, errTooLarge
		}
		_, err := l.w.Write(p[:l.left])
		l.left = 0
		return len(p), err
	}
	l.left -= len(p)
	return l.w.Write(p)
}

// text is the content of a buffer.
func (l *limited) text() string {
	if b, ok := l.w.(*bytes.Buffer); ok {
		return b.String()
	}
	return ""
}
