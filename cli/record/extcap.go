package record

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pcapsule/pcapsule/cli/command"
	"github.com/pcapsule/pcapsule/cli/console"
	"github.com/pcapsule/pcapsule/cli/exit"
	"github.com/pcapsule/pcapsule/forensics/redact"
	"github.com/pcapsule/pcapsule/internal/version"
	"github.com/pcapsule/pcapsule/internal/whole"
	"github.com/pcapsule/pcapsule/recorder"
	"github.com/pcapsule/pcapsule/recorder/filter"
)

const (
	extcapInterface = "pcapsule"        // as Wireshark lists it
	extcapProgram   = "pcapsule-extcap" // in Wireshark's folder
	linkSLL2        = 276               // LINKTYPE_LINUX_SLL2
)

type extcapFlags struct {
	interfaces, dlts, config, capture, cleanup bool
	name, version, fifo, filter, reload        string
	cgroup                                     string
	ownerComments, headersOnly, noOwners       bool
	verify                                     bool // check a filter
}

// Extcap returns the command extcap.
func Extcap(s *console.Streams) *cobra.Command {
	e := &env{s}
	var f extcapFlags
	c := &cobra.Command{
		Use:   "extcap",
		Short: "Act as a capture interface in Wireshark",
		Long: `Act as a capture program for Wireshark (extcap). The interface pcapsule captures packets of this
machine's sockets, with the process and container behind each. Wireshark calls this command with
the flags below; you only run pcapsule extcap install, once.

Recording needs the same rights as pcapsule record.`,
		Example: `  pcapsule extcap install
  tshark -D
  tshark -i pcapsule
  pcapsule extcap --extcap-interfaces`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			f.verify = c.Flags().Changed("extcap-capture-filter")
			return e.runExtcap(c, &f)
		},
	}
	fl := c.Flags()
	fl.BoolVar(&f.interfaces, "extcap-interfaces", false, "list the interfaces")
	fl.StringVar(&f.version, "extcap-version", "", "version of the calling Wireshark")
	fl.StringVar(&f.name, "extcap-interface", "", "interface to use")
	fl.BoolVar(&f.dlts, "extcap-dlts", false, "print the interface's link type")
	fl.BoolVar(&f.config, "extcap-config", false, "list the interface's settings")
	fl.StringVar(&f.reload, "extcap-reload-option", "", "list the values of a setting; no setting has a list")
	fl.BoolVar(&f.cleanup, "extcap-cleanup-postkill", false, "accepted for compatibility: there is nothing to clean up")
	fl.BoolVar(&f.capture, "capture", false, "capture until the reader closes the pipe")
	fl.StringVar(&f.fifo, "fifo", "", "named pipe to write packets to")
	fl.StringVar(&f.filter, "extcap-capture-filter", "", "tcpdump filter; without --capture it is only checked")
	fl.StringVar(&f.cgroup, "cgroup", "", "setting: only sockets of this control group and those below it")
	fl.BoolVar(&f.ownerComments, "owner-comments", false, "setting: add a comment with the owner to every packet")
	fl.BoolVar(&f.headersOnly, "headers-only", false, "setting: keep only network and transport headers")
	fl.BoolVar(&f.noOwners, "no-owners", false, "setting: do not find the owners of sockets")
	install := e.cmdExtcapInstall()
	install.Args = command.CheckArgs(install.Args)
	c.AddCommand(install)
	return c
}

func (e *env) runExtcap(c *cobra.Command, f *extcapFlags) error {
	if f.interfaces {
		fmt.Fprintf(e.Out, "extcap {version=%s}{help=https://github.com/pcapsule/pcapsule}{display=pcapsule}\n", version.Release)
		fmt.Fprintf(e.Out, "interface {value=%s}{display=Sockets of this machine, with their owners}\n", extcapInterface)
		return nil
	}
	if f.name == "" && !f.dlts && !f.config && !f.capture && !f.verify && !f.cleanup && f.reload == "" {
		return c.Help()
	}
	if f.name != extcapInterface && !f.cleanup {
		return exit.Usagef("--extcap-interface %q: must be %s", f.name, extcapInterface)
	}
	switch {
	case f.capture:
		return e.extcapCapture(c.Context(), f)
	case f.dlts:
		fmt.Fprintf(e.Out, "dlt {number=%d}{name=LINUX_SLL2}{display=Linux cooked capture v2}\n", linkSLL2)
	case f.config:
		fmt.Fprint(e.Out, extcapSettings)
	case f.verify:
		// Wireshark accepts the filter if nothing is printed, and otherwise shows the first
		// line as the error. It ignores the output if the exit code is not 0.
		if _, err := filter.Compile(f.filter, linkSLL2, 0); err != nil {
			fmt.Fprintln(e.Out, console.Lines(err.Error()))
		}
	}
	return nil
}

// extcapSettings are the settings in Wireshark's dialog, extcap(4).
const extcapSettings = `arg {number=0}{call=--cgroup}{display=Control group}{type=string}{tooltip=Only sockets of this control group and those below it; empty means all}{required=false}
arg {number=1}{call=--owner-comments}{display=Owner as a comment on each packet}{type=boolflag}{default=false}
arg {number=2}{call=--headers-only}{display=Headers only}{type=boolflag}{default=false}
arg {number=3}{call=--no-owners}{display=Do not find the owners of sockets}{type=boolflag}{default=false}
`

