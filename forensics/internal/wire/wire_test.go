package wire

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"math/big"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestFrames(t *testing.T) {
	var b bytes.Buffer
	want := []Frame{{Open, 1, []byte("x")}, {Trim, 0, []byte{}}, {Batch, math.MaxUint64, bytes.Repeat([]byte("row"), 1<<20)}}
	for _, f := range want {
		if err := WriteFrame(&b, f.Kind, f.Stream, f.Body[:len(f.Body)/2], f.Body[len(f.Body)/2:]); err != nil {
			t.Fatal(err)
		}
	}
	r := bufio.NewReader(&b)
	for i := range want {
		if f, err := ReadFrame(r); err != nil || !reflect.DeepEqual(f, want[i]) {
			t.Errorf("frame %d: %c %d of %d bytes, %v", i, f.Kind, f.Stream, len(f.Body), err)
		}
	}
	if _, err := ReadFrame(r); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v", err)
	}
	for name, text := range map[string]string{
		"no size":           "\x05\x00",
		"too small":         "\x01\x00\x00\x00A",
		"too large":         "\xff\xff\xff\xffA\x00",
		"cut":               "\x05\x00\x00\x00A\x00",
		"cut in a large":    "\x00\x00\x00\x03A\x00" + strings.Repeat("x", 3<<20),
		"a stream too long": "\x0c\x00\x00\x00A" + strings.Repeat("\xff", 11),
	} {
		if f, err := ReadFrame(bufio.NewReader(strings.NewReader(text))); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("%s: %+v, %v", name, f, err)
		}
	}
	if err := WriteFrame(io.Discard, Batch, 1, make([]byte, MaxFrame)); err == nil {
		t.Error("a frame that is too large is written")
	}
}

func TestMessages(t *testing.T) {
	s := Settings{Memory: 1 << 40, Threads: 2, Temp: "/tmp/x", MaxTemp: -1, Data: 5, Dirs: []string{"a", ""}}
	if got, err := ReadSettings(s.Append(nil)); err != nil || !reflect.DeepEqual(got, s) {
		t.Errorf("%+v, %v", got, err)
	}
	q := Question{Kind: 3, Own: 9, Setup: true, SQL: "select ?", Hidden: []string{"a"}, Args: []any{nil, true, int64(-1), int32(7), uint64(math.MaxUint64), 2.5, "a\x00b", []byte{0, 255},
		time.Unix(1, 2).UTC(), []string{"x", ""}, []int64{math.MinInt64}}}
	body, err := q.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := ReadQuestion(body); err != nil || !reflect.DeepEqual(got, q) {
		t.Errorf("%+v, %v", got, err)
	}
	for _, bad := range []any{struct{}{}, "\xff", []string{"\xff"}, float32(1)} {
		if _, err := (&Question{Args: []any{bad}}).Append(nil); err == nil {
			t.Errorf("argument %v passes", bad)
		}
	}
	v := Views{Kind: 300, Names: []string{"a", "b"}, SQL: []string{"x", ""}}
	if got, err := ReadViews(v.Append(nil)); err != nil || !reflect.DeepEqual(got, v) {
		t.Errorf("%+v, %v", got, err)
	}
	h := Header{Columns: []Column{{"a", "INTEGER"}, {"", ""}}, Shapes: []Shape{{"x", "y"}, {}}}
	if got, rest, err := ReadHeader(append(h.Append(nil), "rest"...)); err != nil || !reflect.DeepEqual(got, h) || string(rest) != "rest" {
		t.Errorf("%+v, %q, %v", got, rest, err)
	}
}

// batch returns a batch with every form, with and without nulls.
func batch(t testing.TB) ([]byte, []Shape) {
	w := Writer{Limit: MaxRow}
	w.Begin(3)
	for _, nulls := range []bool{false, true} {
		add := func(i int, f func()) {
			if nulls && i == 1 {
				w.Null()
				return
			}
			f()
		}
		for _, form := range []Form{Ints, Floats, Bools, Texts, Blobs, Values} {
			w.Column(form, nulls)
			for i := range 3 {
				add(i, func() {
					switch form {
					case Ints:
						w.Int(int64(-i))
					case Floats:
						w.Float(float64(i) / 2)
					case Bools:
						w.Bool(byte(i & 1))
					case Texts, Blobs:
						w.Bytes([]byte(strings.Repeat("x", i)))
					case Values:
						nested(t, &w, i)
						w.Value()
					}
				})
			}
		}
	}
	w.Last()
	return w.Buf, []Shape{{"n", "list"}}
}

// nested writes a struct with a map, a list and plain values.
func nested(t testing.TB, w *Writer, i int) {
	w.Buf = AppendStruct(w.Buf, 0)
	w.Buf = AppendInt(w.Buf, int64(i))
	plain := []any{nil, true, int64(1), 0.5, "s", []byte("b"), Decimal("1.5"), time.Unix(int64(i), 5).UTC(), new(big.Int).Lsh(big.NewInt(-1), 100)}
	w.Buf = AppendList(w.Buf, len(plain)+1)
	for _, v := range plain {
		var err error
		if w.Buf, err = AppendValue(w.Buf, v); err != nil {
			t.Fatal(err)
		}
	}
	w.Buf = AppendNull(AppendString(AppendMap(w.Buf, 1), []byte("k")))
}

