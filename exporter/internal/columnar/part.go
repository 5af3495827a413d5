package columnar

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"io/fs"
	"os"
	"unsafe"

	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"

	"github.com/pcapsule/pcapsule/exporter/table"
)

const magic = "PAR1"

// part is an unfinished Parquet file: row groups, then the footer.
//
// It uses parquet-go's encodings and structures, but not its Writer. The Writer's page index
// gives columns without bounds the bounds "" to "", by which a reader skips rows that it must
// not skip; with bounds, a 1 MiB text would be in the footer twice. Parts have no page index:
// each column chunk is one page.
type part struct {
	path   string
	file   *os.File
	out    *bufio.Writer
	offset int64
	schema []format.SchemaElement
	leaves [][]leaf // of each column
	groups []format.RowGroup
	footer int // bytes of memory that groups take
	rows   int64
}

const chunkCost = int(unsafe.Sizeof(format.ColumnChunk{})) + 128 // with its bounds

func createPart(path string, mode fs.FileMode, s *table.Schema, columns []*column) (*part, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return nil, err
	}
	p := &part{path: path, file: f, out: bufio.NewWriterSize(f, 64<<10), schema: elements(s, columns)}
	for _, c := range columns {
		p.leaves = append(p.leaves, leavesOf(c))
	}
	if _, err := io.WriteString(p, magic); err != nil {
		p.abort()
		return nil, err
	}
	return p, nil
}

func (p *part) Write(b []byte) (int, error) {
	n, err := p.out.Write(b)
	p.offset += int64(n)
	return n, err
}

// writeGroup writes the staged rows of all columns as a row group.
func (p *part) writeGroup(columns []*column, rows int, w *workspace) error {
	g := format.RowGroup{NumRows: int64(rows), FileOffset: p.offset, Ordinal: int16(len(p.groups))}
	if len(p.groups) > 32767 {
		return fmt.Errorf("writing %s: more than 32767 row groups", p.path)
	}
	w.blooms = w.blooms[:0]
	for i, c := range columns {
		w.levels(c)
		for j, l := range p.leaves[i] {
			chunk, err := w.writeChunk(p, c, &c.leaves[j], l)
			if err != nil {
				return fmt.Errorf("writing column %s of %s: %w", c.Name, p.path, err)
			}
			if c.Bloom && c.Kind == table.Text && c.valid > 0 {
				w.blooms = append(w.blooms, bloomOf(&c.leaves[j], len(g.Columns)))
			}
			g.TotalByteSize += chunk.MetaData.TotalUncompressedSize
			g.TotalCompressedSize += chunk.MetaData.TotalCompressedSize
			g.Columns = append(g.Columns, chunk)
		}
	}
	for _, b := range w.blooms {
		m := &g.Columns[b.column].MetaData
		m.BloomFilterOffset = p.offset
		if err := b.write(p, w); err != nil {
			return fmt.Errorf("writing %s: %w", p.path, err)
		}
		m.BloomFilterLength = int32(p.offset - m.BloomFilterOffset)
	}
	p.groups = append(p.groups, g)
	p.footer += len(g.Columns) * chunkCost
	p.rows += int64(rows)
	return nil
}

// close writes the footer and returns the size of the file.
func (p *part) close(createdBy string, pairs []format.KeyValue) (int64, error) {
	orders := make([]format.ColumnOrder, 0, len(p.schema))
	for _, leaves := range p.leaves {
		for range leaves {
			orders = append(orders, format.ColumnOrder{Value: &format.TypeDefinedOrder{}})
		}
	}
	footer, err := thrift.Marshal(new(thrift.CompactProtocol), &format.FileMetaData{
		Version:          2,
		Schema:           p.schema,
		NumRows:          p.rows,
		RowGroups:        p.groups,
		KeyValueMetadata: pairs,
		CreatedBy:        createdBy,
		ColumnOrders:     orders,
	})
	if err != nil {
		p.abort()
		return 0, fmt.Errorf("writing the footer of %s: %w", p.path, err)
	}
	var tail bytes.Buffer
	tail.Write(footer)
	binary.Write(&tail, binary.LittleEndian, uint32(len(footer))) // to memory: cannot fail
	tail.WriteString(magic)
	if _, err := p.Write(tail.Bytes()); err != nil {
		p.abort()
		return 0, err
	}
	if err := p.out.Flush(); err != nil {
		p.abort()
		return 0, err
	}
	return p.offset, p.file.Close()
}

// abort closes and removes the file.
func (p *part) abort() {
	p.file.Close()
	os.Remove(p.path)
}
