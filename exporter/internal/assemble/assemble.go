// Package assemble runs rounds of packets through the shards, which put streams in order,
// dissect them and leave rows.
//
// A shard has the connections whose addresses hash to it, and sees its packets round by
// round. Any number of workers serves the shards. What a shard makes depends on its packets
// alone, so the number of workers changes no row. Memory is bounded: at most 3,000 rows wait
// for the next stage before another round is begun, and what connections take is shared out
// of one budget. After the last packets come rounds in which all connections end.
package assemble

import (
	"slices"
	"sync"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/internal/flow"
	"github.com/pcapsule/pcapsule/exporter/internal/round"
)

// Shards are all shards of a run.
type Shards struct {
	all     [flow.ShardCount]*flow.Shard
	pool    round.Pool
	budget  int
	packets [flow.ShardCount]int // of the newest round that was begun
	counts  [4]int               // packets of the last rounds, by round modulo 4
	each    int                  // bytes that a packet took, of those of two and three rounds before
	most    int                  // packets of the next round
	now     int64                // of the newest round that was read

	mu   sync.Mutex
	cond *sync.Cond
	done [flow.ShardCount]int      // rounds that the shard has finished
	used [4][flow.ShardCount]usage // of the last rounds, by round modulo 4
	rows int                       // not yet joined
}

// usage is the memory of a shard after a round, in bytes.
type usage struct {
	held  int // by its connections
	freed int // in the round: it stands in rows that wait to be written, and in garbage
}

// New makes the shards. Each gets protocols of its own. Connections of all take at most
// about budget bytes together, but a shard always may take 512 KiB. Rounds after the last
// packets come from pool.
func New(o flow.Options, protocols func() []*dissect.Protocol, budget int, pool round.Pool) (*Shards, error) {
	s := &Shards{budget: budget, pool: pool}
	s.cond = sync.NewCond(&s.mu)
	for i := range s.all {
		o.Protocols = protocols()
		sh, err := flow.NewShard(i, o)
		if err != nil {
			return nil, err
		}
		s.all[i] = sh
	}
	return s, nil
}

// job is a round in the shards.
type job struct {
	*round.Round
	seq    int
	end    mark
	budget [flow.ShardCount]int
	work   sync.WaitGroup
}

// mark is how far reading was.
type mark struct{ now, last, readBytes int64 }

type task struct {
	j     *job
	shard int
}

// Run gives each shard's part of each round to a free worker; a shard sees its rounds in
// order. A finished round goes on to out in the order of in. Run closes out at the end.
func (s *Shards) Run(in <-chan *round.Round, out chan<- *round.Round, workers int) {
	tasks, ahead := make(chan task), make(chan *job, 1)
	var all sync.WaitGroup
	for range min(workers, flow.ShardCount) {
		all.Go(func() {
			for t := range tasks {
				s.do(t)
			}
		})
	}
	all.Go(func() {
		for j := range ahead {
			j.work.Wait()
			out <- j.Round
		}
	})
	seq := 0
	begin := func(r *round.Round) *job {
		j := &job{Round: r, seq: seq, end: mark{r.Now, r.Last, r.Facts.ReadBytes}}
		seq++
		s.share(j)
		s.makeRoom()
		j.work.Add(flow.ShardCount)
		ahead <- j
		for i := range flow.ShardCount {
			tasks <- task{j, i}
		}
		return j
	}
	var last *job
	for r := range in {
		for n := s.piece(); n < len(r.Packets); n = s.piece() {
			begin(r.Cut(n, s.now, s.pool))
		}
		s.now = r.Now
		last = begin(r)
	}
	for last != nil {
		last.work.Wait()
		if !s.open() {
			break
		}
		r := s.pool.Get()
		r.Now, r.Last, r.Facts.ReadBytes, r.Final = last.end.now, last.end.last, last.end.readBytes, true
		last = begin(r)
	}
	close(tasks)
	close(ahead)
	all.Wait()
	close(out)
}

// maxRows is how many rows may wait for the next stage when another round is begun. Short
// commands make a hundred rows of a packet.
const maxRows = 3_000

