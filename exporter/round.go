package exporter

import (
	"sync"

	"github.com/pcapsule/pcapsule/exporter/decode"
	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/all"
	"github.com/pcapsule/pcapsule/exporter/internal/flow"
	"github.com/pcapsule/pcapsule/recorder/secrets"
)

// shardCount is fixed: the cut decides in which order rows of one packet stand and
// which connections share a budget, so it is part of the format.
const shardCount = 16

// round is a stretch of packets on its way through the stages.
type round struct {
	packets   []flow.Packet
	shards    [shardCount][]int32 // packets of each shard
	out       [shardCount]flow.Batch
	windows   []*window
	anomalies []flow.AnomalyRow // of reading
	said      []said            // of reading
	bytes     int64
	now       int64 // newest capture time so far
	last      int64 // number of its last packet
	final     bool
	frame     decode.Frame
	work      sync.WaitGroup
	claimed   int // shards given to workers
	seq       int
	budget    [shardCount]int
}

func (r *round) hold(w *window) {
	w.uses.Add(1)
	r.windows = append(r.windows, w)
}

func (r *round) wait() { r.work.Wait() }

func (r *reading) newRound() *round {
	select {
	case c := <-r.rounds:
		return c
	default:
		return &round{packets: make([]flow.Packet, 0, roundPackets)}
	}
}

// recycle gives a joined round's memory back.
func (r *reading) recycle(c *round) {
	for _, w := range c.windows {
		w.release()
	}
	clear(c.packets)
	clear(c.windows)
	c.packets, c.windows, c.anomalies = c.packets[:0], c.windows[:0], nil
	c.said = nil
	c.bytes, c.claimed, c.final = 0, 0, false
	for i := range c.shards {
		c.shards[i] = c.shards[i][:0]
		c.out[i].Reset()
	}
	select {
	case r.rounds <- c:
	default:
	}
}

// shards runs the rounds through the flow shards.
type shards struct {
	all [shardCount]*flow.Shard

	mu   sync.Mutex
	cond *sync.Cond
	done [shardCount]int    // rounds that the shard has finished
	held [3][shardCount]int // bytes that shards held back after the last rounds, by round modulo 3
	rows int                // not yet joined
}

func newShards(o Options, keys *secrets.Store) (*shards, error) {
	return makeShards(o, func() []*dissect.Protocol { return all.Protocols(keys) }, false)
}

// makeShards makes the shards; plain says that they give out plaintext too.
func makeShards(o Options, protocols func() []*dissect.Protocol, plain bool) (*shards, error) {
	s := &shards{}
	s.cond = sync.NewCond(&s.mu)
	for i := range s.all {
		sh, err := flow.NewShard(flow.Options{Protocols: protocols(), DecodeAs: o.DecodeAs, Repanic: o.Repanic, Plain: plain})
		if err != nil {
			return nil, err
		}
		s.all[i] = sh
	}
	return s, nil
}

type task struct {
	r     *round
	shard int
}

// run gives each shard's part of each round to a free worker; a shard sees its rounds
// in order. Rounds go on to out at once, for a joiner that waits for their work.
func (s *shards) run(in <-chan *round, out chan<- *round, workers int) {
	tasks := make(chan task)
	var wg sync.WaitGroup
	for range workers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for t := range tasks {
				s.do(t)
			}
		}()
	}
	seq := 0
	for r := range in {
		r.seq = seq
		s.share(r)
		s.clear()
		seq++
		r.work.Add(shardCount)
		out <- r
		for i := range shardCount {
			tasks <- task{r, i}
		}
	}
	close(tasks)
	wg.Wait()
	close(out)
}

// maxRows is how many rows may wait for the joiner when another round is begun. Short
// commands make a hundred rows of a packet.
const maxRows = 8_000

// clear waits until few enough rows wait for the joiner.
func (s *shards) clear() {
	s.mu.Lock()
	for s.rows > maxRows {
		s.cond.Wait()
	}
	s.mu.Unlock()
}

// joined says that the rows of a round were written.
func (s *shards) joined(r *round) {
	n := 0
	for i := range r.out {
		n += r.out[i].Rows()
	}
	s.mu.Lock()
	s.rows -= n
	s.cond.Broadcast()
	s.mu.Unlock()
}

// What connections of all shards may hold back, and what a shard always may.
const (
	heldBudget  = 24 << 20
	shardBudget = 512 << 10
)

// share says what each shard may hold back in a round: what it held two rounds before and
// all that nobody held then, so that one busy connection can have nearly everything. Two
// rounds before, since no shard is further behind; what comes in between is at most the
// bytes of two rounds. The number of workers so changes nothing.
func (s *shards) share(r *round) {
	var before [shardCount]int
	if r.seq >= 2 {
		s.mu.Lock()
		for i := range s.done {
			for s.done[i] < r.seq-1 {
				s.cond.Wait()
			}
		}
		before = s.held[(r.seq-2)%3]
		s.mu.Unlock()
	}
	free := heldBudget
	for _, n := range before {
		free -= n
	}
	for i, n := range before {
		r.budget[i] = max(n+max(free, 0), shardBudget)
	}
}

func (s *shards) do(t task) {
	s.mu.Lock()
	for s.done[t.shard] != t.r.seq {
		s.cond.Wait()
	}
	s.mu.Unlock()
	sh, out := s.all[t.shard], &t.r.out[t.shard]
	sh.SetBudget(t.r.budget[t.shard])
	sh.Run(t.r.packets, t.r.shards[t.shard], out)
	last := dissect.Packet{No: max(t.r.last, 0), Time: t.r.now}
	sh.Expire(t.r.now, last, out)
	if t.r.final {
		sh.Close(last, out)
	}
	s.mu.Lock()
	s.held[t.r.seq%3][t.shard] = sh.Held()
	s.rows += out.Rows()
	s.done[t.shard]++
	s.cond.Broadcast()
	s.mu.Unlock()
	t.r.work.Done()
}
