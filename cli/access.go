package cli

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/pcapsule/pcapsule/cli/custody"
	"github.com/pcapsule/pcapsule/cli/exit"
	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/forensics/redact"
	"github.com/pcapsule/pcapsule/internal/accesslog"
)

// accessVariable names the access log if --access-log does not.
const accessVariable = "PCAPSULE_ACCESS_LOG"

// logged runs a command between its two lines in the access log, if one is kept. A command whose
// first line cannot be written does not run.
func (e *env) logged(c *cobra.Command, args []string, run func() error) error {
	if e.accessPath == "" {
		e.accessPath = os.Getenv(accessVariable)
	}
	if e.accessPath == "" {
		return run()
	}
	if err := cmp.Or(exit.Outside(e.accessPath), exit.InFolder(e.accessPath)); err != nil {
		return err
	}
	log, err := accesslog.Open(e.accessPath)
	if err != nil {
		return exit.With(err, exit.Disk, "pass --access-log a file that you can write to")
	}
	defer log.Close()
	e.access = log
	begin := time.Now()
	words, err := json.Marshal(os.Args[min(1, len(os.Args)):])
	if err != nil {
		return err
	}
	who := custody.Entry(bundle.Entry{})
	line := accesslog.Entry{Client: who.Tool, User: who.User, Host: who.Host, Method: "command", Name: c.CommandPath(), Evidence: evidenceOf(args)}
	line.Time = begin.UTC().Format(time.RFC3339Nano)
	line.Ask(words, maskedWords)
	if err := log.Write(line); err != nil {
		return exit.With(err, exit.Disk, "")
	}
	failed := run()
	code := exit.Done
	if failed != nil {
		code = exitCode(c.Context(), failed)
		line.Error = maskedText(failed.Error())
	}
	line.Time, line.Method, line.Exit = time.Now().UTC().Format(time.RFC3339Nano), "command end", &code
	line.Ms = float64(time.Since(begin).Microseconds()) / 1000
	if err := log.Write(line); err != nil && failed == nil {
		return exit.With(err, exit.Disk, "")
	}
	return failed
}

// maskedWords masks the secrets in a command line, a JSON list.
func maskedWords(words string) string {
	var list []string
	if json.Unmarshal([]byte(words), &list) != nil {
		return ""
	}
	for i, word := range redact.Default().Command(list) {
		list[i] = maskedText(word)
	}
	masked, err := json.Marshal(list)
	if err != nil {
		return ""
	}
	return string(masked)
}

func maskedText(text string) string {
	masked, _ := redact.Default().Text("", text)
	return masked
}

// evidenceOf are the bundles among the arguments of a command.
func evidenceOf(args []string) (list []accesslog.Evidence) {
	for _, arg := range args {
		data, err := os.ReadFile(filepath.Join(arg, "tagmanifest-sha256.txt"))
		if err != nil {
			continue // not a bundle's folder
		}
		abs, err := filepath.Abs(arg)
		if err != nil {
			abs = arg
		}
		sum := sha256.Sum256(data)
		list = append(list, accesslog.Evidence{Path: abs, TagManifest: hex.EncodeToString(sum[:])})
	}
	return list
}
