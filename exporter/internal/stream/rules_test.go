package stream

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// handshake begins both directions, at 101 and 501.
var handshake = []step{{dir: 0, flags: SYN, seq: 100}, {dir: 1, flags: SYN, seq: 500, ack: 101}}

// many is n one-byte segments of direction 0 from seq on.
func many(n int, seq, ack uint32) (list []step) {
	for i := range n {
		list = append(list, step{dir: 0, seq: seq + uint32(i), text: "z", ack: ack})
	}
	return list
}

func TestRules(t *testing.T) {
	after := func(steps ...[]step) (all []step) {
		all = append(all, handshake...)
		for _, s := range steps {
			all = append(all, s...)
		}
		return all
	}
	acks := func(n int, ack uint32) (list []step) {
		for range n {
			list = append(list, step{dir: 1, seq: 501, ack: ack})
		}
		return list
	}
	for _, tt := range []struct {
		name  string
		steps []step
		want  string
	}{
		{"15 segments late and acknowledged before", after([]step{{seq: 103, text: "cd", ack: 501}}, acks(15, 105), []step{{seq: 101, text: "ab", ack: 501}}), "0:ab 0:cd"},
		{"200 packets late and acknowledged before", after([]step{{seq: 103, text: "cd", ack: 501}}, acks(200, 105), []step{{seq: 101, text: "ab", ack: 501}}), "0:ab 0:cd"},
		{"too late", after([]step{{seq: 103, text: "cd", ack: 501}}, acks(300, 105), []step{{seq: 101, text: "ab", ack: 501}}), "0:gap 2 0:cd 0:late 2"},
		{"too late, and beyond both ends of the gap", after([]step{{seq: 101, text: "a"}, {seq: 104, text: "de", ack: 501}}, acks(300, 106), []step{{seq: 101, text: "abcdX", ack: 501}}),
			"0:a 0:gap 2 0:de 0:conflict 2 with 3 0:late 2"},
		{"sent again 500 segments later, the same", after(many(500, 101, 501), []step{{seq: 101, text: "zzz"}}), strings.TrimSpace(strings.Repeat("0:z ", 500))},
		{"sent again 500 segments later, other bytes", after(many(500, 101, 501), []step{{seq: 102, text: "y"}}), strings.Repeat("0:z ", 500) + "0:conflict 1 with 3"},
		{"sent again 4,000 segments later, other bytes", after(many(4000, 101, 501), []step{{seq: 102, text: "y"}}), strings.Repeat("0:z ", 4000) + "0:conflict 1 with 3"},
		{"sent again too late to compare", after(many(5000, 101, 501), []step{{seq: 101, text: "z"}}), strings.Repeat("0:z ", 5000) + "0:uncompared 1"},
		{"a part of what was delivered, other bytes", after([]step{{seq: 101, text: "abcdef"}, {seq: 103, text: "xy"}}), "0:abcdef 0:conflict 2 with 2"},
		{"the first copy counts if a segment overlaps a held one", after([]step{{seq: 103, text: "cd"}, {seq: 101, text: "abXYef"}}), "0:conflict 2 with 2 0:ab 0:cd 0:ef"},
		{"begins in the middle, out of order", []step{{seq: 1002, text: "cd"}, {seq: 1000, text: "ab"}, {seq: 1004, text: "ef"}}, "0:ab 0:cd 0:ef"},
		{"begins at the byte that the receiver expects", []step{{dir: 1, seq: 7, ack: 1000}, {seq: 1000, text: "ab", ack: 7}, {seq: 998, text: "yz", ack: 7}}, "0:ab 0:early 2"},
		{"begins before the SYN in the capture", []step{{seq: 103, text: "cd"}, {flags: SYN, seq: 100}, {seq: 101, text: "ab"}}, "0:ab 0:cd"},
		{"the SYN comes after its answer and bytes, and had payload", []step{{dir: 1, flags: SYN, seq: 500, ack: 101}, {seq: 101, text: "ab", ack: 501}, {dir: 1, seq: 501, text: "A", ack: 103},
			{flags: SYN, seq: 98}, {seq: 99, text: "yz"}}, "0:yz 0:ab 1:A"},
		{"a greeting waits for the SYN", []step{{dir: 1, flags: SYN, seq: 500, ack: 101}, {dir: 1, seq: 501, text: "A", ack: 101}, {flags: SYN, seq: 98}, {seq: 99, text: "yz"}}, "0:yz 1:A"},
		{"bytes come before the SYN-ACK, and the first were not captured", []step{{seq: 103, text: "cd", ack: 501}, {dir: 1, flags: SYN, seq: 500, ack: 101}, {seq: 105, text: "ef", ack: 501}}, "0:gap 2 0:cd 0:ef"},
		{"the same, and the first come late", []step{{seq: 103, text: "cd", ack: 501}, {dir: 1, flags: SYN, seq: 500, ack: 101}, {seq: 101, text: "ab", ack: 501}}, "0:ab 0:cd"},
		{"the same, and the SYN also, with payload", []step{{seq: 103, text: "cd", ack: 501}, {dir: 1, flags: SYN, seq: 500, ack: 101}, {seq: 101, text: "ab", ack: 501}, {flags: SYN, seq: 98}, {seq: 99, text: "yz"}}, "0:yz 0:ab 0:cd"},
		{"bytes come before a SYN-ACK that acknowledges more", []step{{seq: 101, text: "ab", ack: 501}, {dir: 1, flags: SYN, seq: 500, ack: 103}}, "0:ab"},
		{"the SYN of an answer does not come", append([]step{{dir: 1, flags: SYN, seq: 500, ack: 101}, {seq: 101, text: "ab", ack: 501}}, append(acks(20, 103), step{flags: SYN, seq: 98}, step{seq: 99, text: "yz"})...), "0:ab 0:early 2"},
		{"neither the SYN-ACK nor the first bytes after it were captured", []step{{flags: SYN, seq: 100}, {seq: 101, ack: 501}, {dir: 1, seq: 503, text: "cd", ack: 101}}, "1:gap 2 1:cd"},
		{"the same, and the first bytes come late", []step{{flags: SYN, seq: 100}, {seq: 101, ack: 501}, {dir: 1, seq: 503, text: "cd", ack: 101}, {dir: 1, seq: 501, text: "ab", ack: 101}}, "1:ab 1:cd"},
		{"the same, and the client's acknowledgement came late, too", []step{{flags: SYN, seq: 100}, {seq: 101, ack: 503}, {dir: 1, seq: 503, text: "cd", ack: 101}, {dir: 1, seq: 501, text: "ab", ack: 101}}, "1:cd 1:early 2"},
		{"an answer comes before the SYN-ACK", []step{{flags: SYN, seq: 100}, {seq: 101, ack: 501}, {dir: 1, seq: 501, text: "hi", ack: 101}, {dir: 1, flags: SYN, seq: 500, ack: 101}}, "1:hi"},
		{"begins in the middle: what was expected before may have been sent before", []step{{seq: 101, ack: 501}, {dir: 1, seq: 503, text: "cd", ack: 101}}, "1:cd"},
		{"an answer waits for its question", after([]step{{seq: 103, text: "st?", ack: 501}, {dir: 1, seq: 501, text: "ok", ack: 106}, {seq: 101, text: "te", ack: 501}}), "0:te 0:st? 1:ok"},
		{"a question sent again with a later one waits for no later answer", after([]step{{dir: 1, seq: 501, text: "ok", ack: 103}, {seq: 103, text: "b?", ack: 503}, {seq: 101, text: "a?b?", ack: 503}}), "0:a? 1:ok 0:b?"},
		{"an answer waits until its question is given up", after([]step{{seq: 103, text: "st?", ack: 501}, {dir: 1, seq: 501, text: "ok", ack: 106}}), "0:gap 2 0:st? 1:ok"},
		{"two requests, whose answers were both lost: the second one had the first answer", after([]step{{seq: 101, text: "a?", ack: 501}, {seq: 103, text: "b?", ack: 503},
			{dir: 1, seq: 505, text: "C", ack: 107}, {seq: 105, text: "c?", ack: 505}}), "0:a? 1:gap 2 0:b? 1:gap 2 0:c? 1:C"},
		{"the same behind another gap", after([]step{{dir: 1, seq: 502, text: "x", ack: 101}, {seq: 101, text: "a?", ack: 503}, {seq: 103, text: "b?", ack: 505}, {dir: 1, seq: 507, text: "C", ack: 107}}),
			"1:gap 1 1:x 0:a? 1:gap 2 0:b? 1:gap 2 0:gap 2 1:C"},
		{"an answer waits for its question that comes next", after([]step{{dir: 1, seq: 501, text: "ok", ack: 106}, {seq: 101, text: "test?", ack: 501}}), "0:test? 1:ok"},
		{"an answer to a question that was not captured", after([]step{{dir: 1, seq: 501, text: "ok", ack: 106}}, acks(300, 106), []step{{seq: 106, text: "next", ack: 503}}), "0:gap 5 1:ok 0:next"},
		{"an acknowledgement of what nobody sent", after([]step{{dir: 1, seq: 501, text: "ok", ack: 1 << 30}, {seq: 101, text: "ab", ack: 501}}), "0:ab 1:ok"},
		{"cut, and whole on another interface later", after([]step{{seq: 101, text: "ab", ack: 501, cut: -2}, {seq: 105, text: "ef", ack: 501}, {seq: 101, text: "abcd", ack: 501}}), "0:ab 0:cd 0:ef"},
		{"cut, and never whole", after([]step{{seq: 101, text: "ab", ack: 501, cut: -2}, {seq: 105, text: "ef", ack: 501}}, acks(300, 107)), "0:ab 0:gap 2 0:ef"},
		{"cut, and other bytes on another interface", after([]step{{seq: 101, text: "ab", ack: 501, cut: -2}, {seq: 101, text: "xbcd", ack: 501}}), "0:ab 0:conflict 2 with 2 0:cd"},
		{"two sent again with newer acknowledgements", after([]step{{dir: 1, seq: 503, text: "B", ack: 105}, {seq: 103, text: "A", ack: 504}}), "0:gap 2 1:gap 2 1:B 0:A 0:gap 1"},
		{"far ahead in the window, and others acknowledged after it", after([]step{{seq: 9101, text: "evil", ack: 501}, {seq: 101, text: "ab", ack: 501}}, acks(1, 103), []step{{flags: FIN, seq: 103, ack: 501}}), "0:ab 0:stray 4 0:end"},
		{"the same, and more than a minute later", after([]step{{seq: 9101, text: "evil", ack: 501}, {seq: 101, text: "ab", ack: 501, later: 70e9}}, acks(1, 103), []step{{seq: 103, text: "cd", ack: 501, later: 70e9}}, acks(1, 105),
			[]step{{seq: 105, text: "ef", ack: 501, later: 70e9}}), "0:ab 0:stray 4 0:cd 0:ef"},
		{"the same, and idle before", after(acks(1, 101), []step{{seq: 9101, text: "evil", ack: 501}, {seq: 101, text: "ab", ack: 501, later: 300e9}}, acks(1, 103), []step{{seq: 103, text: "cd", ack: 501, later: 300e9}}), "0:ab 0:stray 4 0:cd"},
		{"ahead, acknowledged with the missing bytes", after([]step{{seq: 105, text: "ef", ack: 501}, {seq: 101, text: "ab", ack: 501}}, acks(1, 103), []step{{dir: 1, seq: 501, ack: 107, later: 70e9}}, acks(300, 107)), "0:ab 0:gap 2 0:ef"},
		{"ahead, and the receiver waits for the missing bytes until they come", after([]step{{seq: 103, text: "cd", ack: 501}}, acks(3, 101), []step{{seq: 101, text: "ab", ack: 501, later: 90e9}}), "0:ab 0:cd"},
		{"ahead, and the sender gives up", after([]step{{seq: 103, text: "cd", ack: 501}}, acks(3, 101)), "0:gap 2 0:cd"},
		{"wrong, then right", after([]step{{flags: wrong, seq: 101, text: "xy"}, {seq: 101, text: "ab", ack: 501}}, acks(1, 103)), "0:ab 0:refused 2"},
		{"right, then wrong", after([]step{{seq: 101, text: "ab", ack: 501}, {flags: wrong, seq: 101, text: "xy"}}), "0:ab 0:dropped 2"},
		{"wrong, and never acknowledged", after([]step{{flags: wrong, seq: 101, text: "xy"}, {seq: 103, text: "cd", ack: 501}}), "0:gap 2 0:cd 0:refused 2"},
		{"wrong, acknowledged, and no other copy", after([]step{{flags: wrong, seq: 101, text: "ab"}, {seq: 103, text: "cd", ack: 501}}, acks(1, 105)), "0:redeemed 0 0:ab 0:cd"},
		{"wrong, acknowledged, and right 200 packets later", after([]step{{flags: wrong, seq: 101, text: "xy"}, {seq: 103, text: "cd", ack: 501}}, acks(200, 105), []step{{seq: 101, text: "ab", ack: 501}}), "0:ab 0:cd 0:refused 2"},
		{"wrong, acknowledged, and other bytes 300 packets later", after([]step{{flags: wrong, seq: 101, text: "xy"}, {seq: 103, text: "cd", ack: 501}}, acks(300, 105), []step{{seq: 101, text: "ab", ack: 501}}), "0:redeemed 0 0:xy 0:cd 0:conflict 2 with 2"},
		{"two wrong copies: the first counts", after([]step{{flags: wrong, seq: 101, text: "ab"}, {flags: wrong, seq: 101, text: "xy"}, {seq: 103, text: "cd", ack: 501}}, acks(1, 105)), "0:redeemed 0 0:ab 0:cd 0:refused 2"},
		{"all wrong, an answer for each", after([]step{{flags: wrong, seq: 101, text: "a?", ack: 501}, {dir: 1, flags: wrong, seq: 501, text: "A", ack: 103}, {flags: wrong, seq: 103, text: "b?", ack: 502}, {dir: 1, flags: wrong, seq: 502, text: "B", ack: 105},
			{seq: 105, ack: 503}, {dir: 1, seq: 503, ack: 105}}), "0:redeemed 0 0:a? 1:redeemed 0 1:A 0:redeemed 0 0:b? 1:redeemed 0 1:B"},
		{"wrong behind a gap", after([]step{{flags: wrong, seq: 103, text: "cd"}, {seq: 105, text: "ef", ack: 501}}, acks(300, 107)), "0:gap 2 0:redeemed 0 0:cd 0:ef"},
		{"wrong, beyond both ends of the gap", after([]step{{seq: 101, text: "a"}, {flags: wrong, seq: 101, text: "abcX"}, {seq: 104, text: "d", ack: 501}}, acks(300, 105)), "0:a 0:redeemed 0 0:refused 2 0:bc 0:d"},
		{"wrong, with a FIN", after([]step{{flags: FIN | wrong, seq: 101, text: "ab", ack: 501}}, acks(1, 104)), "0:redeemed 0 0:ab 0:end"},
		{"wrong and far ahead", after([]step{{flags: wrong, seq: 1 << 30, text: "ab"}}), "0:dropped 2"},
		{"wrong before the stream's beginning is known", []step{{flags: wrong, seq: 101, text: "ab"}, {seq: 103, text: "cd"}}, "0:dropped 2 0:cd"},
		{"data behind a FIN", after([]step{{flags: FIN, seq: 101, text: "ab"}, {seq: 103, text: "cd"}}), "0:ab 0:end 0:after-end 2"},
		{"data behind a FIN that was not reached", after([]step{{flags: FIN, seq: 103}, {seq: 101, text: "abcd"}, {flags: FIN, seq: 105}}), "0:other-end 0 0:abcd 0:end"},
		{"a FIN inside the data", after([]step{{seq: 101, text: "abcd"}, {flags: FIN, seq: 103}, {flags: FIN, seq: 105}}), "0:abcd 0:other-end 0 0:end"},
		{"a FIN far ahead", after([]step{{flags: FIN, seq: 1 << 30}, {seq: 101, text: "ab"}, {flags: FIN, seq: 103}}), "0:other-end 0 0:ab 0:end"},
		{"FINs at two places", after([]step{{flags: FIN, seq: 110}, {flags: FIN, seq: 103}, {seq: 101, text: "ab"}}), "0:other-end 0 0:ab 0:end"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := strings.Join(play(tt.steps).log, " "); got != tt.want {
				t.Errorf("\n got %.300s\nwant %.300s", got, tt.want)
			}
		})
	}
}

