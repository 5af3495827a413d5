package redis

import (
	_ "embed" // for commands.tsv
	"strconv"
	"strings"
	"sync"
)

// commandsTSV lists the key positions of commands, as a server reports them for COMMAND: name,
// mode, first, last, step. Mode is range (arguments first to last, negative from the end),
// numkeys (argument first counts the keys after it), streams (after the word STREAMS) or none.
//
//go:embed commands.tsv
var commandsTSV string

type keyMode uint8

const (
	keyNone keyMode = iota
	keyRange
	keyCounted
	keyStreams
)

// act is a command's effect on its connection, or the position of its secret.
type act uint8

const (
	actNone act = iota
	actSubscribe
	actUnsubscribe
	actPublish
	actMonitor
	actClient
	actSelect
	actMulti
	actExec
	actDiscard
	actEval
	actCall
	actScript
	actAuth
	actHello
	actReset
	actSync
	actPsync
	actReplconf
	actConfig
	actACL
	actMigrate
	actSentinel
	actShutdown
)

// spec describes a command.
type spec struct {
	name        string
	keys        keyMode
	first, last int64
	step        int64
	act         act
}

// commands is the command table, read once.
var commands = sync.OnceValue(func() map[string]*spec {
	m := map[string]*spec{}
	for line := range strings.Lines(commandsTSV) {
		f := strings.Split(strings.TrimSpace(line), "\t")
		var n [3]int64
		for i := range n {
			n[i], _ = strconv.ParseInt(f[2+i], 10, 64)
		}
		s := &spec{name: f[0], first: n[0], last: n[1], step: n[2], act: actOf(f[0])}
		switch f[1] {
		case "range":
			s.keys = keyRange
		case "numkeys":
			s.keys = keyCounted
		case "streams":
			s.keys = keyStreams
		}
		m[s.name] = s
	}
	return m
})

func actOf(name string) act {
	switch name {
	case "SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE":
		return actSubscribe
	case "UNSUBSCRIBE", "PUNSUBSCRIBE", "SUNSUBSCRIBE":
		return actUnsubscribe
	case "PUBLISH", "SPUBLISH":
		return actPublish
	case "MONITOR":
		return actMonitor
	case "CLIENT":
		return actClient
	case "SELECT":
		return actSelect
	case "MULTI":
		return actMulti
	case "EXEC":
		return actExec
	case "DISCARD":
		return actDiscard
	case "EVAL", "EVAL_RO":
		return actEval
	case "EVALSHA", "EVALSHA_RO", "FCALL", "FCALL_RO":
		return actCall
	case "SCRIPT":
		return actScript
	case "AUTH":
		return actAuth
	case "HELLO":
		return actHello
	case "RESET":
		return actReset
	case "SYNC":
		return actSync
	case "PSYNC":
		return actPsync
	case "REPLCONF":
		return actReplconf
	case "CONFIG":
		return actConfig
	case "ACL":
		return actACL
	case "MIGRATE":
		return actMigrate
	case "SENTINEL":
		return actSentinel
	case "SHUTDOWN":
		return actShutdown
	}
	return actNone
}

// command finds a verb in the table. The returned name is in upper case even if the table does
// not have it.
func (k *conn) command(verb []byte) (*spec, string) {
	var up [40]byte
	if len(verb) > len(up) {
		return nil, text(verb[:len(up)])
	}
	n := copy(up[:], verb)
	for i, c := range up[:n] {
		if 'a' <= c && c <= 'z' {
			up[i] = c - 'a' + 'A'
		}
	}
	if s := k.commands[string(up[:n])]; s != nil {
		return s, s.name
	}
	return nil, text(up[:n])
}

// count is the number of keys in a command of argc words.
func (s *spec) count(argc int64) int32 {
	last := s.last
	if last < 0 {
		last += argc
	}
	if s.first >= argc || last < s.first {
		return 0
	}
	return int32(min((last-s.first)/max(s.step, 1)+1, 1<<30))
}
