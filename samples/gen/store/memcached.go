package store

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/pcapsule/pcapsule/samples/gen/lab"
)

func makeMemcached(ctx context.Context, out string) error {
	l, err := lab.New("memcached", "", lab.At("client", "10.1.11.5"), lab.At("memcached", "10.1.11.20"))
	if err != nil {
		return err
	}
	defer l.Close()
	if _, err := l.Start("memcached", "", "memcached", "-u", "root", "-l", "10.1.11.20", "-p", "11211", "-U", "11211"); err != nil {
		return err
	}
	if err := l.Do(ctx, "client", "wait", "10.1.11.20:11211"); err != nil {
		return err
	}
	r, err := l.Record(filepath.Join(out, "memcached.pcapng"))
	if err != nil {
		return err
	}
	if err := l.Do(ctx, "client", "memc-client", "10.1.11.20", filepath.Join(out, "memcached.said.tsv"), l.Tmp); err != nil {
		return err
	}
	return r.Stop()
}

// memcTalk is what the client sends in text and meta commands, and how many lines it waits for. A
// command of several lines ends with \n.
var memcTalk = []struct {
	send  string
	lines int
}{
	{"set user:1 7 600 5\nhello", 1}, {"add user:1 0 0 1\nx", 1}, {"get user:1", 3}, {"get user:1 user:2", 3}, {"gets user:1", 3}, {"get nobody", 1},
	{"set count 0 0 1\n5", 1}, {"incr count 3", 1}, {"decr count 1", 1}, {"incr nobody 1", 1}, {"incr user:1 1", 1}, {"append user:1 0 0 6\n world", 1}, {"touch user:1 60", 1},
	{"delete user:1", 1}, {"delete user:1", 1}, {"set quiet 0 0 2 noreply\nhi", 0}, {"version", 1}, {"verbosity 0", 1}, {"nonsense", 1}, {"set k 0 0 -1", 1},
	{"mn", 1}, {"ms meta 4 T90 F3\nmeta", 1}, {"mg meta v f t", 2}, {"mg nobody v", 1}, {"ma count D2 v", 2}, {"md meta", 1}, {"md meta", 1}, {"flush_all", 1}, {"quit", 0},
}

// memcClient speaks text and meta commands, then binary with the tools of libmemcached.
func memcClient(ctx context.Context, args []string) error {
	var s lab.Said
	c, err := net.Dial("tcp", args[0]+":11211")
	if err != nil {
		return err
	}
	defer c.Close()
	r := bufio.NewReader(c)
	for _, t := range memcTalk {
		if _, err := c.Write([]byte(strings.ReplaceAll(t.send, "\n", "\r\n") + "\r\n")); err != nil {
			return err
		}
		result := "none"
		for range t.lines {
			line, err := r.ReadString('\n')
			if err != nil {
				return fmt.Errorf("after %q: %w", t.send, err)
			}
			if words := strings.Fields(line); result == "none" || words[0] == "END" {
				result = words[0]
				if strings.Trim(result, "0123456789") == "" {
					result = "OK"
				}
			}
		}
		words := strings.Fields(t.send)
		key := ""
		if len(words) > 1 && words[0] != "verbosity" {
			key = words[1]
		}
		s.Line("text\t%s\t%s\t%s", words[0], key, result)
	}
	if err := memcBinary(ctx, args[0], args[2], &s); err != nil {
		return err
	}
	return s.Write(args[1])
}

// memcBinary stores, reads and removes a file with the binary protocol.
func memcBinary(ctx context.Context, at, tmp string, s *lab.Said) error {
	value := bytes.Repeat([]byte("binary "), 3000)
	file := filepath.Join(tmp, "photo")
	if err := os.WriteFile(file, value, 0o644); err != nil {
		return err
	}
	for _, x := range []struct{ tool, object, command, result string }{
		{"memccp", file, "set", "ok"}, {"memccat", "photo", "getk", "ok"}, {"memcrm", "photo", "delete", "ok"}, {"memcrm", "photo", "delete", "KEY_NOT_FOUND"},
	} {
		cmd := exec.CommandContext(ctx, x.tool, "--binary", "--servers="+at+":11211", x.object)
		out, err := cmd.Output()
		if (err != nil) != (x.result != "ok") {
			return fmt.Errorf("%s: %w: %s", x.tool, err, out)
		}
		if x.tool == "memccat" && !bytes.Contains(out, value) {
			return fmt.Errorf("memccat printed %d bytes", len(out))
		}
		s.Line("binary\t%s\tphoto\t%s", x.command, x.result)
	}
	return nil
}
