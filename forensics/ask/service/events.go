package service

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/chain"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
	"github.com/pcapsule/pcapsule/internal/when"
)

// event is a TimelineEvent as SQL returns it.
type event struct {
	Ns      int64  `json:"ns"`
	Kind    string `json:"kind"`
	Event   string `json:"event"`
	What    string `json:"what"`
	Times   int64  `json:"times"`
	Packets string `json:"packets"`
	Pod     string `json:"pod"`
	UID     string `json:"uid"`
	Weight  int64  `json:"weight"` // how strongly it suggests a crash, 0 to 100
}

// joinTexts writes texts as one argument, for SQL that splits it again.
func joinTexts(list []string) string { return strings.Join(list, "\x1f") }

// oneOf is the condition that a column is one of the texts of an argument.
func oneOf(column string) string {
	return column + " IN (SELECT unnest(string_split(?, chr(31))))"
}

// names returns the names and ids by which events refer to the target.
func (t *timelineAnswer) names() (pods, uids, ips, objects []string) {
	add := func(list []string, s string) []string {
		if s == "" || slices.Contains(list, s) {
			return list
		}
		return append(list, s)
	}
	for _, p := range t.list {
		if p.Pod != "" {
			pods = add(pods, p.Namespace+"/"+p.Pod)
			if p.Workload != "" {
				objects = add(objects, p.Namespace+"/"+p.Workload)
			}
		} else {
			ips = add(ips, p.IP)
		}
		uids = add(uids, p.UID)
	}
	return pods, uids, ips, objects
}

// weights is the SQL for how strongly a Kubernetes reason suggests a crash, 0 to 100.
const weights = `CASE WHEN reason IN ('OOMKilled', 'OOMKilling', 'SystemOOM') THEN 90 WHEN reason IN ('Error', 'ContainerDied', 'ContainerCannotRun', 'StartError', 'DeadlineExceeded', 'Evicted') THEN 80
	WHEN message LIKE '%exit code%' AND message NOT LIKE '%exit code 0%' THEN 75 WHEN reason IN ('BackOff', 'CrashLoopBackOff') THEN 70 WHEN reason = 'Restarted' THEN 60
	WHEN reason IN ('Failed', 'NodeLost', 'NodeNotReady') AND type = 'Warning' THEN 50 WHEN reason = 'Started' AND count > 1 THEN 40 WHEN reason = 'Killing' THEN 30 ELSE 0 END`

// systemEvents reads the events of Kubernetes and of the system about the target.
func (t *timelineAnswer) systemEvents(from, to int64) ([]event, error) {
	pods, uids, ips, objects := t.names()
	any := "false"
	if t.whole {
		any = "true"
	}
	k8s, _, err := ask.Rows[event](t.ctx, t.c, ask.MaxAll, fmt.Sprintf(`SELECT ts_ns AS ns, 'k8s' AS kind, coalesce(reason, '') AS event, concat_ws(': ', concat_ws(' ', kind, namespace || '/' || name), left(message, 300)) AS what,
		coalesce(count, 1) AS times, coalesce(namespace, '') || '/' || coalesce(name, '') AS pod, coalesce(uid, '') AS uid, CASE WHEN kind = 'Pod' THEN %s ELSE 0 END AS weight
		FROM k8s_events_raw WHERE ts_ns BETWEEN ? AND ? AND (%s OR %s OR %s OR kind <> 'Pod' AND %s) ORDER BY ts_ns, event, what LIMIT %d`, weights, any, oneOf("coalesce(namespace, '') || '/' || coalesce(name, '')"), oneOf("coalesce(uid, '-')"),
		oneOf("regexp_replace(coalesce(namespace, '') || '/' || coalesce(name, ''), '-[0-9a-f]{6,10}$', '')"), ask.MaxAll), from, to, joinTexts(pods), joinTexts(uids), joinTexts(objects))
	if err != nil {
		return nil, err
	}
	system, _, err := ask.Rows[event](t.ctx, t.c, ask.MaxAll, fmt.Sprintf(`SELECT ts_ns AS ns, CASE WHEN event IN ('exec', 'exit') THEN 'process' WHEN event = 'oom_kill' THEN 'kernel' WHEN event LIKE 'tcp%%' THEN 'tcp' ELSE 'kernel' END AS kind, event,
		concat_ws(' ', process, 'pid ' || pid, CASE WHEN exit_code IS NOT NULL THEN 'exit code ' || exit_code END, CASE WHEN signal IS NOT NULL THEN 'signal ' || signal END, exe, reason,
			CASE WHEN remote_ip IS NOT NULL THEN coalesce(local_ip, '') || ':' || coalesce(local_port, 0) || ' – ' || remote_ip || ':' || coalesce(remote_port, 0) END, CASE WHEN after IS NOT NULL THEN coalesce(before, '') || ' → ' || after END) AS what,
		count(*) AS times, '' AS pod, coalesce(pod_uid, '') AS uid, CASE WHEN event = 'oom_kill' THEN 100 WHEN event = 'exit' AND signal IS NOT NULL AND signal NOT IN (13, 17) THEN 65 WHEN event = 'exit' AND exit_code > 1 THEN 45 WHEN event = 'exit' AND exit_code = 1 THEN 35 ELSE 0 END AS weight
		FROM (SELECT *, state_before AS before, state_after AS after FROM os_events_raw) WHERE ts_ns BETWEEN ? AND ? AND (%s OR %s OR %s) AND NOT (event = 'tcp_state' AND coalesce(after, '') NOT IN ('close', 'close_wait'))
		GROUP BY ALL ORDER BY weight DESC, ns, event, what LIMIT %d`, any, oneOf("coalesce(pod_uid, '-')"), oneOf("coalesce(local_ip, '-')"), ask.MaxAll), from, to, joinTexts(uids), joinTexts(ips))
	return append(k8s, system...), err
}

