package chain

import (
	"slices"

	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/relation"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
	"github.com/pcapsule/pcapsule/forensics/statements"
)

// LoadDetails reads the details of calls that answers show.
func (k *Builder) LoadDetails(list []*Step) error {
	list = slices.DeleteFunc(slices.Clone(list), func(s *Step) bool { return s.detailed || s.No < 0 })
	if len(list) == 0 {
		return nil
	}
	type row struct {
		Bundle int64 `json:"bundle"`
		No     int64 `json:"call_no"`
		detail
	}
	same := "''" // only calls of one parent are compared
	if slices.ContainsFunc(list, func(s *Step) bool { return s.Link != nil }) {
		same = relation.Content + "::VARCHAR"
	}
	var rows []row
	err := ask.ByRuns(k.C, keysOf(list), func(where string) error {
		some, _, err := ask.Rows[row](k.Ctx, k.C, ask.MaxLoaded, "SELECT "+terms.BundleOf(k.C, "k.")+`, k.call_no, coalesce(k.method, '') AS method, coalesce(k.host, '') AS host, left(coalesce(k.path, ''), 500) AS path, coalesce(k.status_code, 0) AS status_code,
		`+terms.Status+` AS status, left(k.summary, 300) AS summary, `+terms.Cites(k.C, "k")+` AS packets, `+same+` AS same, `+relation.Retryable+` AS bad
		FROM calls_raw k WHERE `+where+k.protocols(list))
		rows = append(rows, some...)
		return err
	})
	if err != nil {
		return err
	}
	for _, r := range rows {
		if s := k.Steps[ask.Key{Bundle: r.Bundle, No: r.No}]; s != nil && s.Key() == (ask.Key{Bundle: r.Bundle, No: r.No}) {
			s.detail, s.detailed = r.detail, true
		}
	}
	return nil
}

// protocols is the condition that rows k have one of the protocols of some calls, which lets DuckDB skip the files of the others.
func (k *Builder) protocols(list []*Step) string {
	var names []string
	for _, s := range list {
		names = ask.AddName(names, s.Protocol)
	}
	return ask.OfProtocols(names)
}

func keysOf(list []*Step) []ask.Key {
	out := make([]ask.Key, len(list))
	for i, s := range list {
		out[i] = s.Key()
	}
	return out
}

// name reads the values and parent span ids of calls, which help to choose between parents.
func (k *Builder) name(list []*Step) error {
	list = slices.DeleteFunc(slices.Clone(list), func(s *Step) bool { return s.read || s.No < 0 })
	if len(list) == 0 {
		return nil
	}
	type row struct {
		Bundle int64  `json:"bundle"`
		No     int64  `json:"call_no"`
		Words  string `json:"words"`
		User   string `json:"user"`
		Target string `json:"target"`
		Body   string `json:"body"`
		Answer string `json:"answer"`
		Above  string `json:"above"`
	}
	above := "''"
	if slices.ContainsFunc(list, func(s *Step) bool { return s.Trace != "" }) {
		above = `CASE WHEN k.trace_id IS NULL THEN '' ELSE coalesce(lower(list_filter(k.headers, h -> lower(h.name) = 'x-b3-parentspanid' AND h.kind = 'request')[1].value),
			lower(split_part(list_filter(k.headers, h -> lower(h.name) = 'b3' AND h.kind = 'request')[1].value, '-', 4)), '') END`
	}
	var rows []row
	err := ask.ByRuns(k.C, keysOf(list), func(where string) error {
		some, _, err := ask.Rows[row](k.Ctx, k.C, ask.MaxLoaded, "SELECT "+terms.BundleOf(k.C, "k.")+`, k.call_no, left(concat_ws(' ', k.path, k.query_string, array_to_string(`+statements.Part("k.", "params")+`, ' '), k.redis_key, k.ldap_filter, k.kerberos_client), 500) AS words, left(coalesce(`+terms.User()+`, ''), 256) AS user,
			CASE WHEN k.path IS NULL OR k.protocol = 'grpc' THEN '' ELSE concat_ws(' ', k.method, k.path, k.query_string) END AS target, CASE WHEN k.request_body_size >= 16 THEN coalesce(k.request_body_sha256, ''::BLOB) ELSE ''::BLOB END AS body,
			CASE WHEN k.response_body_size >= 16 THEN coalesce(k.response_body_sha256, ''::BLOB) ELSE ''::BLOB END AS answer, `+above+
			" AS above FROM calls_raw k WHERE "+where+k.protocols(list))
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
		if s := k.Steps[ask.Key{Bundle: r.Bundle, No: r.No}]; s != nil {
			s.words, s.user, s.target, s.body, s.answer, s.above = r.Words, r.User, r.Target, r.Body, r.Answer, r.Above
		}
	}
	return nil
}

// Load reads calls by key, with their parties and ends.
func (k *Builder) Load(keys []ask.Key) ([]*Step, error) {
	var out []*Step
	var need []ask.Key
	for _, key := range keys {
		if s := k.Steps[key]; s != nil {
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
	fresh, err := k.addSteps(list)
	return append(out, fresh...), err
}

// addSteps adds calls that were read. It returns them as steps, new or already known.
func (k *Builder) addSteps(list []Step) ([]*Step, error) {
	var out, fresh []*Step
	there := map[*Step]bool{}
	for i := range list {
		s := &list[i]
		old := k.Steps[s.Key()]
		if old == nil {
			old = k.byID[s.ID]
		}
		if old == nil {
			k.byID[s.ID] = s
			fresh = append(fresh, s)
			old = s
		}
		k.Steps[s.Key()] = old
		if !there[old] {
			there[old] = true
			out = append(out, old)
		}
	}
	if err := k.setParties(fresh); err != nil {
		return nil, err
	}
	if err := k.setEnds(fresh); err != nil {
		return nil, err
	}
	for _, s := range fresh {
		k.into[s.Dst.Key] = append(k.into[s.Dst.Key], s)
		k.setWork(s)
	}
	return out, nil
}
