package exporter

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/internal/flow"
	"github.com/pcapsule/pcapsule/exporter/internal/read"
	"github.com/pcapsule/pcapsule/exporter/internal/round"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/nightly"
)

// TestLostPackets removes 1 to 3 adjacent packets from each sample, at each place in make nightly,
// else at some. Each complete call of what remains must be a call of the whole sample, equal in every
// column and with the same packets. No other call may have packets of two calls of the whole sample,
// such as the request of one and the response of another.
func TestLostPackets(t *testing.T) {
	const places = 6 // in each sample
	samples, err := filepath.Glob("../samples/*.pcap*")
	if err != nil || len(samples) == 0 {
		t.Fatal("no samples: ", err)
	}
	for _, path := range samples {
		if filepath.Base(path) == "vantages.pcapng" { // it has each packet twice
			continue
		}
		t.Run(filepath.Base(path), func(t *testing.T) {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			whole, packets, told := readCalls(t, data, 0, 0), packetBlocks(data), map[string]bool{}
			times := map[string]int{} // that the payload of a segment was sent
			for _, p := range packets {
				times[segmentIn(data[p[0]:p[1]])]++
			}
			sentAgain := func(p [2]int) bool {
				s := segmentIn(data[p[0]:p[1]])
				return s != "" && times[s] > 1
			}
			step, kept := 1, 0
			if !nightly.On() {
				step = max(1, 3*len(packets)/places)
			}
			for k := 0; k < 3*len(packets); k += step {
				from, n := k/3, 1+k%3
				if from+n > len(packets) || slices.ContainsFunc(packets[from:from+n], sentAgain) { // then it is complete with other packets
					continue
				}
				lost := slices.Concat(data[:packets[from][0]], data[packets[from+n-1][1]:])
				got := readCalls(t, lost, int64(from), int64(n))
				kept += len(got)
				for what, example := range whole.contradictions(got) {
					if kind, _, _ := strings.Cut(what, ":"); !told[what] && !slices.Contains(open, kind) {
						told[what] = true
						t.Errorf("without %d packets from %d: %s: %s", n, from, what, example)
					}
				}
			}
			if kept == 0 && len(whole) > 0 {
				t.Error("no rows were compared")
			}
		})
	}
}

// open are the kinds of contradictions that remain. No capture can show these: a lost datagram has no
// number (dhcp, rtp, sip, openvpn), and data is counted as captured (openvpn, wireguard) and cited only if
// its handshake was lost (wireguard); a retransmission takes the place of a lost packet (sctp, diameter); a
// row of TLS is about its whole connection; only a handshake names what is in the messages of WebSocket,
// what CLOSE closes (nfs, smb), the statement that is closed (mysql), the types and tables of a result
// (postgresql, cassandra), and the version (clickhouse); a failure is that of the call that it answers, if
// that was captured (amqp, amqp1). A file of FTP whose first segment was lost comes when the waiting for it
// is over, after the reply that ends its call. The others are not mended yet.
var open = strings.Split("amqp column,amqp pair,amqp1 column,cassandra column,clickhouse column,clickhouse packets,clickhouse pair,"+
	"dhcp packets,diameter column,diameter packets,fastcgi pair,ftp packets,imap pair,mysql column,nfs column,nfs packets,postgresql column,postgresql packets,"+
	"postgresql pair,openvpn column,openvpn packets,rtp packets,sctp packets,sip packets,smb column,smb packets,smb pair,smtp pair,telnet pair,tls packets,tls pair,wireguard column,wireguard pair,ws column,ws packets", ",")

// packetBlocks lists the places of the packets of a capture.
func packetBlocks(data []byte) (list [][2]int) {
	ends, pcapng := blockEnds(data), binary.LittleEndian.Uint32(data) == 0x0a0d0d0a
	for i := range ends {
		if i == 0 {
			continue
		}
		from := ends[i-1]
		if kind := binary.LittleEndian.Uint32(data[from:]); !pcapng || kind == 6 || kind == 3 {
			list = append(list, [2]int{from, ends[i]})
		}
	}
	return list
}

