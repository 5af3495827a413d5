package mcp

import (
	"encoding/json"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestSkillWorksWhenFollowedLiterally makes every tool call of the agent skill in order, and runs
// each of its filters. Package docs runs its commands.
func TestSkillWorksWhenFollowedLiterally(t *testing.T) {
	text := string(readFile(t, filepath.Join("..", "skills", "pcapsule", "SKILL.md")))
	head := regexp.MustCompile(`^---\nname: pcapsule\ndescription: (.+)\n---\n`).FindStringSubmatch(text)
	if head == nil || len(head[1]) > 1024 {
		t.Errorf("the skill has no name and description of at most 1024 bytes: %.300s", text)
	}
	s := serving(t, Options{Policy: defaultPolicy()}, bundled(t, "shop.pcapng"))
	c := connected(t, s, nil)
	var answers []any
	calls := 0
	for _, fence := range regexp.MustCompile("(?s)```tools\n(.*?)```").FindAllStringSubmatch(text, -1) {
		for line := range strings.Lines(fence[1]) {
			calls++
			tool, args, _ := strings.Cut(strings.TrimSpace(line), " ")
			for _, a := range slices.Backward(answers) {
				if id, ok := find(a, "call_id").(string); ok {
					args = strings.ReplaceAll(args, "CALL_ID", id)
					break
				}
			}
			var in value
			if err := json.Unmarshal([]byte(args), &in); err != nil {
				t.Errorf("%s: %v", line, err)
				continue
			}
			v, refusal := answer(t, c, tool, in)
			if refusal != "" || v["matched"] != nil && v["matched"] != "some" {
				t.Errorf("%s: %s, matched %v", line, refusal, v["matched"])
				continue
			}
			answers = append(answers, v)
		}
	}
	filters := regexp.MustCompile("(?m)^\\| [^`|]+ \\| `(.*)` \\|$").FindAllStringSubmatch(text, -1)
	if calls < 12 || len(filters) < 6 {
		t.Errorf("%d calls and %d filters", calls, len(filters))
	}
	for _, f := range filters {
		if _, refusal := answer(t, c, "list_api_calls", value{"kfl": f[1], "limit": 1}); refusal != "" {
			t.Errorf("%s: %s", f[1], refusal)
		}
	}
	for _, name := range regexp.MustCompile("`([a-z]+_[a-z_0-9]+)`").FindAllStringSubmatch(text, -1) {
		if s.tools[name[1]] == nil && !slices.Contains([]string{"call_id", "next_cursor", "group_by", "max_body"}, name[1]) {
			t.Errorf("the skill names %s, which is not a tool", name[1])
		}
	}
}