// makeRoom waits until few enough rows wait for the next stage.
func (s *Shards) makeRoom() {
	s.mu.Lock()
	for s.rows > maxRows {
		s.cond.Wait()
	}
	s.mu.Unlock()
}

// piece is how many packets the next round may have: so many that what they are likely to take
// is a small part of the budget, and at most twice as many as the round before could have.
func (s *Shards) piece() int {
	s.most = min(max(s.budget/pieceShare/max(s.each, 1), leastPiece), 2*max(s.most, leastPiece))
	return s.most
}

// open reports whether any connection has not ended.
func (s *Shards) open() bool {
	return slices.ContainsFunc(s.all[:], func(sh *flow.Shard) bool { return sh.Open() > 0 })
}

// Joined says that the rows of a round were written.
func (s *Shards) Joined(r *round.Round) {
	n := 0
	for i := range r.Out {
		n += r.Out[i].Rows()
	}
	s.mu.Lock()
	s.rows -= n
	s.cond.Broadcast()
	s.mu.Unlock()
}

// Limits of the memory of connections.
const (
	shardBudget = 512 << 10 // what those of a shard may always take
	slowly      = 8         // rounds within which too much is given up
	pieceShare  = 16        // of the budget is about what a round may take
	leastPiece  = 16        // packets that a round may always have
)

// share says what the connections of each shard may take in a round, by what they took two
// rounds before, because no shard is further behind; so the number of workers changes
// nothing. Rows of the two rounds under way take as much as came in during the two before.
//
// What is free goes to shards by their packets in this round and the one before: one busy
// connection can have nearly everything, and a flood in all shards does not take it 16 times.
// If too much is taken, each shard gives up its part, slowly, since what it gives up stands in
// rows at first.
func (s *Shards) share(j *job) {
	packets, all := s.packets, 0
	for i := range s.packets {
		s.packets[i] = len(j.Shards[i]) + 1
		packets[i] += s.packets[i]
		all += packets[i]
	}
	var before, between, earlier [flow.ShardCount]usage
	if j.seq >= 2 {
		s.mu.Lock()
		for i := range s.done {
			for s.done[i] < j.seq-1 {
				s.cond.Wait()
			}
		}
		before, between, earlier = s.used[(j.seq-2)%len(s.used)], s.used[(j.seq+1)%len(s.used)], s.used[j.seq%len(s.used)]
		s.mu.Unlock()
	}
	held, came := 0, 0
	for i, b := range before {
		held += b.held
		came += b.held - earlier[i].held + b.freed + between[i].freed
	}
	of := func(seq int) *int { return &s.counts[(seq+len(s.counts))%len(s.counts)] }
	*of(j.seq) = len(j.Packets)
	if known := *of(j.seq - 2) + *of(j.seq - 3); known > 0 {
		s.each = max(came, 0) / known
	}
	free := s.budget - j.Kept - held - s.each*(len(j.Packets)+*of(j.seq - 1))
	for i, b := range before {
		n := b.held
		if free > 0 {
			n += int(int64(free) * int64(packets[i]) / int64(all))
		} else if held > 0 {
			n += int(int64(free) * int64(b.held) / int64(held) / slowly)
		}
		j.budget[i] = max(n, shardBudget)
	}
}

func (s *Shards) do(t task) {
	s.mu.Lock()
	for s.done[t.shard] != t.j.seq {
		s.cond.Wait()
	}
	s.mu.Unlock()
	sh, out := s.all[t.shard], &t.j.Out[t.shard]
	sh.SetBudget(t.j.budget[t.shard])
	sh.Run(t.j.Packets, t.j.Shards[t.shard], out)
	last := dissect.Packet{No: max(t.j.Last, 0), Time: t.j.Now}
	sh.Expire(t.j.Now, last, out)
	if t.j.Final {
		sh.Close(last, out)
	}
	s.mu.Lock()
	s.used[t.j.seq%len(s.used)][t.shard] = usage{sh.Held(), sh.Freed() + out.Memory()}
	s.rows += out.Rows()
	s.done[t.shard]++
	s.cond.Broadcast()
	s.mu.Unlock()
	t.j.work.Done()
}
