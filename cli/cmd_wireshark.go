package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pcapsule/pcapsule/cli/exit"
	"github.com/pcapsule/pcapsule/cli/wireshark"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/internal/plural"
)

// Names in the folder of a handoff to Wireshark.
const (
	handoffSlice   = "slice.pcapng"
	handoffProfile = "pcapsule"
)

type wiresharkFlags struct {
	packetsFlags
	noKeys bool
	print  bool
}

func (e *env) cmdWireshark() *cobra.Command {
	var f wiresharkFlags
	c := &cobra.Command{
		Use:   "wireshark BUNDLE|CAPTURE... [KFL]",
		Short: "Open the packets of matching calls in Wireshark, with names, columns and colours",
		Long: `Write the packets of matching calls, the secrets that decrypt them, and a Wireshark profile to a new
folder, and start Wireshark with it. The profile has columns for the service, process, call and
outcome of a packet, colours for failed, undelivered and retransmitted calls, names of workloads,
and decodes ports by the protocol that was found there. Earlier packets of the connections are
included. Your own profiles and settings are neither read nor changed.

Without -o the folder is temporary: it is removed when Wireshark ends. If Wireshark is not
installed, or with --print, the folder is kept, and the command that starts Wireshark is printed.`,
		Example: `  pcapsule wireshark incident.pcapsule 'failed && dst.service == "payment"'
  pcapsule wireshark incident.pcapsule --call 4f2a91c07be3
  pcapsule wireshark capture.pcapng 'dns' --print -o handoff`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: completeKFL,
		RunE:              func(c *cobra.Command, args []string) error { return e.runWireshark(c, args, &f) },
	}
	fl := c.Flags()
	fl.StringVarP(&f.output, "output", "o", "", "folder to make and keep")
	fl.BoolVar(&f.print, "print", false, "print the command that starts Wireshark instead of running it")
	fl.BoolVar(&f.noKeys, "no-keys", false, "leave out the secrets that decrypt the packets")
	fl.BoolVar(&f.wholeConnections, "whole-connections", false, "include all packets of the calls' connections")
	fl.BoolVar(&f.noContext, "no-context", false, "include no packets except the selected ones")
	f.keys.Register(fl)
	f.choiceFlags(c)
	return c
}

// choiceFlags adds the flags that select packets.
func (f *packetsFlags) choiceFlags(c *cobra.Command) {
	fl := c.Flags()
	fl.StringVar(&f.vantage, "vantage", "one", "one: each connection as seen from one place; both: from every place that saw it")
	fl.StringArrayVar(&f.calls, "call", nil, "call_id, or # and call_no; can be repeated")
	fl.StringArrayVar(&f.alerts, "alert", nil, "alert_no of an alert of another program (pcapsule bundle --alerts); can be repeated")
	fl.StringArrayVar(&f.frames, "frames", nil, "frames as answers and reports cite them: 'node.pcap frames 12-15,20' or node.pcap:12-15,20; can be repeated")
	fl.StringVar(&f.sql, "sql", "", "SQL query with a column cites, packet_no, call_no or flow_id")
	deadlineFlag(c, forensics.LongTime)
	f.window.flags(c)
}

func (e *env) runWireshark(c *cobra.Command, args []string, f *wiresharkFlags) error {
	switch {
	case f.noKeys && (len(f.keys.Files) > 0 || len(f.keys.Identities) > 0):
		return exit.Usagef("--no-keys excludes --keys and --identity: give one")
	case f.noContext && f.wholeConnections:
		return exit.Usagef("--no-context and --whole-connections exclude each other: give one")
	}
	f.comments, f.withKeys, f.keysIfAny = "call", !f.noKeys, true
	f.withContext = !f.noContext && !f.wholeConnections
	f.noContext = f.noContext && f.withKeys // otherwise there is nothing to leave out
	sel, args, err := f.selection(args)
	if err != nil {
		return err
	}
	dir, kept := f.output, true
	if dir == "" {
		if dir, err = os.MkdirTemp("", "pcapsule-wireshark-"); err != nil {
			return err
		}
		kept = false
	} else {
		if err := exit.NewOutput(dir); err != nil {
			return err
		}
		if err := os.Mkdir(dir, 0o700); err != nil {
			return exit.OutputError(err, dir)
		}
	}
	done := false
	defer func() {
		if !done {
			os.RemoveAll(dir)
		}
	}()
	if dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	f.output = filepath.Join(dir, handoffSlice)
	f.profile = filepath.Join(dir, "profiles", handoffProfile)
	if err := os.Mkdir(filepath.Dir(f.profile), 0o700); err != nil {
		return err
	}
	if err := e.writeSlice(c, args, sel, &f.packetsFlags); err != nil {
		return err
	}
	program := ""
	if !f.print {
		program = findWireshark()
	}
	if program == "" {
		done = true
		e.printStart(dir, f.print)
		return nil
	}
	if err := e.startWireshark(c.Context(), program, dir); err != nil {
		return err
	}
	done = kept
	return nil
}

