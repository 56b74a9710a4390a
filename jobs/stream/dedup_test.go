package stream

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/clickledger/clickledger/transforms/dedup"
)

// TestSplitPassword: what becomes part of a job graph has no secret in it.
func TestSplitPassword(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ url, place, password string }{
		{"redis://host:1/2", "redis://host:1/2", ""},
		{"redis://:secret@host:1/2", "redis://host:1/2", "secret"},
		{"rediss://user:s%40cret@host:1", "rediss://user@host:1", "s@cret"},
		{"redis://user@host", "redis://user@host", ""},
	} {
		place, password, err := splitPassword(tc.url)
		if err != nil || place != tc.place || password != tc.password {
			t.Errorf("%s: got %s, %s, %v; want %s, %s", tc.url, place, password, err, tc.place, tc.password)
		}
		graph, err := json.Marshal(dedup.StoreConfig{URL: place})
		if err != nil || strings.Contains(string(graph), "cret") {
			t.Errorf("%s: the graph holds %s (%v)", tc.url, graph, err)
		}
	}
}

func TestDedupIsValidated(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		dedup Dedup
		want  string
	}{
		{Dedup{}, ""},
		{Dedup{URL: "state", OnFailure: DedupState}, ""},
		{Dedup{URL: "rediss://h:1/0", OnFailure: DedupWait}, ""},
		{Dedup{URL: "memcached://h:1"}, "dedup: expected"},
		{Dedup{URL: "redis:///0"}, "dedup: expected"},
		{Dedup{OnFailure: "guess"}, "dedup_on_failure"},
	} {
		problems := tc.dedup.validate()
		if (len(problems) == 0) != (tc.want == "") || len(problems) > 0 && !strings.Contains(problems[0].Error(), tc.want) {
			t.Errorf("%+v: got %v, want %q", tc.dedup, problems, tc.want)
		}
	}
}
