package parts

import (
	"io"

	"github.com/parquet-go/parquet-go"
)

// Texts calls do with the texts and bytes of the parts of a table, page by page and dictionary by
// dictionary. The values are as in the files: texts are escaped, bytes are not, and each value of a
// dictionary comes once. It is much faster than ReadRows. It ends if do returns false.
func Texts(paths []string, do func(texts []byte, escaped bool) bool) error {
	t, err := openTable(paths)
	if err != nil {
		return err
	}
	defer t.close()
	for _, p := range t.parts {
		for group, g := range p.file.RowGroups() {
			for leaf, chunk := range g.ColumnChunks() {
				if chunk.Type().Kind() != parquet.ByteArray {
					continue
				}
				if err := checkChunk(p.f, p.size, &p.file.Metadata().RowGroups[group].Columns[leaf].MetaData); err != nil {
					return err
				}
				more := true
				if err := Guard(func() (err error) { more, err = chunkTexts(chunk, do); return err }); err != nil || !more {
					return err
				}
			}
		}
	}
	return nil
}

// chunkTexts is Texts of one column chunk.
func chunkTexts(chunk parquet.ColumnChunk, do func(texts []byte, escaped bool) bool) (more bool, err error) {
	pages := chunk.Pages()
	defer pages.Close()
	var known parquet.Dictionary
	for {
		page, err := pages.ReadPage()
		if err == io.EOF {
			return true, nil
		}
		if err != nil {
			return false, err
		}
		d := page.Dictionary()
		var texts []byte
		switch {
		case d == nil:
			data := page.Data()
			texts, _ = data.ByteArray()
		case d != known:
			data := d.Page().Data()
			texts, _ = data.ByteArray()
			known = d
		}
		more := len(texts) == 0 || do(texts, chunk.Type().String() == "STRING")
		parquet.Release(page)
		if !more {
			return false, nil
		}
	}
}