// TestCostIsLinear compares the time for n hostile segments with that for 4 n.
func TestCostIsLinear(t *testing.T) {
	for name, at := range map[string]func(i, n int) uint32{
		"one byte each":          func(i, n int) uint32 { return uint32(i) },
		"in reverse order":       func(i, n int) uint32 { return uint32(n - i) },
		"a gap after each":       func(i, n int) uint32 { return uint32(2 * i) },
		"gaps from the end":      func(i, n int) uint32 { return uint32(2 * (n - i)) },
		"old bytes again":        func(i, n int) uint32 { return uint32(i - i%3*900) },
		"one gap, then repeated": func(i, n int) uint32 { return uint32(5 + i%4000) },
	} {
		t.Run(name, func(t *testing.T) {
			cost := func(n int) time.Duration {
				best := time.Hour
				for range 5 {
					b := &Budget{Left: 8 << 20}
					c := &Conn{Sink: nothing{}, Budget: b, History: &History{Budget: b}}
					c.Segment(0, &Segment{Seq: 99, Flags: SYN})
					begin := time.Now()
					for i := range n {
						c.Segment(0, &Segment{Packet: Packet{No: int64(i)}, Seq: 100 + at(i, n), Payload: []byte{1}, Len: 1})
					}
					c.Close(&Segment{})
					best = min(best, time.Since(begin))
				}
				return best
			}
			few, lots := cost(20_000), cost(80_000)
			if lots > 10*few+10*time.Millisecond { // a factor of 4 is linear, 16 is quadratic; caches and other processes cause the rest
				t.Errorf("20,000 segments take %v, 80,000 take %v", few, lots)
			}
			t.Log(fmt.Sprint(few, lots))
		})
	}
}