// segmentIn identifies the payload of a TCP segment over Ethernet and IPv4: its ends, sequence number and length. It is empty
// for other packets, and for those without payload.
func segmentIn(block []byte) string {
	const frame, ip, tcp = 28, 28 + 14, 28 + 14 + 20
	if len(block) < tcp+20 || binary.LittleEndian.Uint32(block) != 6 || binary.BigEndian.Uint16(block[frame+12:]) != 0x0800 || block[ip] != 0x45 || block[ip+9] != 6 {
		return ""
	}
	size := int(binary.BigEndian.Uint16(block[ip+2:])) - 20 - int(block[tcp+12]>>4)*4
	if size <= 0 {
		return ""
	}
	return fmt.Sprintf("%x %d", block[ip+12:tcp+8], size)
}

// someCalls are calls of a capture.
type someCalls []*someCall

type someCall struct {
	row     table.CallRow
	cites   table.Cites
	objects []table.Object
	columns map[string]string
}

// readCalls reads the calls of a capture from which n packets, the first one with the number lost,
// were removed. Citations have the numbers of the packets before that.
func readCalls(t *testing.T, data []byte, lost, n int64) someCalls {
	t.Helper()
	return readMoved(t, data, func(no int64) int64 {
		if no >= lost {
			no += n
		}
		return no
	})
}

// readMoved reads the calls of a capture. Citations have the numbers that was gives.
func readMoved(t *testing.T, data []byte, was func(no int64) int64) someCalls {
	t.Helper()
	return readTogether(t, was, data)
}

