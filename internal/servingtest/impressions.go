package servingtest

import (
	"errors"
	"reflect"
	"testing"

	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/serving"
)

// impressions have rows and progress of their own, beside those of clicks.
func impressions(t *testing.T, b Backend) {
	store, again := b.New(t)
	row := func(ad string, raw, unique int64, version uint64) schemas.MinuteRow {
		return schemas.MinuteRow{MinuteKey: schemas.MinuteKey{MinuteMillis: Day + Minute, AdvertiserID: "adv", CampaignID: "cmp", AdID: ad,
			DeviceType: "mobile", CountryCode: "DE"}, RawClicks: raw, UniqueClicks: unique, Version: version}
	}
	all := serving.Range{FromMillis: Day, ToMillis: Day + serving.DayMillis}
	read := func(m serving.Minutes) (rows []schemas.MinuteRow) {
		t.Helper()
		for r, err := range m.Rows(t.Context(), serving.Provisional, all) {
			if err != nil {
				t.Fatal(err)
			}
			rows = append(rows, r)
		}
		return rows
	}
	want := serving.Progress{WatermarkMillis: Day + 7, NextOffsets: map[int32]int64{0: 5, 3: 9}, PolicyHash: "i", PolicyFromMillis: 3, StoredAtMillis: 4}
	shown := store.Impressions()
	for _, step := range []struct {
		rows []schemas.MinuteRow
		at   int64
	}{
		{[]schemas.MinuteRow{row("a", 10, 8, 10), row("b", 4, 4, 4)}, Day},
		{[]schemas.MinuteRow{row("b", 3, 3, 3), row("a", 12, 9, 12)}, Day + 7}, // b is older than what is stored
	} {
		want.WatermarkMillis = step.at
		if err := shown.Upsert(t.Context(), step.rows, want); err != nil {
			t.Fatal(err)
		}
	}
	clicks := serving.Progress{WatermarkMillis: Day + 99, NextOffsets: map[int32]int64{1: 2}, PolicyHash: "c"}
	click := row("a", 2, 2, 1<<serving.EpochShift)
	if err := store.Upsert(t.Context(), []schemas.MinuteRow{click}, clicks); err != nil {
		t.Fatal(err)
	}
	store = again()
	shown = store.Impressions()
	for _, tt := range []struct {
		name     string
		from     serving.Minutes
		rows     []schemas.MinuteRow
		progress serving.Progress
		epoch    uint64
	}{
		{"impressions", shown, []schemas.MinuteRow{row("a", 12, 9, 12), row("b", 4, 4, 4)}, want, 0},
		{"clicks", store, []schemas.MinuteRow{click}, clicks, 1},
	} {
		if got := read(tt.from); !reflect.DeepEqual(got, tt.rows) {
			t.Errorf("%s: rows %+v, want %+v", tt.name, got, tt.rows)
		}
		if got, err := tt.from.LoadProgress(t.Context()); err != nil || !reflect.DeepEqual(got, tt.progress) {
			t.Errorf("%s: progress %+v, %v, want %+v", tt.name, got, err, tt.progress)
		}
		if got, err := tt.from.Epoch(t.Context()); err != nil || got != tt.epoch {
			t.Errorf("%s: epoch %d, %v, want %d", tt.name, got, err, tt.epoch)
		}
	}
	for _, err := range shown.Rows(t.Context(), serving.Final, all) {
		if !errors.Is(err, serving.ErrOneLayer) {
			t.Errorf("final rows of impressions: %v", err)
		}
	}
}
