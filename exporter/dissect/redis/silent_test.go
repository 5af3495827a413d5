package redis

import (
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// TestLostCommandsMayTurnRepliesOff loses bytes of the client. A command without a reply is unanswered only if a reply, or
// CLIENT REPLY ON, shows since then that the server sends them.
func TestLostCommandsMayTurnRepliesOff(t *testing.T) {
	const reply, on = "*3\r\n$6\r\nCLIENT\r\n$5\r\nREPLY\r\n", "*3\r\n$6\r\nCLIENT\r\n$5\r\nREPLY\r\n$2\r\nON\r\n"
	const get = "*2\r\n$3\r\nGET\r\n$1\r\na\r\n"
	client, server := dissecttest.Client, dissecttest.Server
	lost := dissecttest.Chunk{Dir: dissect.ToServer, Gap: 9}
	for _, tt := range []struct {
		name   string
		chunks []dissecttest.Chunk
		want   string // outcome of the last call
	}{
		{"nothing is lost", []dissecttest.Chunk{client(get), server("$-1\r\n"), client(get)}, table.NoAnswer},
		{"CLIENT REPLY is cut", []dissecttest.Chunk{client(get), server("$-1\r\n"), client(reply), lost}, table.Unread},
		{"a command after it", []dissecttest.Chunk{client(get), server("$-1\r\n"), client(reply), lost, client(get)}, table.Unread},
		{"a whole command is lost", []dissecttest.Chunk{client(get), server("$-1\r\n"), lost, client(get)}, table.Unread},
		{"a later reply", []dissecttest.Chunk{client(get), server("$-1\r\n"), lost, client(get), server("$-1\r\n"), client(get), server("$-1\r\n"), client(get)}, table.NoAnswer},
		{"replies are turned on", []dissecttest.Chunk{client(get), server("$-1\r\n"), lost, client(on), client(get)}, table.NoAnswer},
	} {
		o := dissecttest.OptionsOf(Protocol())
		o.End, o.Roles = dissect.EndFin, true
		rows := dissecttest.Play(t, o, tt.chunks...).Rows()
		if last := rows[len(rows)-1].Base(); last.Outcome != tt.want {
			t.Errorf("%s: outcome %s, want %s: %s", tt.name, last.Outcome, tt.want, last.Summary)
		}
	}
}