// readTogether reads the calls of several captures in one bundle.
func readTogether(t *testing.T, was func(no int64) int64, captures ...[]byte) (list someCalls) {
	t.Helper()
	var paths []string
	for i, data := range captures {
		path := filepath.Join(t.TempDir(), fmt.Sprintf("%d.pcap", i))
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		defer os.Remove(path)
		paths = append(paths, path)
	}
	sources, err := read.Open(paths, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer sources.Close()
	o := Options{Repanic: true, Jobs: 1}
	_, err = pipe(context.Background(), o.reads(sources, nil, Protocols), false, Protocols, o, func(r *round.Round) error {
		for s := range r.Out {
			for i := range r.Out[s].Calls {
				if c := &r.Out[s].Calls[i]; !isUnknown(c.Row) {
					list = append(list, callOf(c, was))
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func isUnknown(row table.CallRow) bool {
	_, unknown := row.(*dissect.Unknown)
	return unknown
}

func callOf(c *flow.CallRow, was func(int64) int64) *someCall {
	v := &someCall{row: c.Row, objects: c.Objects, columns: map[string]string{}}
	for _, r := range c.Row.Base().Cites {
		for no := r.First; no <= r.Last; no++ {
			v.cites.Add(was(no), was(no))
		}
	}
	v.addColumns(reflect.ValueOf(c.Row).Elem())
	for name := range notOfTheCall {
		delete(v.columns, name)
	}
	v.columns["cites"] = fmt.Sprint(v.cites)
	for i, o := range c.Objects {
		v.columns[fmt.Sprint("object ", i)] = fmt.Sprint(o.Name, o.Size, o.Complete, o.SHA256, o.Part)
	}
	for i, d := range c.Details {
		v.columns[fmt.Sprint("detail ", i)] = fmt.Sprintf("%+v", reflect.Indirect(reflect.ValueOf(d)))
	}
	return v
}

// notOfTheCall are the columns that other calls decide: a lost call changes the numbers of those that
// follow, which one is the first of its connection, until when a call without an answer waited, and which packet was the
// first to acknowledge it.
var notOfTheCall = map[string]bool{"ordinal": true, "anomalies": true, "connect_us": true, "tls_us": true, "dns_us": true, "waited_us": true,
	"request_ack": true, "resent_segments": true, "resent_us": true}

func (v *someCall) addColumns(s reflect.Value) {
	for i := range s.NumField() {
		f, field := s.Type().Field(i), s.Field(i)
		name, ok := f.Tag.Lookup("col")
		switch {
		case ok:
			v.columns[name] = fmt.Sprint(field.Interface())
		case f.Anonymous && field.Kind() == reflect.Struct:
			v.addColumns(field)
		case f.Anonymous && field.Kind() == reflect.Pointer && !field.IsNil():
			v.addColumns(field.Elem())
		}
	}
}

// contradictions says which calls of got, which lacks packets of the whole, cannot be: examples by
// kind.
func (whole someCalls) contradictions(got someCalls) map[string]string {
	found, left, abandoned := map[string]string{}, map[string]someCalls{}, false
	for _, w := range whole {
		left[w.columns["cites"]] = append(left[w.columns["cites"]], w)
		abandoned = abandoned || w.row.Base().Error.V == table.Abandoned
	}
	for _, c := range got {
		b := c.row.Base()
		if !b.Complete || b.Error.V == table.Abandoned || abandoned && whole.nearest(c).row.Base().Error.V == table.Abandoned {
			if !slices.ContainsFunc(whole, func(w *someCall) bool { return w.covers(c.cites) }) {
				found[b.Protocol+" pair: packets of several calls, "+b.Error.V] = fmt.Sprintf("%q %v", b.Summary, c.cites)
			}
			continue
		}
		same := left[c.columns["cites"]]
		if len(same) == 0 {
			found[b.Protocol+" packets: complete with others"] = fmt.Sprintf("%q %v; %v", b.Summary, c.cites, whole.nearest(c).cites)
			continue
		}
		w := same.nearest(c)
		i := slices.Index(same, w)
		left[c.columns["cites"]] = slices.Delete(slices.Clone(same), i, i+1)
		if names := w.falseColumns(c); len(names) > 0 {
			what, example := b.Protocol+" column:", fmt.Sprintf("%q was %q", b.Summary, w.row.Base().Summary)
			for _, name := range names {
				what += " " + name
				example += fmt.Sprintf("; %s: %.60q was %.60q", name, c.columns[name], w.columns[name])
			}
			found[what] = example
		}
	}
	return found
}

// falseColumns lists the columns in which c, which has the same packets, says something else. What
// only other packets of the connection say, such as its user, may be absent, and texts made of it may
// lack it.
func (w *someCall) falseColumns(c *someCall) (names []string) {
	unknown := false
	for _, name := range w.otherColumns(c) {
		switch v := c.columns[name]; {
		case v == "" || v == "[]" || v == "{ true}" || v == "{(unknown) true}" || strings.HasSuffix(v, " false}"):
			unknown = true
		case name == "outcome" && v == table.Unread: // what gives the result its meaning was lost
			unknown = true
		case name == "request_delivered" && (strings.HasPrefix(v, "{unknown") || strings.HasPrefix(w.columns[name], "{unknown")): // an acknowledgement may come after the row
		case !strings.HasSuffix(name, "_ahead") && !rawWithoutOthers[name]: // _ahead counts what waits, as far as the capture shows
			names = append(names, name)
		}
	}
	return slices.DeleteFunc(names, func(name string) bool {
		return unknown && slices.Contains([]string{"summary", "endpoint", "method"}, name)
	})
}

// covers reports whether the call cites all these packets.
func (c *someCall) covers(cites table.Cites) bool {
	for _, r := range cites {
		if !slices.ContainsFunc(c.cites, func(x table.Range) bool { return x.First <= r.First && r.Last <= x.Last }) {
			return false
		}
	}
	return true
}

// rawWithoutOthers are columns with values that are shown as bytes or numbers, or relative to an unknown
// place, if the message that gives their type or name was lost.
var rawWithoutOthers = map[string]bool{"cassandra_params": true, "cassandra_preview": true, "postgresql_params": true, "postgresql_tables": true,
	"nfs_path": true}

// otherColumns lists the columns in which two calls differ.
func (c *someCall) otherColumns(d *someCall) (names []string) {
	for name := range c.columns {
		if c.columns[name] != d.columns[name] {
			names = append(names, name)
		}
	}
	for name := range d.columns {
		if _, ok := c.columns[name]; !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// nearest is the first of the calls that differ from c in the fewest columns.
func (list someCalls) nearest(c *someCall) (found *someCall) {
	fewest := math.MaxInt
	for _, w := range list {
		if fewest == 0 {
			break
		}
		if n := w.countOther(c, fewest); n < fewest {
			found, fewest = w, n
		}
	}
	return found
}

// countOther is the number of otherColumns, or at least most if there are that many.
func (c *someCall) countOther(d *someCall, most int) int {
	n, common := 0, 0
	for name, value := range c.columns {
		other, ok := d.columns[name]
		if ok {
			common++
		}
		if value != other {
			if n++; n >= most {
				return n
			}
		}
	}
	return n + len(d.columns) - common
}
