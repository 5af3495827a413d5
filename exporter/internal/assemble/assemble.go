// Package assemble runs rounds of packets through the shards, which put streams in order, dissect
// them and emit rows.
//
// A shard has the connections whose addresses hash to it, and receives its packets round by round. Any number of
// workers serves the shards. The rows of a shard depend on its packets alone, so the number of workers changes no row.
// Memory is bounded: connections, and rows that wait for the next stage, share one budget. A shard that makes many rows
// in a round waits until they were passed on as a part of the round. After the last packets, all connections end in
// further rounds.
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
	work    func()               // of a worker

	mu   sync.Mutex
	cond *sync.Cond
	done [flow.ShardCount]int      // rounds that the shard has finished
	used [4][flow.ShardCount]usage // of the last rounds, by round modulo 4
	rows int                       // bytes of rows that are not yet joined
}

// usage is the memory of a shard after a round, in bytes.
type usage struct {
	held int // by its connections
	rows int // in rows that wait
}

// New makes the shards. Each gets its own protocols. The connections of all shards use at most about budget bytes, but
// a shard may always use 512 KiB. Rounds after the last packets come from pool.
func New(o flow.Options, budget int, pool round.Pool) (*Shards, error) {
	if len(o.DecodeAs) > 0 {
		if err := dissect.CheckDecodeAs(o.Protocols(), o.DecodeAs); err != nil {
			return nil, err
		}
	}
	s := &Shards{budget: budget, pool: pool}
	s.cond = sync.NewCond(&s.mu)
	for i := range s.all {
		s.all[i] = flow.NewShard(i, o)
	}
	return s, nil
}

// job is a round in the shards.
type job struct {
	*round.Round
	seq    int
	end    mark
	budget [flow.ShardCount]int
	busy   int                            // shards that work on it
	full   [flow.ShardCount]chan struct{} // of shards that wait until their rows were passed on
}

// mark is how far reading was.
type mark struct {
	now, last, readBytes int64
	seen                 flow.Seen
}

type task struct {
	j     *job
	shard int
}

// Run passes each shard's part of each round to a free worker; a shard sees its rounds in order. A
// finished round is sent to out in the order of in. Run closes out at the end.
func (s *Shards) Run(in <-chan *round.Round, out chan<- *round.Round, workers int) {
	tasks, ahead := make(chan task), make(chan *job, 1)
	var all sync.WaitGroup
	s.work = func() {
		for t := range tasks {
			if replaced := s.do(t, &all); replaced {
				return
			}
		}
	}
	for range min(workers, flow.ShardCount) {
		all.Go(s.work)
	}
	all.Go(func() {
		for j := range ahead {
			s.pass(j, out)
		}
	})
	seq := 0
	begin := func(r *round.Round) *job {
		j := &job{Round: r, seq: seq, end: mark{r.Now, r.Last, r.Facts.ReadBytes, r.Seen}, busy: flow.ShardCount}
		seq++
		s.share(j)
		s.makeRoom()
		ahead <- j
		for i := range flow.ShardCount {
			tasks <- task{j, i}
		}
		return j
	}
	var last *job
	for r := range in {
		last = begin(r)
	}
	for last != nil {
		s.await(last.seq)
		if !s.open() {
			break
		}
		r := s.pool.Get()
		r.Now, r.Last, r.Facts.ReadBytes, r.Final, r.Seen = last.end.now, last.end.last, last.end.readBytes, true, last.end.seen
		last = begin(r)
	}
	close(tasks)
	close(ahead)
	all.Wait()
	close(out)
}

// pass sends a finished round on. While shards wait for room, it sends parts of the round.
func (s *Shards) pass(j *job, out chan<- *round.Round) {
	for {
		s.mu.Lock()
		for j.busy > 0 {
			s.cond.Wait()
		}
		first := -1
		for i, full := range j.full {
			if full != nil && (first < 0 || j.Out[i].Before(i, &j.Out[first], first)) {
				first = i
			}
		}
		if first < 0 {
			s.mu.Unlock()
			out <- j.Round
			return
		}
		part := j.Part(first, s.pool)
		for i, full := range j.full {
			if full != nil {
				s.rows += part.Out[i].Memory()
			}
		}
		full := j.full[first]
		j.full[first] = nil
		j.busy++
		s.mu.Unlock()
		out <- part
		close(full)
	}
}