func TestRows(t *testing.T) {
	body, shapes := batch(t)
	var b Rows
	if err := b.Read(body, 12, shapes); err != nil || b.N != 3 || !b.Last {
		t.Fatalf("%d rows, last %v, %v", b.N, b.Last, err)
	}
	value := func(i int64) any {
		return Struct{{"n", i}, {"list", []any{nil, true, int64(1), 0.5, "s", []byte("b"), Decimal("1.5"), time.Unix(i, 5).UTC(), new(big.Int).Lsh(big.NewInt(-1), 100), Map{{"k", nil}}}}}
	}
	for row := range 3 {
		want := []any{int64(-row), float64(row) / 2, row == 1, strings.Repeat("x", row), []byte(strings.Repeat("x", row)), value(int64(row))}
		for col := range 12 {
			v, err := b.Value(col, row)
			w := want[col%6]
			if col >= 6 && row == 1 {
				w = nil
			}
			if err != nil || !reflect.DeepEqual(v, w) {
				t.Errorf("column %d, row %d: %#v, %v; want %#v", col, row, v, err, w)
			}
		}
	}
	if b.Int(0, 2) != -2 || b.Int(6, 1) != 0 || b.Int(3, 1) != 0 || b.Text(3, 2) != "xx" || b.Text(9, 1) != "" || b.Text(0, 1) != "" {
		t.Error("numbers and texts of columns of several kinds")
	}
}

// TestHostileRows reads data that the worker never writes.
func TestHostileRows(t *testing.T) {
	deep := binary.AppendUvarint(nil, 1<<1|1)
	value := bytes.Repeat([]byte{tagList, 1}, 1000)
	deep = append(append(deep, byte(Values), 0), binary.LittleEndian.AppendUint32(nil, uint32(len(value)))...)
	deep = append(deep, value...)
	many := func(tag byte, n uint64) []byte {
		v := binary.AppendUvarint([]byte{tag}, n)
		v = append(v, make([]byte, 5<<20)...)
		b := binary.AppendUvarint(nil, 1<<1|1)
		b = append(append(b, byte(Values), 0), binary.LittleEndian.AppendUint32(nil, uint32(len(v)))...)
		return append(b, v...)
	}
	for name, body := range map[string][]byte{
		"nothing": {}, "rows without columns": {3}, "more rows than bytes": binary.AppendUvarint(nil, math.MaxUint64), "no form": {3}, "an unknown form": {3, '?', 0},
		"no bits": {17<<1 | 1, byte(Ints), 1, 0}, "ends that go back": {5, byte(Texts), 0, 1, 0, 0, 0, 0, 0, 0, 0, 'x'}, "an end outside": {3, byte(Texts), 0, 255, 255, 255, 255},
		"values nested too deeply": deep, "a long list": many(tagList, 5<<20), "a long map": many(tagMap, 4<<20), "a shape that is not there": many(tagStruct, 1), "an integer without end": many(tagBig, 1<<20),
		"more bytes": {3, byte(Bools), 0, 1, 1}, "no end and no rows": {0},
	} {
		var b Rows
		err := b.Read(body, 1, nil)
		if err == nil {
			_, err = b.Value(0, 0)
		}
		if !errors.Is(err, ErrFrame) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzFrame checks that any input is an error or a frame.
func FuzzFrame(f *testing.F) {
	var b bytes.Buffer
	_ = WriteFrame(&b, Batch, 300, []byte("x")) // a buffer takes it
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, data []byte) {
		r := bufio.NewReader(bytes.NewReader(data))
		for {
			fr, err := ReadFrame(r)
			if err != nil {
				return
			}
			if len(fr.Body) > len(data) {
				t.Errorf("a body of %d bytes in %d", len(fr.Body), len(data))
			}
		}
	})
}

// FuzzMessages reads any input as every kind of message, as a compromised worker or program may have
// written it.
func FuzzMessages(f *testing.F) {
	body, _ := batch(f)
	f.Add(body, 12)
	f.Add((&Header{Columns: []Column{{"a", "b"}}, Shapes: []Shape{{"x"}}}).Append(nil), 1)
	f.Add((&Settings{Dirs: []string{"a"}}).Append(nil), 1)
	q, _ := (&Question{SQL: "x", Args: []any{int64(1), []string{"a"}}}).Append(nil)
	f.Add(q, 1)
	f.Add((&Views{Kind: 1, Names: []string{"a"}, SQL: []string{"b"}}).Append(nil), 1)
	f.Add((&Masks{Policy: "version: 1\n", Values: []string{"a"}}).Append(nil), 1)
	f.Fuzz(func(t *testing.T, data []byte, columns int) {
		_, _ = ReadSettings(data)
		_, _ = ReadQuestion(data)
		_, _ = ReadViews(data)
		_, _ = ReadMasks(data)
		_ = ReadFailure(data)
		h, rest, err := ReadHeader(data)
		var b Rows
		if err == nil && b.Read(rest, len(h.Columns), h.Shapes) == nil {
			look(&b, len(h.Columns))
		}
		columns &= 0xff
		if b.Read(data, columns, []Shape{{"n", "list"}, {}}) == nil {
			look(&b, columns)
		}
	})
}

func look(b *Rows, columns int) {
	for col := range columns {
		for row := range min(b.N, 100) {
			_, _ = b.Value(col, row)
			_, _ = b.Int(col, row), b.Text(col, row)
		}
	}
}
