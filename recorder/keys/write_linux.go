//go:build amd64 || arm64

package keys

import (
	"slices"
	"time"

	bpf "github.com/pcapsule/pcapsule/bpf/keys"
	"github.com/pcapsule/pcapsule/recorder/secrets"
)

// written is a key that the sink has.
type written struct {
	pid    uint32
	label  secrets.Label
	n      int
	random [32]byte
	value  [16]byte // the beginning is enough to identify it
}

const maxWritten = 32768 // keys remembered to avoid writing them twice

func (t *Tracker) goKey(e *bpf.Event) {
	p := t.procs[e.TGID]
	if p == nil {
		t.count.Unused++
		return
	}
	label := e.Label
	if label == "" {
		b := make([]byte, e.LabelN)
		if readMemory(e.TGID, e.LabelAt, b) {
			label = string(b)
		}
	}
	l, n, ok := labelOf(label)
	if !ok {
		t.count.Unused++
		return
	}
	p.library = Go
	t.writeKey(p, e.TID, e.Time, Go, false, secrets.Secret{Label: l, N: n, ID: slices.Clone(e.Random), Value: slices.Clone(e.Secret)})
}

// writeKey writes a key once.
func (t *Tracker) writeKey(p *process, tid uint32, mono uint64, l Library, proven bool, s secrets.Secret) {
	w := written{pid: p.pid, label: s.Label, n: s.N, random: [32]byte(s.ID)}
	copy(w.value[:], s.Value)
	if proven && p.state != Verified {
		p.state, p.library, p.proofs = Verified, l, nil
	}
	if _, ok := t.written[w]; ok {
		t.count.Repeated++
		return
	}
	t.written[w] = struct{}{}
	if t.order = append(t.order, w); len(t.order) > maxWritten {
		delete(t.written, t.order[0])
		t.order = t.order[1:]
	}
	if p.state == None {
		p.state, p.library = Unverified, l
	}
	if p.state == Unverified && len(p.proofs) < maxProofs && t.o.Captured != nil {
		p.proofs = append(p.proofs, s)
	}
	if err := t.o.Sink.Key(Key{Secret: s, Time: t.utc(mono), PID: p.pid, TID: tid, Executable: p.exe, Library: l, Verified: proven}); err != nil {
		t.count.SinkErrors++
		t.detail = err.Error()
		t.account.refuse(w.random)
		return
	}
	if t.o.Captured != nil {
		t.o.Captured.Keyed(w.random)
	}
	p.keys++
	t.count.Written++
	t.unsynced = true
}

// idle is called when no event is waiting.
func (t *Tracker) idle() {
	if t.unsynced {
		t.flush()
	}
}

func (t *Tracker) flush() {
	t.unsynced, t.lastSync = false, time.Now()
	if err := t.o.Sink.Flush(); err != nil {
		t.count.SinkErrors++
		t.detail = err.Error()
	}
}

// verify tries the keys of processes without a key that has decrypted a record.
func (t *Tracker) verify(last bool) {
	now := time.Now()
	for _, p := range t.procs {
		if len(p.proofs) == 0 || !last && now.Before(p.proof) {
			continue
		}
		for _, s := range p.proofs {
			if proven(t.o.Captured, s) {
				p.state, p.proofs = Verified, nil
				break
			}
		}
		// Packets may arrive after the keys. Later keys are tried too.
		if p.tries++; p.tries%40 == 0 {
			p.proofs = nil
		}
		p.proof = now.Add(time.Duration(min(p.tries, 20)) * 25 * time.Millisecond)
	}
}