// crash finds the last crash of the target.
func (t *timelineAnswer) crash(from, to int64) error {
	list, err := t.systemEvents(from, to)
	if err != nil {
		return err
	}
	list = slices.DeleteFunc(list, func(e event) bool { return e.Weight == 0 })
	if len(list) == 0 {
		return nil
	}
	slices.SortStableFunc(list, func(a, b event) int { return cmp.Compare(a.Ns, b.Ns) })
	// Signs within a minute belong to one crash. The last crash with the strongest sign
	// counts.
	const together = 60_000_000_000
	best, bestWeight := []event(nil), int64(0)
	for i := 0; i < len(list); {
		j, weight := i, int64(0)
		for j < len(list) && list[j].Ns-list[i].Ns <= together {
			weight = max(weight, list[j].Weight)
			j++
		}
		if weight >= bestWeight || weight >= 60 {
			best, bestWeight = list[i:j], weight
		}
		i = j
	}
	if bestWeight < 40 {
		return nil // a failed probe command, or a normal stop
	}
	strong := slices.MaxFunc(best, func(a, b event) int { return cmp.Or(cmp.Compare(a.Weight, b.Weight), cmp.Compare(b.Ns, a.Ns)) })
	confidence := map[bool]float64{true: 0.97, false: 0.7}[bestWeight >= 75]
	if bestWeight < 60 {
		confidence = 0.5
	}
	at := strong.Ns
	for _, e := range best {
		if e.Weight >= 45 {
			at = min(at, e.Ns)
		}
	}
	cr := &Crash{Time: when.Stamp(at), What: strings.TrimSpace(strong.Event + " " + strong.What), Signs: []string{}, Confidence: confidence, Sure: chain.Sure(confidence)}
	for _, p := range t.list {
		if strong.UID != "" && p.UID == strong.UID || strong.Pod != "" && p.Namespace+"/"+p.Pod == strong.Pod {
			cr.Pod = p.Namespace + "/" + p.Pod
		}
	}
	for _, e := range best[:min(len(best), 8)] {
		cr.Signs = append(cr.Signs, fmt.Sprintf("%s %s %s", when.Stamp(e.Ns), e.Event, ask.Clip(e.What, 200)))
	}
	t.at, t.out.Crash = at, cr
	return nil
}

// alerts reads what other programs said about connections of the target, or about its address. on is the condition for flows.
func (t *timelineAnswer) alerts(on string) ([]event, error) {
	if t.c.Alerts() == 0 {
		return nil, nil
	}
	var ips []string
	for _, p := range t.list {
		ips = append(ips, p.IP)
	}
	key := terms.Key(t.c, "")
	list, _, err := ask.Rows[event](t.ctx, t.c, ask.MaxAll, fmt.Sprintf(`SELECT ts_ns AS ns, 'alert' AS kind, program || ' ' || kind AS event,
			concat_ws(', ', 'said by ' || concat_ws(' ', program, program_version) || ': ' || coalesce(rule, rule_id, kind), rule_id, 'its severity ' || severity, left(text, 200), 'packets here: ' || packets_here) AS what,
			1 AS times, %s AS packets, 0 AS weight
		FROM (SELECT * REPLACE (coalesce(cites, []) AS cites) FROM alerts) WHERE kind NOT IN ('conn', 'fileinfo') AND ts_ns BETWEEN ? AND ? AND (%s OR (%sflow_id) IN (SELECT (%[3]sflow_id) FROM flows_raw WHERE %s) OR %s OR %s) ORDER BY ts_ns, alert_no LIMIT %d`,
		terms.Cites(t.c, ""), strconv.FormatBool(t.whole), key, on, oneOf("coalesce(src_ip, '-')"), oneOf("coalesce(dst_ip, '-')"), ask.MaxAll), t.w.From, t.w.To, joinTexts(ips), joinTexts(ips))
	return list, err
}

