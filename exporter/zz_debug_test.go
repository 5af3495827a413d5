package exporter
import ("testing";"os";"fmt";"slices";"strings")
func TestZZ(t *testing.T) {
	data, err := os.ReadFile("../samples/"+os.Getenv("ZZ"))
	if err != nil { t.Fatal(err) }
	var from, n int
	fmt.Sscan(os.Getenv("ZZAT"), &n, &from)
	p := packetBlocks(data)
	lost := data
	if n > 0 { lost = slices.Concat(data[:p[from][0]], data[p[from+n-1][1]:]) }
	os.WriteFile("/tmp/zz.pcapng", lost, 0o644)
	for _, c := range readCalls(t, lost, int64(from), int64(n)) {
		b := c.row.Base()
		fmt.Printf("%v %.120q complete=%v err=%v %v\n", b.Protocol, b.Summary, b.Complete, b.Error.V, c.cites)
	}
	if n > 0 {
		for w, e := range readCalls(t, data, 0, 0).contradictions(readCalls(t, lost, int64(from), int64(n))) { fmt.Println("CONTRA", w, strings.ToValidUTF8(e, "?")) }
	}
}
