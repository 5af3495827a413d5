package workload

import (
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
)

// podsOf writes a list of pods as kubectl does, with the fields that nobody reads.
func podsOf(w io.Writer, pods int) {
	fmt.Fprint(w, `{"apiVersion":"v1","items":[`)
	env := strings.Repeat(`{"name":"LONG_NAME_OF_A_VARIABLE","value":"value of \"it\" with } and ]"},`, 20)
	for i := range pods {
		if i > 0 {
			fmt.Fprint(w, ",")
		}
		fmt.Fprintf(w, `{"apiVersion":"v1","kind":"Pod","metadata":{"annotations":{"a":"{"},"creationTimestamp":"2026-11-01T10:00:00Z","labels":{"app":"app-%[2]d","env":"prod"},"managedFields":[{"fieldsV1":{"f:metadata":{"f:labels":{}}}}],"name":"app-%[2]d-%[1]d","namespace":"team-%[3]d",
			"ownerReferences":[{"controller":true,"kind":"ReplicaSet","name":"app-%[2]d-7d4f8","uid":"r%[2]d"}],"uid":"00000000-0000-0000-0000-%012[1]d"},
			"spec":{"containers":[{"env":[%[4]s{}],"image":"registry.example/app-%[2]d:v1","name":"main","ports":[{"containerPort":8080,"name":"http"}],"resources":{"limits":{"cpu":"1"}}}],"nodeName":"node-%[3]d"},
			"status":{"containerStatuses":[{"name":"main","restartCount":0,"state":{"running":{"startedAt":"2026-11-01T10:00:04Z"}}}],"phase":"Running","podIP":"10.%[5]d.%[6]d.%[7]d"}}`,
			i, i%500, i%50, env, 64+i>>16, i>>8&255, i&255)
	}
	fmt.Fprint(w, `],"kind":"List"}`)
}

// TestManyPods bounds the memory of a dump of 20,000 pods: what is kept, and what is allocated on the way.
func TestManyPods(t *testing.T) {
	const pods = 20_000
	r, w := io.Pipe()
	go func() {
		podsOf(w, pods)
		w.Close()
	}()
	var before, kept, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	x := NewIndex()
	stats, err := x.AddKube("pods", r)
	if err != nil || stats.Kept != pods || stats.Malformed > 0 {
		t.Fatalf("%+v, %v", stats, err)
	}
	runtime.GC()
	runtime.ReadMemStats(&kept)
	if err := x.WriteUsed(io.Discard); err != nil {
		t.Fatal(err)
	}
	rows, labels := 0, 0
	for o := range x.EachWorkload() {
		rows++
		labels += len(o.Labels)
	}
	runtime.ReadMemStats(&after)
	if rows != pods+50 && rows != pods || labels != 2*pods {
		t.Errorf("%d rows, %d labels", rows, labels)
	}
	if n := (kept.HeapAlloc - before.HeapAlloc) / pods; n > 1000 {
		t.Errorf("%d bytes are kept for a pod", n)
	}
	if n := (after.TotalAlloc - kept.TotalAlloc) / pods; n > 5500 {
		t.Errorf("%d bytes are allocated for a pod that is written", n)
	}
	t.Logf("kept %d, read %d, written %d bytes for a pod", (kept.HeapAlloc-before.HeapAlloc)/pods, (kept.TotalAlloc-before.TotalAlloc)/pods, (after.TotalAlloc-kept.TotalAlloc)/pods)
}

// TestUnreadFieldsAreLeftOut reads a pod with and without the fields that nobody reads, and labels with their names.
func TestUnreadFieldsAreLeftOut(t *testing.T) {
	const pod = `{"kind":"Pod","apiVersion":"v1","metadata":{"name":"a","namespace":"n","uid":"u","labels":{"env":"prod","args":"x"}%s},"spec":{"nodeName":"k","containers":[{"name":"c","image":"i"%s,"ports":[{"containerPort":1}]}]},"status":{"podIP":"10.0.0.1"}}`
	read := func(meta, container string) string {
		x := NewIndex()
		if _, err := x.AddKube("f", strings.NewReader(fmt.Sprintf(pod, meta, container))); err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		if err := x.WriteUsed(&b); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	want := read("", "")
	if !strings.Contains(want, `"env":"prod"`) {
		t.Fatal(want)
	}
	for _, c := range [][2]string{
		{`,"annotations":{"a":"}]\\"}`, `,"env":[{"name":"A\"","value":"]}"}]`}, {`,"managedFields":[[],{"a":[1,2,{}]}]`, `,"resources" : { } `}, {`,"annotations":null`, `,"args":"text","command":[]`},
		{`,"annotations":{"x":"` + strings.Repeat("y", 200_000) + `"}`, ``},
	} {
		if got := read(c[0], c[1]); got != want {
			t.Errorf("%.80s %.80s\n%s\nwant\n%s", c[0], c[1], got, want)
		}
	}
	x := NewIndex()
	if s, err := x.AddKube("f", strings.NewReader(fmt.Sprintf(pod, `,"annotations":`+strings.Repeat("[", 200)+strings.Repeat("]", 200), ""))); err != nil || s.Malformed != 1 {
		t.Errorf("%+v, %v", s, err)
	}
	if _, err := x.AddKube("f", strings.NewReader(`{"kind":"List","items":[{"kind":"Pod","metadata":{"annotations":{"a":`)); err == nil {
		t.Error("a text that ends inside a field is accepted")
	}
}
