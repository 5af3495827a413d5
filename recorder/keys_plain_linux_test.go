package recorder

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/recorder/internal/plaintext"
	"github.com/pcapsule/pcapsule/recorder/keys"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
	"github.com/pcapsule/pcapsule/recorder/policy"
	"github.com/pcapsule/pcapsule/recorder/ring"
	"github.com/pcapsule/pcapsule/recorder/workload"
)

// pieces is a plaintext.Out that keeps what is written.
type pieces struct{ said []string }

func (p *pieces) Interface(pcapng.Interface) (ring.InterfaceID, error) { return 0, nil }

func (p *pieces) Append(x *ring.Packet) error {
	p.said = append(p.said, string(x.Data))
	return nil
}

func TestForbiddenPlaintextIsNotWritten(t *testing.T) {
	never := func(r policy.Rule) *Options {
		return &Options{Policy: &policy.Policy{Never: []policy.Rule{r}}, Keys: &Keys{Plaintext: keys.Selector{PIDs: []uint32{1}}}}
	}
	if _, err := newKeyPolicy(never(policy.Rule{Ports: []policy.Ports{{From: 443, To: 443}}})); err == nil {
		t.Error("a rule about ports is accepted, which cannot be applied to plaintext")
	}
	d, err := newKeyPolicy(never(policy.Rule{Owner: workload.Selector{Processes: []string{"vault"}}}))
	if err != nil {
		t.Fatal(err)
	}
	out := &pieces{}
	p := plaintext.New(plaintext.Options{Out: out, Flush: func() {}, OnError: func(error) {}, Hides: d.hides, EndsKnown: func() bool { return true }})
	at := netip.MustParseAddrPort("10.0.0.1:443")
	for _, x := range []keys.Plain{{PID: 1, Executable: "/bin/vault", Data: []byte("secret"), Ends: keys.CallSocket, Local: at, Remote: at}, {PID: 2, Executable: "/bin/web", Data: []byte("open"), Ends: keys.CallSocket, Local: at, Remote: at},
		{PID: 2, Executable: "/bin/web", Data: []byte("unknown peer"), Connection: 9}} {
		if err := p.Plain(&x); err != nil {
			t.Fatal(err)
		}
	}
	p.End()
	if got := strings.Join(out.said, " "); got != "open" || p.Forbidden() != 2 {
		t.Errorf("%q, %d forbidden, want 2", got, p.Forbidden())
	}
	if !d.forbids(1, "/bin/vault", "/x") || d.forbids(2, "/bin/web", "/x") {
		t.Error("keys of a forbidden process are read, or keys of others are not")
	}
}
