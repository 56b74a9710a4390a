package reconcileduck

import (
	"errors"
	"maps"
	"slices"
	"testing"
)

// evidence is a difference of one cause, and what takes its evidence away.
type evidence struct {
	cause  string
	clicks []click
	change func(*Input) // of the whole input
	want   Effect
	others map[string]Effect // that come with it
	remove func([]click, *Input)
	left   Effect // unexplained afterwards
}

// cases has one of each cause. Its clicks cost 250,000 micros.
func cases() []evidence {
	one := Effect{Clicks: 1, Micros: 250_000, Gross: 1}
	less := Effect{Clicks: -1, Micros: -250_000, Gross: 1}
	copies := []click{{id: "a", at: noon}, {id: "a", at: noon + 11*minute, batch: "duplicate"}}
	return []evidence{
		{cause: "late_in_stream", clicks: []click{{id: "a", at: noon}, {id: "b", at: noon + 1, received: noon + 11*minute, stream: "late", isLate: true}},
			want: one, remove: func(_ []click, in *Input) { in.DecisionFiles = nil }, left: one},
		{cause: "duplicate_beyond_ttl", clicks: copies, want: less,
			remove: func(_ []click, in *Input) { in.TTLMicros = 660_000_000 }, left: less},
		{cause: "duplicate_order", clicks: []click{{id: "a", at: noon + 500, cost: 750_000, stream: "duplicate"}, {id: "a", at: noon + 1000, batch: "duplicate"}},
			want:   Effect{Micros: 500_000, Gross: 2},
			remove: func(_ []click, in *Input) { in.DecisionFiles = nil }, left: Effect{Micros: 500_000, Gross: 2}},
		{cause: "flagged_by_stream_only", clicks: append(slices.Clone(copies), click{id: "b", at: noon + 12*minute, stream: "invalid"}),
			want: one, others: map[string]Effect{"duplicate_beyond_ttl": less},
			remove: func(c []click, _ *Input) { c[1].ip = "192.0.2.99" }, left: one},
		{cause: "flagged_by_batch_only", clicks: []click{{id: "b", at: noon + minute, batch: "invalid"}, {id: "late", at: noon, received: noon + 5*minute, isLate: true}},
			want:   less,
			remove: func(c []click, _ *Input) { c[1].isLate = false }, left: less},
		{cause: "not_seen_by_stream", clicks: []click{{id: "a", at: noon, stream: "not_seen"}},
			change: func(in *Input) { in.NextOffsets = nil }, want: one,
			remove: func(c []click, _ *Input) { c[0].isGone = true }, left: one},
		{cause: "not_in_archive", clicks: []click{{id: "a", at: noon}, {id: "b", at: noon + 1, batch: "none", isLate: true, isGone: true}},
			want:   less,
			remove: func(c []click, _ *Input) { c[1].isLate = false }, left: less},
		{cause: "row_not_published", clicks: []click{{id: "a", at: noon}, {id: "b", at: noon + 1, stream: "none"}},
			want:   one, // the stream has come past it, has no decision, and its row has one click only
			remove: func(c []click, _ *Input) { c[1].isGone = true }, left: one},
		{cause: "policy_changed", clicks: []click{{id: "a", at: noon, batch: "invalid"}},
			change: func(in *Input) { in.StreamPolicy = "p0" }, want: less,
			remove: func(_ []click, in *Input) { in.StreamPolicy = in.BatchPolicy }, left: less},
	}
}

// TestEvidence provokes each cause, with its exact clicks and micros, and takes its evidence away:
// then just that is unexplained.
func TestEvidence(t *testing.T) {
	t.Parallel()
	list := cases()
	if len(list) != len(Causes)-1 {
		t.Errorf("%d causes are provoked, of %d", len(list), len(Causes)-1)
	}
	for _, tc := range list {
		t.Run(tc.cause, func(t *testing.T) {
			t.Parallel()
			want := map[string]Effect{tc.cause: tc.want}
			maps.Copy(want, tc.others)
			in := fixture(t, tc.clicks, 0)
			if tc.change != nil {
				tc.change(&in)
			}
			result := compare(t, in)
			if got := result.Advertisers[0].Effects; !maps.Equal(got, want) {
				t.Errorf("got %+v, want %+v", got, want)
			}
			before := in
			tc.remove(tc.clicks, &in)
			in = refit(t, tc.clicks, before, in)
			if got := compare(t, in).Advertisers[0].Effects[Unexplained]; got != tc.left {
				t.Errorf("without its evidence: unexplained %+v, want %+v", got, tc.left)
			}
		})
	}
}