// writeProfile makes the folder of a profile for slices of a case. said says what the profile has.
func (e *env) writeProfile(ctx context.Context, cs *forensics.Case, filter, dir string) (said func(), err error) {
	p, err := wireshark.Of(ctx, cs)
	if err != nil {
		return nil, e.questionError(err)
	}
	why := ""
	if filter != "" {
		if why, err = p.Translate(ctx, cs, filter); err != nil {
			return nil, e.questionError(err)
		}
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return nil, exit.With(err, exit.Exists, "")
		}
		return nil, exit.OutputError(err, dir)
	}
	if err := p.Write(dir); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return func() { e.printProfile(p, filter, why) }, nil
}

// printProfile says what a profile has.
func (e *env) printProfile(p *wireshark.Profile, filter, why string) {
	var ports []string
	for _, x := range p.Ports[:min(len(p.Ports), 5)] {
		ports = append(ports, fmt.Sprintf("%s/%d %s", strings.TrimSuffix(x.Table, ".port"), x.Port, x.Protocol))
	}
	if n := len(p.Ports) - len(ports); n > 0 {
		ports = append(ports, fmt.Sprintf("%d more", n))
	}
	text := "profile: " + plural.Count(int64(len(p.Hosts)), "name", "names") + " of hosts"
	if len(ports) > 0 {
		text += "; decodes " + strings.Join(ports, ", ")
	}
	e.Remark("%s", text)
	switch {
	case filter == "":
	case why != "":
		e.Remark("%s has no display filter: %s. \"Selected calls\" shows its packets.", filter, why)
	default:
		e.Remark("display filter: %s", p.Filters[len(p.Filters)-1].Filter)
	}
}

// wiresharkArgs are the arguments that open a handoff.
func wiresharkArgs(dir string) []string {
	return []string{"-C", handoffProfile, "-X", "lua_script:" + filepath.Join(dir, "profiles", handoffProfile, wireshark.Script), "-r", filepath.Join(dir, handoffSlice)}
}

// printStart prints the command that starts Wireshark.
func (e *env) printStart(dir string, asked bool) {
	if !asked {
		e.Remark("Wireshark is not installed here. The files are in %s; this command opens them:", dir)
	}
	words := []string{"WIRESHARK_CONFIG_DIR=" + shellWord(dir), "wireshark"}
	for _, a := range wiresharkArgs(dir) {
		words = append(words, shellWord(a))
	}
	fmt.Fprintln(e.Out, strings.Join(words, " "))
}

// shellWord quotes a word for a shell if it needs that.
func shellWord(s string) string {
	if s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("/._-:=", r)
	}) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// findWireshark finds the program; empty if it is not installed.
func findWireshark() string {
	for _, name := range []string{"wireshark", "/Applications/Wireshark.app/Contents/MacOS/Wireshark"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}

// startWireshark runs Wireshark until the user closes it. Its own messages are shown only if it fails.
func (e *env) startWireshark(ctx context.Context, program, dir string) error {
	p := exec.CommandContext(ctx, program, wiresharkArgs(dir)...)
	p.Env = append(os.Environ(), "WIRESHARK_CONFIG_DIR="+dir)
	var said strings.Builder
	p.Stderr = &said
	err := p.Run()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		text := strings.TrimSpace(said.String())
		if i := strings.LastIndexByte(text, '\n'); i >= 0 {
			text = text[i+1:]
		}
		return exit.With(fmt.Errorf("running %s: %w: %s", program, err, text), exit.Other, "--print -o FOLDER writes the files without starting Wireshark")
	}
	return nil
}
