package memcached

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

// replies is how the reply to a command looks.
type replies uint8

const (
	repliesLine   replies = iota // one line
	repliesValues                // VALUE lines with values, then END
	repliesStats                 // lines, then END
	repliesMeta                  // one line, perhaps with a value
	repliesNever
)

// verb describes a command of the text protocols.
type verb struct {
	replies  replies
	least    int // words after the command
	most     int
	keys     int // the first word that is a key, 0 for none
	many     bool
	size     int // the word that is the size of a value, 0 for none
	flags    int
	expiry   int
	cas      int
	delta    int
	noreply  bool
	hasValue bool
}

// verbs are the commands. Words are counted from 1.
var verbs = map[string]verb{
	"get": {replies: repliesValues, least: 1, most: 1 << 10, keys: 1, many: true}, "gets": {replies: repliesValues, least: 1, most: 1 << 10, keys: 1, many: true},
	"gat": {replies: repliesValues, least: 2, most: 1 << 10, keys: 2, many: true, expiry: 1}, "gats": {replies: repliesValues, least: 2, most: 1 << 10, keys: 2, many: true, expiry: 1},
	"set": storage, "add": storage, "replace": storage, "append": storage, "prepend": storage,
	"cas":    {least: 5, most: 6, keys: 1, flags: 2, expiry: 3, size: 4, cas: 5, noreply: true, hasValue: true},
	"delete": {least: 1, most: 3, keys: 1, noreply: true},
	"incr":   {least: 2, most: 3, keys: 1, delta: 2, noreply: true}, "decr": {least: 2, most: 3, keys: 1, delta: 2, noreply: true},
	"touch": {least: 2, most: 3, keys: 1, expiry: 2, noreply: true},
	"stats": {replies: repliesStats, most: 4}, "lru_crawler": {replies: repliesStats, least: 1, most: 4},
	"version": {}, "flush_all": {most: 2, noreply: true}, "verbosity": {least: 1, most: 2, noreply: true}, "cache_memlimit": {least: 1, most: 2, noreply: true},
	"slabs": {least: 1, most: 4}, "lru": {least: 1, most: 6}, "watch": {most: 8}, "refresh_certs": {}, "misbehave": {},
	"quit": {replies: repliesNever}, "shutdown": {replies: repliesNever, most: 1},
	"mg": {replies: repliesMeta, least: 1, most: 32, keys: 1}, "ms": {replies: repliesMeta, least: 2, most: 32, keys: 1, size: 2, hasValue: true},
	"md": {replies: repliesMeta, least: 1, most: 32, keys: 1}, "ma": {replies: repliesMeta, least: 1, most: 32, keys: 1},
	"me": {replies: repliesMeta, least: 1, most: 32, keys: 1}, "mn": {replies: repliesMeta},
}

var storage = verb{least: 4, most: 5, keys: 1, flags: 2, expiry: 3, size: 4, noreply: true, hasValue: true}

var (
	errEnd  = errors.New("reading a value: expected a line's end after it")
	errLine = fmt.Errorf("reading a line: it has more than %d bytes", maxLine)
)

// lineOf is the line at the front of b without its end. n is 0 if it is not complete.
func lineOf(b []byte) (line []byte, n int, err error) {
	i := bytes.IndexByte(b[:min(len(b), maxLine)], '\n')
	switch {
	case i < 0 && len(b) >= maxLine:
		return nil, 0, errLine
	case i < 0:
		return nil, 0, nil
	}
	return bytes.TrimSuffix(b[:i], []byte{'\r'}), i + 1, nil
}

// parse splits a command and checks it. The words alias the line.
func parse(line []byte) (name string, v verb, words [][]byte, size int64, err error) {
	for _, c := range line {
		if c < ' ' || c == 0x7f {
			return "", v, nil, 0, fmt.Errorf("reading a command: a control character in %.40q", line)
		}
	}
	words = bytes.Fields(line)
	if len(words) == 0 {
		return "", v, nil, 0, errors.New("reading a command: the line is empty")
	}
	name = string(words[0])
	v, ok := verbs[name]
	words = words[1:]
	if !ok {
		return name, v, words, 0, fmt.Errorf("reading a command: %.40q is not one", line)
	}
	if len(words) < v.least || len(words) > v.most {
		return name, v, words, 0, fmt.Errorf("reading %s: it has %d words", name, len(words))
	}
	for _, i := range []int{v.flags, v.size, v.cas, v.delta} {
		if i > 0 {
			if _, err := strconv.ParseUint(string(words[i-1]), 10, 64); err != nil {
				return name, v, words, 0, fmt.Errorf("reading %s: %.40q is no number", name, words[i-1])
			}
		}
	}
	if v.expiry > 0 {
		if _, err := strconv.ParseInt(string(words[v.expiry-1]), 10, 64); err != nil {
			return name, v, words, 0, fmt.Errorf("reading %s: %.40q is no time", name, words[v.expiry-1])
		}
	}
	if v.keys > 0 && len(words[v.keys-1]) > maxKey*4/3+4 { // base64 in meta commands
		return name, v, words, 0, fmt.Errorf("reading %s: a key of %d bytes", name, len(words[v.keys-1]))
	}
	if v.size > 0 {
		if size, err = strconv.ParseInt(string(words[v.size-1]), 10, 64); err != nil || size > maxValue {
			return name, v, words, 0, fmt.Errorf("reading %s: a value of %.20s bytes", name, words[v.size-1])
		}
	}
	return name, v, words, size, nil
}

