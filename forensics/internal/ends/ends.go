// Package ends merges the rows of table endpoints that several bundles have for one end of a call.
//
// The best known row is the basis. Others fill its empty fields, if they describe the same object
// or process. Rows that contradict each other are reported.
package ends

import (
	"cmp"
	"reflect"
	"slices"

	"github.com/pcapsule/pcapsule/forensics/internal/wire"
)

// Grade is how well the owner of an end is known; smaller numbers are better. Its tens are levels.
type Grade int

// Levels of grades.
const (
	exact         Grade = 0   // the kernel said which process wrote the bytes
	guess         Grade = 10  // a process that had the socket
	podAddress    Grade = 100 // only the address is known: a pod has it
	processAddr   Grade = 110
	hostAddress   Grade = 120
	serviceAddr   Grade = 130 // a Service, not the server behind it
	anyAddress    Grade = 140
	NobodyIsKnown Grade = 999 // without a row
)

var (
	guesses   = []string{"last_user", "acceptor", "creator", "holder_at_start", "listener_inherited", "shared_at_start"}
	sources   = []string{"segment", "kube", "peer", "ptcpdump", "hosts", "nrb", "dns", "dns_other"}
	byAddress = map[string]Grade{"pod": podAddress, "process": processAddr, "node": hostAddress, "host": hostAddress, "service": serviceAddr}
)

// GradeOf grades a row by its columns kind, how_known and owner_guess (nil for null).
func GradeOf(kind, how string, guessed any) Grade {
	at := func(list []string) Grade {
		if i := slices.Index(list, how); i >= 0 {
			return Grade(i)
		}
		return Grade(len(list))
	}
	switch yes, ok := guessed.(bool); {
	case ok && !yes:
		return exact
	case ok:
		return guess + at(guesses)
	}
	if level, ok := byAddress[kind]; ok {
		return level + at(sources)
	}
	return anyAddress + at(sources)
}

// Level is a grade without the differences that do not decide whose addresses are right.
func (g Grade) Level() Grade { return g / 10 }

// Row is one row of endpoints.
type Row struct {
	Bundle int
	ID     int64
	Rank   int // of its bundle, so that the order of bundles does not matter
	Values wire.Struct
}

func (r *Row) text(name string) string {
	s, _ := r.Values.Get(name).(string)
	return s
}

func (r *Row) grade() Grade {
	return GradeOf(r.text("kind"), r.text("how_known"), r.Values.Get("owner_guess"))
}

// facts counts the columns with a value.
func (r *Row) facts() (n int) {
	for i := range r.Values {
		if !empty(r.Values[i].Value) {
			n++
		}
	}
	return n
}

func empty(v any) bool {
	list, ok := v.([]any)
	return v == nil || ok && len(list) == 0
}

// Facts about an object come from any row that does not name another object, facts about a process only
// from a row with the same process. All other columns are those of the best row.
var (
	objectFacts  = []string{"namespace", "pod", "pod_uid", "service", "services", "workload", "workload_kind", "node", "labels", "dns_name", "hostname"}
	processFacts = []string{"container", "image", "process", "pid", "exe", "command", "user_name", "started_ns", "cgroup", "container_id"}
)

// differ reports whether both rows have a value and the values differ.
func differ(a, b *Row, names ...string) bool {
	return slices.ContainsFunc(names, func(name string) bool {
		x, y := a.Values.Get(name), b.Values.Get(name)
		return x != nil && y != nil && !reflect.DeepEqual(x, y)
	})
}

// apart reports whether two rows describe different objects.
func apart(a, b *Row) bool {
	if a.Values.Get("pod_uid") != nil && b.Values.Get("pod_uid") != nil {
		return differ(a, b, "pod_uid", "node")
	}
	return differ(a, b, "namespace", "pod", "node")
}

// another reports whether two rows describe different processes.
func another(a, b *Row) bool {
	return apart(a, b) || differ(a, b, "container", "container_id", "pid", "started_ns")
}

// contrary reports whether a row of the level of the best one contradicts it. Different hosts or services
// do not: addresses are translated.
func contrary(best, r *Row) bool {
	level := best.grade().Level()
	switch {
	case level != r.grade().Level():
		return false
	case level <= guess.Level():
		return another(best, r)
	}
	return level <= processAddr.Level() && apart(best, r)
}

// Merge merges the rows for one end, of which own, if not nil, is that of the row of calls. It returns
// the values of the end, or nil if they are those of own; and, if rows contradict each other, all
// readings, the best first. A contradicted process is a guess.
func Merge(own *Row, others []*Row) (merged wire.Struct, readings []*Row) {
	rows := slices.Clone(others)
	if own != nil {
		rows = append(rows, own)
	}
	if len(rows) == 0 {
		return nil, nil
	}
	slices.SortFunc(rows, func(a, b *Row) int {
		if c := cmp.Compare(a.grade(), b.grade()); c != 0 || a == own || b == own {
			return cmp.Or(c, first(a == own, b == own))
		}
		return cmp.Or(cmp.Compare(b.facts(), a.facts()), cmp.Compare(a.Rank, b.Rank), cmp.Compare(a.ID, b.ID))
	})
	best := rows[0]
	merged = slices.Clone(best.Values)
	readings = []*Row{best}
	for _, r := range rows[1:] {
		if contrary(best, r) {
			readings = append(readings, r)
		}
		fill(merged, best, r)
	}
	if len(readings) == 1 {
		readings = nil
	}
	if len(readings) > 1 && best.Values.Get("owner_guess") != nil {
		set(merged, "owner_guess", true)
	}
	rename(merged)
	if own != nil && same(merged, own.Values) {
		return nil, readings
	}
	return merged, readings
}

func first(a, b bool) int {
	switch {
	case a && !b:
		return -1
	case b && !a:
		return 1
	}
	return 0
}

// fill adds what r knows and merged lacks.
func fill(merged wire.Struct, best, r *Row) {
	if apart(best, r) {
		return
	}
	other := another(best, r)
	for i := range merged {
		f := &merged[i]
		if empty(f.Value) && (slices.Contains(objectFacts, f.Name) || !other && slices.Contains(processFacts, f.Name)) {
			f.Value = r.Values.Get(f.Name)
		}
	}
}

func set(s wire.Struct, name string, v any) {
	for i := range s {
		if s[i].Name == name {
			s[i].Value = v
		}
	}
}

// rename sets the names of a row, by the rules of exporter/internal/join.
func rename(s wire.Struct) {
	text := func(name string) string {
		v, _ := s.Get(name).(string)
		return v
	}
	name := text("name")
	if name == text("ip") {
		name = ""
	}
	name = cmp.Or(text("pod"), name, text("service"), text("process"), text("dns_name"), text("hostname"), text("ip"))
	set(s, "name", name)
	who := cmp.Or(text("service"), text("workload"), text("pod"), name)
	if outside, _ := s.Get("external").(bool); outside && text("service") == "" {
		who = cmp.Or(text("dns_name"), text("hostname"), name)
	}
	if ns := text("namespace"); ns != "" {
		who = ns + "/" + who
	}
	set(s, "who", who)
}

func same(a, b wire.Struct) bool {
	for i := range a {
		if v := b.Get(a[i].Name); !(empty(v) && empty(a[i].Value)) && !reflect.DeepEqual(v, a[i].Value) {
			return false
		}
	}
	return true
}
