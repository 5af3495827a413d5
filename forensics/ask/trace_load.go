package ask

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/pcapsule/pcapsule/forensics"
)

// tell reads what is told of calls.
func (k *chains) tell(list []*step) error {
	list = slices.DeleteFunc(slices.Clone(list), func(s *step) bool { return s.told || s.No < 0 })
	if len(list) == 0 {
		return nil
	}
	type row struct {
		Bundle int64 `json:"bundle"`
		No     int64 `json:"call_no"`
		detail
	}
	var rows []row
	err := byRuns(k.c, keysOf(list), func(where, nos string) error {
		some, _, err := readRows[row](k.ctx, k.c, maxLoaded, "SELECT "+bundleOf(k.c, "k.")+`, k.call_no, coalesce(k.method, '') AS method, coalesce(k.host, '') AS host, left(coalesce(k.path, ''), 500) AS path, coalesce(k.status_code, 0) AS status_code,
		coalesce(k.status_code::VARCHAR || CASE WHEN k.status_text IS NULL THEN '' ELSE ' ' || k.status_text END, k.status_text, k.error, '') AS status, left(k.summary, 300) AS summary, k.cites AS packets
		FROM calls_raw k WHERE `+where, nos)
		rows = append(rows, some...)
		return err
	})
	if err != nil {
		return err
	}
	for _, r := range rows {
		if s := k.steps[rowKey{r.Bundle, r.No}]; s != nil && s.key() == (rowKey{r.Bundle, r.No}) {
			s.detail, s.told = r.detail, true
			if s.Error == "reset" && s.resetBy != "" {
				s.Status += resetWords(s.resetBy)
			}
		}
	}
	return nil
}

// resetWords say what a reset without an answer means.
func resetWords(by string) string {
	if by == "client" {
		return " by the client, which gave up"
	}
	return " by the " + by
}

func keysOf(list []*step) []rowKey {
	out := make([]rowKey, len(list))
	for i, s := range list {
		out[i] = s.key()
	}
	return out
}

// name reads what calls name and what they call their parents' spans, where that is
// needed to choose between parents.
func (k *chains) name(list []*step) error {
	list = slices.DeleteFunc(slices.Clone(list), func(s *step) bool { return s.read || s.No < 0 })
	if len(list) == 0 {
		return nil
	}
	type row struct {
		Bundle int64  `json:"bundle"`
		No     int64  `json:"call_no"`
		Words  string `json:"words"`
		Target string `json:"target"`
		Body   string `json:"body"`
		Answer string `json:"answer"`
		Above  string `json:"above"`
	}
	above := "''"
	if slices.ContainsFunc(list, func(s *step) bool { return s.Trace != "" }) {
		above = `CASE WHEN k.trace_id IS NULL THEN '' ELSE coalesce(lower(list_filter(k.headers, h -> lower(h.name) = 'x-b3-parentspanid' AND h.kind = 'request')[1].value),
			lower(split_part(list_filter(k.headers, h -> lower(h.name) = 'b3' AND h.kind = 'request')[1].value, '-', 4)), '') END`
	}
	var rows []row
	err := byRuns(k.c, keysOf(list), func(where, nos string) error {
		some, _, err := readRows[row](k.ctx, k.c, maxLoaded, "SELECT "+bundleOf(k.c, "k.")+`, k.call_no, left(concat_ws(' ', k.path, k.query_string, array_to_string(k.postgresql_params, ' '), k.redis_key), 500) AS words,
			CASE WHEN k.path IS NULL OR k.protocol = 'grpc' THEN '' ELSE concat_ws(' ', k.method, k.path, k.query_string) END AS target, CASE WHEN k.request_body_size >= 16 THEN coalesce(k.request_body_sha256, ''::BLOB) ELSE ''::BLOB END AS body,
			CASE WHEN k.response_body_size >= 16 THEN coalesce(k.response_body_sha256, ''::BLOB) ELSE ''::BLOB END AS answer, `+above+
			" AS above FROM calls_raw k WHERE "+where, nos)
		rows = append(rows, some...)
		return err
	})
	if err != nil {
		return err
	}
	for _, s := range list {
		s.read = true
	}
	for _, r := range rows {
		if s := k.steps[rowKey{r.Bundle, r.No}]; s != nil {
			s.words, s.target, s.body, s.answer, s.above = r.Words, r.Target, r.Body, r.Answer, r.Above
		}
	}
	return nil
}