// drain waits until the rows that a shard has made of a round so far were passed on.
func (s *Shards) drain(t task) {
	full := make(chan struct{})
	s.mu.Lock()
	t.j.full[t.shard] = full
	t.j.busy--
	s.cond.Broadcast()
	s.mu.Unlock()
	<-full
}

// makeRoom waits until few enough rows wait for the next stage.
func (s *Shards) makeRoom() {
	s.mu.Lock()
	for s.rows > s.budget/waitingShare {
		s.cond.Wait()
	}
	s.mu.Unlock()
}

// open reports whether any connection has not ended.
func (s *Shards) open() bool {
	return slices.ContainsFunc(s.all[:], func(sh *flow.Shard) bool { return sh.Open() > 0 })
}

// Joined reports that the rows of a round were written.
func (s *Shards) Joined(r *round.Round) {
	n := 0
	for i := range r.Out {
		n += r.Out[i].Memory()
	}
	s.mu.Lock()
	s.rows -= n
	s.cond.Broadcast()
	s.mu.Unlock()
}

// Limits of the memory of connections.
const (
	shardBudget  = 512 << 10 // memory that a shard may always use
	slowly       = 8         // rounds within which too much is given up
	waitingShare = 32        // of the budget, for rows when another round begins
	rowShare     = 512       // of the budget, for rows of one shard and round
	leastRows    = 64 << 10  // memory that they may always use
)

// await waits until all shards have finished a round.
func (s *Shards) await(seq int) {
	s.mu.Lock()
	for i := range s.done {
		for s.done[i] <= seq {
			s.cond.Wait()
		}
	}
	s.mu.Unlock()
}

// share is the memory that the connections of each shard may use in a round. It depends on their use two rounds before,
// because no shard is further behind; so the number of workers changes nothing. Rows of the two current rounds are
// assumed to need as much as those of the two before.
//
// Free memory goes to shards by their packets in this round and the one before: one busy connection can have nearly all
// of it, and a flood in all shards does not get it 16 times. If too much is used, each shard frees its part slowly,
// because what it frees becomes rows first.
func (s *Shards) share(j *job) {
	packets, all := s.packets, 0
	for i := range s.packets {
		s.packets[i] = len(j.Shards[i]) + 1
		packets[i] += s.packets[i]
		all += packets[i]
	}
	var before [flow.ShardCount]usage
	held, free := 0, s.budget-j.Kept
	if j.seq >= 2 {
		s.await(j.seq - 2)
		s.mu.Lock()
		before = s.used[(j.seq-2)%len(s.used)]
		for i, b := range before {
			held += b.held
			free -= b.held + b.rows + s.used[(j.seq+1)%len(s.used)][i].rows
		}
		s.mu.Unlock()
	}
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

// do runs a shard on a round. It reports whether another worker has replaced this one meanwhile.
func (s *Shards) do(t task, workers *sync.WaitGroup) (replaced bool) {
	s.mu.Lock()
	for s.done[t.shard] != t.j.seq {
		s.cond.Wait()
	}
	s.mu.Unlock()
	sh, out := s.all[t.shard], &t.j.Out[t.shard]
	sh.SetBudget(t.j.budget[t.shard])
	sh.SetOutlet(max(s.budget/rowShare, leastRows), func() {
		if !replaced {
			replaced = true
			workers.Go(s.work)
		}
		s.drain(t)
	})
	sh.SetSeen(t.j.Seen)
	sh.Run(t.j.Packets, t.j.Shards[t.shard], out)
	last := dissect.Packet{No: max(t.j.Last, 0), Time: t.j.Now}
	if t.j.Seen.Clocks != nil {
		last.Clock = dissect.NoClock
	}
	if !t.j.More { // where rounds end, connections end in the order of their times
		sh.Expire(t.j.Now, last, out)
	}
	if t.j.Final {
		sh.Close(last, out)
	}
	if t.j.Cut != nil {
		sh.Show(last, &t.j.Open[t.shard])
	}
	s.mu.Lock()
	s.used[t.j.seq%len(s.used)][t.shard] = usage{sh.Held(), out.Memory()}
	s.rows += out.Memory()
	s.done[t.shard]++
	t.j.busy--
	s.cond.Broadcast()
	s.mu.Unlock()
	return replaced
}
