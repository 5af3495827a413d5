package columnar

import (
	"github.com/parquet-go/parquet-go/bloom"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// bloomBits is the number of filter bits per value: about 1 in 100 lookups of an absent value
// still reads the row group.
const bloomBits = 10

// bloomFilter is the filter of a column chunk, by the chunk's number in its group.
type bloomFilter struct {
	column int
	blocks bloom.SplitBlockFilter
}

// bloomOf makes the filter of a leaf that the schema marks for lookups by single values.
//
// LIMIT: only text is marked, never hashes. DuckDB up to 1.5.5 looks up a BLOB's printed form in
// the filter, does not find it and skips the requested rows (duckdb/duckdb pull request 23829).
func bloomOf(v *values, column int) bloomFilter {
	n := len(v.ends) - 1
	f := make(bloom.SplitBlockFilter, bloom.NumSplitBlocksOf(int64(n), bloomBits))
	for k := range n {
		f.Insert(bloom.XXH64{}.Sum64(v.at(k)))
	}
	return bloomFilter{column, f}
}

func (b bloomFilter) write(p *part, w *workspace) error {
	bits := b.blocks.Bytes()
	h := format.BloomFilterHeader{NumBytes: int32(len(bits))}
	h.Algorithm.Value = &format.SplitBlockAlgorithm{}
	h.Hash.Value = &format.XxHash{}
	h.Compression.Value = &format.BloomFilterUncompressed{}
	w.header.Reset()
	if err := thrift.NewEncoder(new(thrift.CompactProtocol).NewWriter(&w.header)).Encode(&h); err != nil {
		return err
	}
	if _, err := p.Write(w.header.Bytes()); err != nil {
		return err
	}
	_, err := p.Write(bits)
	return err
}