// command reads the line of a command.
func (k *conn) command(in *dissect.Input, at int) (int, error) {
	line, n, err := lineOf(in.Data[at:])
	if n == 0 || err != nil {
		return 0, err
	}
	name, v, words, size, err := parse(line)
	if err != nil && (k.c.Unproved() || in.Datagram || name == "" || len(name) > 32) {
		return 0, err
	}
	row := &Row{Form: "text", Command: table.Some(text([]byte(name)))}
	c := &call{row: row, replies: v.replies, silent: v.replies == repliesNever, datagram: k.datagram.id}
	if err == nil {
		k.arguments(c, v, words)
	} else { // the server answers ERROR
		row.Args, size = table.NonEmpty(text(bytes.Join(words, []byte{' '}))), 0
		v.hasValue = false
		if v.keys > 0 && len(words) >= v.keys {
			row.Keys = []string{text(words[v.keys-1])}
			row.Args = table.NonEmpty(text(bytes.Join(words[v.keys:], []byte{' '})))
		}
	}
	k.cite(c, in, at, at+n)
	k.credit += searchCost
	row.Ahead = int32(k.queue.Push(c, in.Packet(at).Ack, callCost+row.texts()))
	if v.hasValue {
		k.expect(in.Dir, c, size, 2)
	} else {
		k.sent(c)
	}
	return n, nil
}

func (row *Row) texts() int {
	n := len(row.Args.V) + len(row.Command.V)
	for _, s := range row.Keys {
		n += len(s) + 16
	}
	return n
}

// arguments reads the words of a command.
func (k *conn) arguments(c *call, v verb, words [][]byte) {
	row := c.row
	word := func(i int) table.Opt[string] {
		if i == 0 || i > len(words) {
			return table.Opt[string]{}
		}
		return table.Some(text(words[i-1]))
	}
	last := v.keys
	if v.many {
		last = len(words)
	}
	for i := v.keys; i > 0 && i <= last && len(row.Keys) < maxKeys; i++ {
		row.Keys = append(row.Keys, text(words[i-1]))
	}
	row.Flags, row.Expiry = number(word(v.flags)), number(word(v.expiry))
	row.CAS, row.Delta = word(v.cas), word(v.delta)
	if v.noreply && len(words) > 0 && string(words[len(words)-1]) == "noreply" {
		row.Quiet, c.silent = true, true
		words = words[:len(words)-1]
	}
	switch {
	case v.replies == repliesMeta:
		row.Form = "meta"
		k.meta(c, words[min(len(words), max(v.keys, v.size)):])
	case v.keys == 0 && len(words) > 0:
		row.Args = table.Some(text(bytes.Join(words, []byte{' '})))
	}
	if row.Command.V == "lru_crawler" && string(words[0]) != "metadump" && string(words[0]) != "mgdump" {
		c.replies = repliesLine
	}
}

// meta reads the flags of a meta command.
func (k *conn) meta(c *call, flags [][]byte) {
	row := c.row
	row.Args = table.NonEmpty(text(bytes.Join(flags, []byte{' '})))
	for _, f := range flags {
		if len(c.flags) < maxFlags {
			c.flags += string(f[:1])
		}
		value := table.Some(text(f[1:]))
		switch f[0] {
		case 'q':
			row.Quiet, c.quiet = true, true
		case 'O':
			row.Opaque = value
		case 'T':
			row.Expiry = number(value)
		case 'F':
			row.Flags = number(value)
		case 'C':
			row.CAS = value
		case 'D':
			row.Delta = value
		}
	}
}

func number(s table.Opt[string]) table.Opt[int64] {
	n, err := strconv.ParseInt(s.V, 10, 64)
	return table.Opt[int64]{V: n, OK: s.OK && err == nil}
}

// text is b as valid text of at most maxText bytes.
func text(b []byte) string { return clip.Text(b, maxText) }
