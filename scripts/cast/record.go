package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Size of the terminal.
const (
	columns = 80
	lines   = 40
)

// Times of a session, apart from the times that its commands need.
const (
	typing = 30 * time.Millisecond // a character
	enter  = 400 * time.Millisecond
	pause  = 2 * time.Second // to read the output
)

// cast is a recording in the asciicast format, version 2.
type cast struct {
	Version int `json:"version"`
	Width   int `json:"width"`
	Height  int `json:"height"`
	events  []event
}

// event is text that appears in the terminal.
type event struct {
	at   time.Duration
	text string
}

// prompt begins the line of a command.
const prompt = "\x1b[1m$\x1b[0m "

// record runs commands one after another in a folder that has samples/ beside it. A command after
// "# " prepares the folder and is not shown.
func record(commands []string, bin string) (*cast, error) {
	dir, err := os.MkdirTemp("", "cast")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	samples, err := filepath.Abs("samples")
	if err != nil {
		return nil, err
	}
	if err := os.Symlink(samples, filepath.Join(dir, "samples")); err != nil {
		return nil, err
	}
	if bin, err = filepath.Abs(bin); err != nil {
		return nil, err
	}
	c := &cast{Version: 2, Width: columns, Height: lines}
	var at time.Duration
	for _, command := range commands {
		command, prepares := strings.CutPrefix(command, "# ")
		events, err := watch(terminal(command, dir, bin))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", command, err)
		}
		if prepares {
			continue
		}
		if at > 0 {
			c.events = append(c.events, event{at, "\r\n"})
		}
		c.events = append(c.events, event{at, prompt})
		for _, r := range command {
			at += typing
			c.events = append(c.events, event{at, string(r)})
		}
		at += enter
		c.events = append(c.events, event{at, "\r\n"})
		for _, e := range events {
			c.events = append(c.events, event{at + e.at, e.text})
		}
		if len(events) > 0 {
			at += events[len(events)-1].at
		}
		at += pause
	}
	return c, nil
}

// terminal returns a command that runs in a terminal.
func terminal(command, dir, bin string) *exec.Cmd {
	c := exec.Command("script", "-qefc", fmt.Sprintf("stty cols %d rows %d; %s", columns, lines, command), os.DevNull)
	c.Dir = dir
	c.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "HOME="+dir, "TERM=xterm-256color", "TZ=UTC", "PAGER=cat")
	return c
}

// watch runs a command and notes when its output comes.
func watch(c *exec.Cmd) (list []event, err error) {
	out, err := c.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.Start(); err != nil {
		return nil, err
	}
	began := time.Now()
	r, b := bufio.NewReader(out), make([]byte, 64<<10)
	for {
		n, err := r.Read(b)
		if n > 0 {
			list = append(list, event{time.Since(began).Round(10 * time.Millisecond), string(b[:n])})
		}
		if err == io.EOF {
			return list, c.Wait()
		}
		if err != nil {
			return nil, err
		}
	}
}

// text is the content of the .cast file.
func (c *cast) text() string {
	var b strings.Builder
	j := json.NewEncoder(&b)
	j.SetEscapeHTML(false)
	j.Encode(c)
	for _, e := range c.events {
		j.Encode([]any{e.at.Seconds(), "o", e.text})
	}
	return b.String()
}