// refit writes the clicks again, with what was changed of the input.
func refit(t *testing.T, clicks []click, before, changed Input) Input {
	t.Helper()
	in := fixture(t, clicks, 0)
	in.TTLMicros, in.StreamPolicy, in.NextOffsets = changed.TTLMicros, changed.StreamPolicy, changed.NextOffsets
	if len(changed.DecisionFiles) != len(before.DecisionFiles) {
		in.DecisionFiles = changed.DecisionFiles
	}
	return in
}

func compare(t *testing.T, in Input) *Result {
	t.Helper()
	result, err := Compare(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range result.Advertisers {
		var sum Effect
		for _, e := range a.Effects {
			sum.Clicks, sum.Micros = sum.Clicks+e.Clicks, sum.Micros+e.Micros
		}
		if sum.Clicks != a.Batch.BillableClicks-a.Stream.BillableClicks || sum.Micros != a.Batch.SpendMicros-a.Stream.SpendMicros {
			t.Errorf("the causes of %s come to %+v", a.ID, sum)
		}
	}
	return result
}

// TestConserved: a file that does not come to the causes is an error.
func TestConserved(t *testing.T) {
	t.Parallel()
	effect := Effect{Clicks: 1, Micros: 250_000, Gross: 1}
	list := []Advertiser{{ID: "a", Effects: map[string]Effect{"late_in_stream": effect}}}
	for name, tc := range map[string]struct {
		written map[string]map[string]Effect
		want    error
	}{
		"the same":           {map[string]map[string]Effect{"a": {"late_in_stream": effect}}, nil},
		"a micro less":       {map[string]map[string]Effect{"a": {"late_in_stream": {Clicks: 1, Micros: 249_999, Gross: 1}}}, ErrConservation},
		"a row lacks":        {nil, ErrConservation},
		"another cause":      {map[string]map[string]Effect{"a": {"duplicate_order": effect}}, ErrConservation},
		"another advertiser": {map[string]map[string]Effect{"a": {"late_in_stream": effect}, "b": {"late_in_stream": effect}}, ErrConservation},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := conserved(list, tc.written); !errors.Is(err, tc.want) {
				t.Errorf("got %v, want %v", err, tc.want)
			}
		})
	}
}

// TestList: since, advertiser and limit say what is listed, not what is written.
func TestList(t *testing.T) {
	t.Parallel()
	in := fixture(t, nil, 10_000) // 10 of them are late, each of another advertiser
	all := compare(t, in)
	if all.Discrepancies != 10 || len(all.Listed) != 10 || all.Listed[0].Place() == "-" {
		t.Fatalf("listed %d of %d: %+v", len(all.Listed), all.Discrepancies, all.Listed)
	}
	third := all.Listed[3]
	for name, tc := range map[string]struct {
		list List
		want int
	}{
		"none":          {List{}, 0},
		"limit":         {List{Limit: 4}, 4},
		"advertiser":    {List{Limit: 9, AdvertiserID: third.AdvertiserID}, 1},
		"nobody":        {List{Limit: 9, AdvertiserID: "' or true --"}, 0},
		"since":         {List{Limit: 99, SinceMillis: third.MinuteMillis}, 7},
		"since and ten": {List{Limit: 2, SinceMillis: third.MinuteMillis}, 2},
	} {
		in.List = tc.list
		if got := compare(t, in); len(got.Listed) != tc.want || got.Discrepancies != 10 {
			t.Errorf("%s: listed %d of %d, want %d", name, len(got.Listed), got.Discrepancies, tc.want)
		}
	}
}