// extcapCapture records into the pipe until its reader closes it or a signal arrives.
func (e *env) extcapCapture(ctx context.Context, f *extcapFlags) error {
	if f.fifo == "" {
		return exit.Usagef("--capture needs a pipe: give --fifo PATH")
	}
	pipe, err := openPipe(ctx, f.fifo)
	if err != nil {
		return err
	}
	_, err = recorder.Run(ctx, recorder.Options{
		Capture: recorder.Sockets, Stream: pipe, Filter: f.filter, Cgroup: f.cgroup, Comments: f.ownerComments, HeadersOnly: f.headersOnly,
		NoOwners: f.noOwners, NoEvents: true, Program: "pcapsule " + version.Release, Mask: redact.Arguments, OnError: func(err error) { e.Warn("%v", err) },
	})
	err = errors.Join(err, pipe.Close())
	if exit.IsClosedPipe(err) {
		return nil // Wireshark ends a capture like this
	}
	if err != nil {
		return recordError(err, f.fifo)
	}
	return nil
}

// openPipe opens a named pipe for writing. It blocks until there is a reader.
func openPipe(ctx context.Context, path string) (*os.File, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("opening --fifo: %w", err)
	}
	if info.Mode()&fs.ModeNamedPipe == 0 {
		return nil, exit.Usagef("--fifo %s: must be a named pipe", path)
	}
	type opened struct {
		f   *os.File
		err error
	}
	ready := make(chan opened, 1)
	go func() {
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		ready <- opened{f, err}
	}()
	select {
	case o := <-ready:
		return o.f, o.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (e *env) cmdExtcapInstall() *cobra.Command {
	return &cobra.Command{
		Use:   "install [FOLDER]",
		Short: "Install pcapsule as a capture program of Wireshark",
		Long: `Write a small program, ` + extcapProgram + `, that calls this one into Wireshark's personal folder
for capture programs, and print its path. tshark -G folders shows that folder; without tshark, see
Help, About, Folders in Wireshark.`,
		Example: `  pcapsule extcap install
  pcapsule extcap install ~/.local/lib/wireshark/extcap`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			folder := ""
			if len(args) > 0 {
				folder = args[0]
			}
			return e.extcapInstall(c.Context(), folder)
		},
	}
}

func (e *env) extcapInstall(ctx context.Context, folder string) error {
	if runtime.GOOS == "windows" {
		return exit.With(errors.New("installing: pcapsule records on Linux only"), exit.Other, "on a Linux machine run pcapsule record -w -, and pipe its output into wireshark -k -i - here")
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding this program: %w", err)
	}
	if folder == "" {
		if folder, err = extcapFolder(ctx); err != nil {
			return err
		}
	}
	if err := exit.Outside(folder); err != nil {
		return err
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return exit.OutputError(fmt.Errorf("making folder %s: %w", folder, err), folder)
	}
	path := filepath.Join(folder, extcapProgram)
	text := extcapScript(self)
	if old, err := os.ReadFile(path); err == nil && string(old) == text {
		fmt.Fprintf(e.Out, "%s is already installed\n", path)
		return nil
	} else if err == nil && !strings.HasPrefix(string(old), extcapHead) || err != nil && !errors.Is(err, fs.ErrNotExist) {
		return exit.With(fmt.Errorf("output %s exists and was not written by pcapsule", path), exit.Exists, "remove it first, or choose another folder")
	}
	if err := whole.Replace(path, 0o755, whole.Text([]byte(text))); err != nil {
		return exit.OutputError(err, path)
	}
	fmt.Fprintf(e.Out, "%s calls %s\n", path, self)
	fmt.Fprintf(e.Out, "Wireshark lists the interface %s when it starts, or with Capture, Refresh Interfaces; tshark -D lists it too\n", extcapInterface)
	return nil
}

// extcapHead is the beginning of our program; it distinguishes it from others.
const extcapHead = "#!/bin/sh\n# pcapsule as a capture program of Wireshark\n"

// extcapScript is a program, not a link: Wireshark would call a link without the argument
// extcap.
func extcapScript(self string) string {
	return extcapHead + "exec '" + strings.ReplaceAll(self, "'", `'\''`) + "' extcap \"$@\"\n"
}

// extcapFolder asks tshark for its personal folder for capture programs.
func extcapFolder(ctx context.Context) (string, error) {
	var personal string
	out, err := exec.CommandContext(ctx, "tshark", "-G", "folders").Output()
	for line := range strings.Lines(string(out)) {
		name, path, _ := strings.Cut(line, ":")
		path = strings.TrimSpace(path)
		switch {
		case path == "":
		case name == "Personal Extcap path":
			return path, nil
		case name == "Personal configuration": // releases before 4.2 use a folder below it
			personal = filepath.Join(path, "extcap")
		}
	}
	if personal == "" {
		if err == nil {
			err = errors.New("tshark -G folders does not list it")
		}
		return "", exit.With(fmt.Errorf("finding Wireshark's folder for capture programs: %w", err), exit.Other,
			"give the folder: pcapsule extcap install FOLDER; Wireshark shows it in Help, About, Folders")

	}
	return personal, nil
}
