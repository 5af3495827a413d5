package custody

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/mod/sumdb/note"

	"github.com/pcapsule/pcapsule/cli/command"
	"github.com/pcapsule/pcapsule/cli/exit"
	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/seal"
)

// maxLogFile is the largest file of a log that is read: a checkpoint with the signatures of witnesses.
const maxLogFile = 64 << 10

// logFlags are the flags that put a seal into a transparency log.
type logFlags struct {
	url, key string
	wait     time.Duration
}

func (f *logFlags) register(fl *pflag.FlagSet) {
	fl.StringVar(&f.url, "log", "", "URL of a transparency log (C2SP tlog-tiles) that gets the hash of the seal, by POST to URL/add")
	fl.StringVar(&f.key, "log-key", "", "file with the public key of the log, NAME+HASH+KEY")
	fl.DurationVar(&f.wait, "log-wait", time.Minute, "how long to wait until the log has published the entry")
	command.Between(fl, "log-wait", &f.wait, 0, command.Longest)
}

// ReadLogKey reads the public key of a log.
func ReadLogKey(name string) (note.Verifier, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("reading --log-key: %w", err)
	}
	key, err := seal.ParseLogKey(text)
	if err != nil {
		return nil, exit.With(fmt.Errorf("reading --log-key %s: %w", name, err), exit.NotCapture, "give the public key as the log's operator publishes it: NAME+HASH+KEY, Ed25519")
	}
	return key, nil
}

// check reads the key, before anything is sealed.
func (f *logFlags) check() (note.Verifier, error) {
	if f.url == "" && f.key == "" {
		return nil, nil
	}
	if f.url == "" || f.key == "" || f.wait <= 0 {
		return nil, exit.Usagef("--log and --log-key belong together, and --log-wait must be positive")
	}
	return ReadLogKey(f.key)
}

// add sends the hash of a seal to the log, and keeps the proof that the log has it.
func (f *logFlags) add(ctx context.Context, b *bundle.Bundle, file string, key note.Verifier) (*seal.Logged, error) {
	name := path.Base(file)
	entry, err := seal.LogEntry(b, name)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, f.wait)
	defer cancel()
	logged, err := f.prove(ctx, b, name, entry, key)
	if err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			err = fmt.Errorf("the log did not answer or publish the entry within %v", f.wait)
		}
		return nil, exit.With(fmt.Errorf("adding the seal to the log %s: %w", f.url, err), exit.Other, "the bundle is sealed, but has no proof of a log; seal it again with --log")
	}
	return logged, nil
}

func (f *logFlags) prove(ctx context.Context, b *bundle.Bundle, name string, entry []byte, key note.Verifier) (*seal.Logged, error) {
	answer, err := f.request(ctx, http.MethodPost, "add", entry)
	if err != nil {
		return nil, err
	}
	index, err := strconv.ParseInt(strings.TrimSpace(string(answer)), 10, 64)
	if err != nil || index < 0 {
		return nil, fmt.Errorf("it answered %.40q instead of the number of the entry", answer)
	}
	fetch := func(name string) ([]byte, error) { return f.request(ctx, http.MethodGet, name, nil) }
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, 2*time.Second) {
		proof, err := seal.ProveLogged(key, entry, index, fetch)
		if err == nil {
			return seal.AddProof(b, name, key, proof, Entry(bundle.Entry{}))
		}
		if !errors.Is(err, seal.ErrNotLogged) && !errors.Is(err, errNoFile) {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(pause):
		}
	}
}

// errNoFile says that a log does not have a file yet, such as the checkpoint of an empty log.
var errNoFile = errors.New("the log does not have the file")

func (f *logFlags) request(ctx context.Context, method, name string, body []byte) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(f.url, "/")+"/"+name, bytes.NewReader(body))
	if err != nil {
		return nil, exit.Usagef("--log: %v", err)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(io.LimitReader(answer.Body, maxLogFile))
	switch {
	case err != nil:
		return nil, err
	case answer.StatusCode == http.StatusNotFound && method == http.MethodGet:
		return nil, fmt.Errorf("%s: %w", name, errNoFile)
	case answer.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("%s: %s", name, answer.Status)
	}
	return data, nil
}
