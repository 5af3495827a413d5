package render

import (
	"fmt"

	"github.com/pcapsule/pcapsule/internal/pdf"
	"github.com/pcapsule/pcapsule/report/value"
)

// maxData is the largest size of the data, and of all decompressed parts, of an XLSX or PDF file.
const maxData = 64 << 20

// carried is the data for a form that compresses it.
func carried(r *value.Report) ([]byte, error) {
	text, err := compact(r)
	if err == nil && len(text) > maxData/2 {
		err = fmt.Errorf("the report has %.1f MiB of data, at most %d fit in this format: narrow it with --from, --to and --kfl, or write .csv, .html or .json", float64(len(text))/(1<<20), maxData>>21)
	}
	return []byte(text), err
}

func pdfData(file []byte) ([]byte, error) {
	text, err := pdf.Attached(file, maxData)
	if err != nil {
		return nil, fmt.Errorf("%w (%v)", ErrNoData, err)
	}
	return text, nil
}

// pdfDiff compares the lines of pages, and other parts.
func pdfDiff(want, got []byte) []string {
	return compare(partsOf(want), partsOf(got))
}

func partsOf(file []byte) (out []token) {
	for _, p := range pdf.Parts(file, maxData) {
		out = append(out, token{p.Place, p.Text})
	}
	return out
}
