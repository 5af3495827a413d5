package workload

import (
	"strconv"
	"unsafe"
)

// quickSocket reads a socket's line in the form in which recorders write it. It answers
// false for everything else, right or wrong, which encoding/json then reads: there may be
// tens of thousands of such lines a second of recording.
func quickSocket(line []byte) (*Socket, bool) {
	q := quick{b: line}
	s := &Socket{}
	var seen uint32
	var local, remote []byte
	q.eat('{')
	for !q.bad {
		key := q.text()
		q.eat(':')
		n, known := keyOf(key)
		if !known || seen>>n&1 != 0 {
			return nil, false
		}
		seen |= 1 << n
		switch n {
		case keySocket:
			var err error
			if s.Cookie, err = strconv.ParseUint(borrow(q.text()), 10, 64); err != nil {
				return nil, false
			}
		case keyCgroup:
			text := q.text()
			if len(text) > maxPath {
				return nil, false
			}
			s.Cgroup = string(text)
		case keyProtocol:
			var ok bool
			if s.Proto, ok = protocolNumber(borrow(q.text())); !ok {
				return nil, false
			}
		case keyLocal:
			local = q.text()
		case keyRemote:
			remote = q.text()
		case keyFrom:
			s.From = q.time()
		case keyTo:
			s.To = q.time()
		case keyLearned:
			s.Learned = q.time()
		case keyOwners:
			q.owners(s)
		case keyMore:
			s.Cut = q.yes()
		case keyNumber:
			seen &^= 1 << n // several of them, and none counts
			q.number()
		case keyText:
			seen &^= 1 << n
			q.text()
		}
		if q.peek() != ',' {
			break
		}
		q.i++
	}
	q.eat('}')
	if q.bad || q.i != len(line) || seen&(1<<keySocket|1<<keyProtocol|1<<keyLocal) != 1<<keySocket|1<<keyProtocol|1<<keyLocal {
		return nil, false
	}
	var ok bool
	if s.Local, ok = parseEnd(borrow(local)); !ok {
		return nil, false
	}
	if s.Remote, ok = parseEnd(borrow(remote)); !ok && len(remote) > 0 {
		return nil, false
	}
	return s, s.From != 0 && s.To >= s.From
}

const (
	keySocket = iota
	keyCgroup
	keyProtocol
	keyLocal
	keyRemote
	keyFrom
	keyTo
	keyLearned
	keyOwners
	keyMore
	keyNumber
	keyText
)

// keyOf tells the keys of a socket's line apart.
func keyOf(key []byte) (n uint8, known bool) {
	switch string(key) {
	case "socket":
		n = keySocket
	case "cgroup":
		n = keyCgroup
	case "protocol":
		n = keyProtocol
	case "local":
		n = keyLocal
	case "remote":
		n = keyRemote
	case "from":
		n = keyFrom
	case "to":
		n = keyTo
	case "learned":
		n = keyLearned
	case "owners":
		n = keyOwners
	case "more":
		n = keyMore
	case "interface", "packets":
		n = keyNumber
	case "first_packet", "last_packet":
		n = keyText
	default:
		return 0, false
	}
	return n, true
}

// borrow is text that lives as long as b is not changed.
func borrow(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// quick reads JSON without white space, escapes, fractions or anything but plain ASCII.
type quick struct {
	b   []byte
	i   int
	bad bool // something else came
}

func (q *quick) peek() byte {
	if q.bad || q.i >= len(q.b) {
		return 0
	}
	return q.b[q.i]
}

func (q *quick) eat(c byte) {
	if q.peek() != c {
		q.bad = true
		return
	}
	q.i++
}

func (q *quick) text() []byte {
	q.eat('"')
	if q.bad {
		return nil
	}
	from := q.i
	for ; q.i < len(q.b); q.i++ {
		switch c := q.b[q.i]; {
		case c == '"':
			q.i++
			return q.b[from : q.i-1]
		case c < 0x20 || c >= 0x7f || c == '\\':
			q.bad = true
			return nil
		}
	}
	q.bad = true
	return nil
}

// number is one of at most 18 digits without a sign.
func (q *quick) number() (n int64) {
	from := q.i
	for ; q.peek() >= '0' && q.peek() <= '9'; q.i++ {
		if q.i-from == 18 {
			q.bad = true
			return 0
		}
		n = n*10 + int64(q.b[q.i]-'0')
	}
	if q.i == from || q.b[from] == '0' && q.i-from > 1 {
		q.bad = true
	}
	return n
}

func (q *quick) yes() bool {
	for _, c := range []byte("true") {
		q.eat(c)
	}
	return true
}

// time reads a time of nanoseconds UTC, from 1970 to 2261.
func (q *quick) time() int64 {
	t := q.text()
	if len(t) != len("2006-01-02T15:04:05.000000000Z") || t[4] != '-' || t[7] != '-' || t[10] != 'T' || t[13] != ':' || t[16] != ':' || t[19] != '.' || t[29] != 'Z' {
		q.bad = true
		return 0
	}
	digits := func(from, to int) (n int64) {
		for _, c := range t[from:to] {
			if c < '0' || c > '9' {
				q.bad = true
			}
			n = n*10 + int64(c-'0')
		}
		return n
	}
	year, month, day := digits(0, 4), digits(5, 7), digits(8, 10)
	hour, minute, second, nanos := digits(11, 13), digits(14, 16), digits(17, 19), digits(20, 29)
	// The last days of a month are left to time.Parse.
	if q.bad || year < 1970 || year > 2261 || month < 1 || month > 12 || day < 1 || day > 28 && (month == 2 || day > 30) || hour > 23 || minute > 59 || second > 59 {
		q.bad = true
		return 0
	}
	// Days since 1970 with the year beginning in March, so that the leap day is its last.
	y, m := year, month-3
	if m < 0 {
		y, m = y-1, m+12
	}
	days := y*365 + y/4 - y/100 + y/400 + (m*153+2)/5 + day - 1 - 719468
	return (days*86400+hour*3600+minute*60+second)*1e9 + nanos
}

func (q *quick) owners(s *Socket) {
	q.eat('[')
	if q.peek() == ']' {
		q.i++
		return
	}
	for !q.bad {
		if len(s.Owners) == maxOwners {
			q.bad = true
			return
		}
		s.Owners = append(s.Owners, q.owner())
		if q.peek() != ',' {
			break
		}
		q.i++
	}
	q.eat(']')
}

func (q *quick) owner() (o SocketOwner) {
	q.eat('{')
	seen := 0
	for !q.bad {
		key := q.text()
		q.eat(':')
		bit := 0
		switch string(key) {
		case "pid":
			bit, o.PID = 1, q.number()
		case "tid":
			bit, o.TID = 2, q.number()
		case "kind":
			word := q.text()
			bit, o.Known = 4, ParseKnowledge(borrow(word))
			o.Word = o.Known.String()
			if o.Word != borrow(word) {
				q.bad = true
			}
		case "process":
			text := q.text()
			if len(text) == 0 || len(text) > maxName || text[0] == ' ' || text[len(text)-1] == ' ' {
				q.bad = true
			}
			bit, o.Process = 8, string(text)
		case "from":
			bit, o.From = 16, q.time()
		case "to":
			bit, o.To = 32, q.time()
		}
		if bit == 0 || seen&bit != 0 {
			q.bad = true
		}
		seen |= bit
		if q.peek() != ',' {
			break
		}
		q.i++
	}
	q.eat('}')
	if o.PID <= 0 || o.Known == KnownNot {
		q.bad = true
	}
	return o
}
