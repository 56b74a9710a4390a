package kafkaio

import (
	"slices"
	"strings"
	"testing"
)

func TestParseURL(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		url     string
		want    []string
		problem string
	}{
		{url: "kafka://a:9092", want: []string{"a:9092"}},
		{url: "kafka://a:9092,[::1]:9093, c:1", want: []string{"a:9092", "[::1]:9093", "c:1"}},
		{url: "", problem: "not of the form"},
		{url: "a:9092", problem: "not of the form"},
		{url: "http://a:9092", problem: "not of the form"},
		{url: "kafka://", problem: "not of the form host:port"},
		{url: "kafka://a", problem: "not of the form host:port"},
		{url: "kafka://:9092", problem: "no host"},
		{url: "kafka://a:0", problem: "port"},
		{url: "kafka://a:65536", problem: "port"},
		{url: "kafka://a:9092,", problem: "not of the form host:port"},
		{url: "kafka://a:9092/topic", problem: "port"},
	} {
		t.Run(tc.url, func(t *testing.T) {
			t.Parallel()
			got, err := ParseURL(tc.url)
			if tc.problem == "" {
				if err != nil || !slices.Equal(got, tc.want) {
					t.Fatalf("got %q, %v, want %q", got, err, tc.want)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tc.problem) || !strings.Contains(err.Error(), tc.url) {
				t.Fatalf("got error %v, want one with %q that names the url", err, tc.problem)
			}
		})
	}
}