// runs cuts sorted numbers where they are more than gap apart. What lies near together is
// read with few pieces of the tables; where there would be more than most runs, there is
// one.
func runs(list []int64, gap int64, most int) [][2]int64 {
	if len(list) == 0 {
		return nil
	}
	out := [][2]int64{{list[0], list[0]}}
	for _, n := range list[1:] {
		if last := &out[len(out)-1]; n-last[1] <= gap {
			last[1] = n
		} else if out = append(out, [2]int64{n, n}); len(out) > most {
			return [][2]int64{{list[0], list[len(list)-1]}}
		}
	}
	return out
}

// byRuns asks for calls by their numbers, run by run.
func byRuns(c *forensics.Case, keys []rowKey, ask func(where string, nos string) error) error {
	keys = slices.Clone(keys)
	slices.SortFunc(keys, func(a, b rowKey) int { return cmp.Compare(a.no, b.no) })
	all := make([]int64, len(keys))
	for i, key := range keys {
		all[i] = key.no
	}
	for _, r := range runs(all, nearCalls, maxRuns) {
		from, _ := slices.BinarySearch(all, r[0])
		to, _ := slices.BinarySearch(all, r[1]+1)
		bundles, nos := split(keys[from:to])
		where := fmt.Sprintf("k.call_no BETWEEN %d AND %d AND k.call_no IN (SELECT no FROM %s) %s", r[0], r[1], zip("no"), ofBundles(c, bundles))
		if err := ask(where, nos); err != nil {
			return err
		}
	}
	return nil
}

// load reads calls by their numbers, with who they are of and when they ended.
func (k *chains) load(keys []rowKey) ([]*step, error) {
	var out []*step
	var need []rowKey
	for _, key := range keys {
		if s := k.steps[key]; s != nil {
			out = append(out, s)
		} else {
			need = append(need, key)
		}
	}
	if len(need) == 0 {
		return out, nil
	}
	list, err := k.ofNumbers(need)
	if err != nil {
		return nil, err
	}
	fresh, err := k.take(list)
	return append(out, fresh...), err
}

// take adds calls that were read, and gives those that were not there before with those
// that were.
func (k *chains) take(list []step) ([]*step, error) {
	var out, fresh []*step
	there := map[*step]bool{}
	for i := range list {
		s := &list[i]
		old := k.steps[s.key()]
		if old == nil {
			old = k.byID[s.ID]
		}
		if old == nil {
			k.byID[s.ID] = s
			fresh = append(fresh, s)
			old = s
		}
		k.steps[s.key()] = old
		if !there[old] {
			there[old] = true
			out = append(out, old)
		}
	}
	if err := k.ends(fresh); err != nil {
		return nil, err
	}
	if err := k.lasted(fresh); err != nil {
		return nil, err
	}
	for _, s := range fresh {
		k.into[s.dst.Key] = append(k.into[s.dst.Key], s)
	}
	return out, nil
}

func split(keys []rowKey) (bundles []int64, nos string) {
	var list []int64
	for _, key := range keys {
		if !slices.Contains(bundles, key.bundle) {
			bundles = append(bundles, key.bundle)
		}
		list = append(list, key.no)
	}
	return bundles, numbers(list)
}

func ofBundles(c *forensics.Case, bundles []int64) string {
	if !c.Several() {
		return ""
	}
	return "AND k.bundle IN (" + numbers(bundles) + ")"
}
