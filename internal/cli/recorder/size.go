package recorder

import (
	"fmt"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"
)

// parseSize reads a number of bytes, with a unit as in Kubernetes (20Gi) or in pcapsule
// (20GiB).
func parseSize(text string) (int64, error) {
	short := strings.TrimSuffix(strings.ReplaceAll(text, " ", ""), "B")
	q, err := resource.ParseQuantity(short)
	if err != nil || len(text) > 32 || short[0] < '0' || short[0] > '9' {
		return 0, fmt.Errorf("size %s: must be a number with Ki, Mi, Gi, k, M or G", strconv.Quote(text))
	}
	n := q.Value() // rounded up, at most math.MaxInt64
	if q.CmpInt64(n) != 0 {
		return 0, fmt.Errorf("size %s: must be a whole number of bytes below 8Ei", strconv.Quote(text))
	}
	return n, nil
}