// events lists the events of the window.
func (t *timelineAnswer) events() error {
	list, err := t.systemEvents(t.w.From, t.w.To)
	if err != nil {
		return err
	}
	if t.out.Crash == nil {
		if err := t.crash(t.w.From, t.w.To); err != nil {
			return err
		}
		if t.out.Crash != nil && t.in.At != "" { // the moment stays the one that was asked for
			at, err := ask.ParseTime("at", t.in.At, 0, t.w.From, t.w.To)
			if err != nil {
				return err
			}
			t.at = at
		}
	}
	on := t.isTarget("src_id") + " OR " + t.isTarget("dst_id")
	// Each event and each connection once: of several flows of a connection, the one that shows most of it.
	flows := ask.Joined(t.c, "(SELECT *, src_ip || ':' || src_port || ' → ' || dst_ip || ':' || dst_port AS way FROM flows_raw WHERE ("+on+") AND first_ns <= ? AND last_ns >= ?)")
	tcp, _, err := ask.Rows[event](t.ctx, t.c, ask.MaxAll, fmt.Sprintf(`WITH f AS %[1]s,
		g AS (SELECT f.conn, f.way, e.event, e.side, e.ts_ns // 1000000000 AS second, min(e.ts_ns) AS ns, count(*) AS times, arg_min(%[4]s, (e.packet_no, %[4]s), 3) AS packets
			FROM tcp_events e JOIN f ON f.flow_id = e.flow_id%[2]s WHERE e.ts_ns BETWEEN ? AND ? AND e.event <> 'keep_alive' GROUP BY ALL)
		SELECT ns, 'tcp' AS kind, event, 'by ' || side || ', ' || way AS what, times, packets, 0 AS weight FROM g
		QUALIFY row_number() OVER (PARTITION BY conn, event, side, second ORDER BY times DESC, ns, way) = 1 ORDER BY ns, event, what LIMIT %[3]d`, flows, terms.SameBundle(t.c, "f", "e"), ask.MaxAll, terms.CitesOne(t.c, "e", "e.packet_no")), t.w.To, t.w.From, t.w.From, t.w.To)
	if err != nil {
		return err
	}
	conns, _, err := ask.Rows[event](t.ctx, t.c, ask.MaxAll, fmt.Sprintf(`SELECT first_ns AS ns, 'connection' AS kind, state AS event, way AS what, 1 AS times, [%s] AS packets, 0 AS weight
		FROM %s WHERE transport = 'tcp' AND state IN ('refused', 'syn_sent', 'reset') QUALIFY row_number() OVER (PARTITION BY conn ORDER BY first_ns, way) = 1 ORDER BY ns, what LIMIT %d`, terms.CitesOne(t.c, "", "first_packet"), flows, ask.MaxAll), t.w.To, t.w.From)
	if err != nil {
		return err
	}
	said, err := t.alerts(on)
	if err != nil {
		return err
	}
	list = slices.Concat(list, tcp, conns, said)
	// If there are too many, keep those nearest to the moment.
	slices.SortStableFunc(list, func(a, b event) int {
		return cmp.Or(cmp.Compare(min(1, b.Weight), min(1, a.Weight)), cmp.Compare(distance(a.Ns, t.at), distance(b.Ns, t.at)))
	})
	if len(list) > maxEvents && !t.w.All {
		t.out.Note("%d events; the %d nearest to the moment are listed", len(list), maxEvents)
		list, t.out.Truncated = list[:maxEvents], true
	}
	for _, e := range list {
		row := TimelineEvent{Time: when.Stamp(e.Ns), AtS: ask.Round(float64(e.Ns-t.at) / 1e9), Kind: e.Kind, Event: e.Event, What: ask.Clip(e.What, 300), Packets: e.Packets}
		if e.Times > 1 {
			row.Times = e.Times
		}
		t.out.Events = append(t.out.Events, row)
	}
	if t.w.All {
		return nil
	}
	slices.SortStableFunc(t.out.Events, func(a, b TimelineEvent) int { return strings.Compare(a.Time, b.Time) })
	return nil
}

func distance(a, b int64) int64 {
	if a > b {
		return a - b
	}
	return b - a
}
