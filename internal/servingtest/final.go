package servingtest

import (
	"io"
	"os"
	"testing"

	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/serving"
)

// Publish makes the day final below a minute of it.
func Publish(t testing.TB, s serving.Store, cutMinute int64, rows ...schemas.MinuteRow) {
	t.Helper()
	if err := s.PublishFinal(t.Context(), serving.FinalDay{DayMillis: Day, CutMillis: Day + cutMinute*Minute}, rows); err != nil {
		t.Fatal(err)
	}
}

func publishFinal(t *testing.T, b Backend) {
	s, again := b.New(t)
	provisional := []schemas.MinuteRow{Row(0, "a", 3, 3), Row(0, "gone", 2, 2), Row(5, "a", 4, 4)}
	Upsert(t, s, provisional...)
	Publish(t, s, 5, Row(0, "a", 9, 100), Row(1, "new", 2, 100))
	// Below the cut final rows alone; a key that the batch does not have is gone. The cut itself is provisional.
	WantRows(t, s, serving.Current, Final(Row(0, "a", 9, 100)), Final(Row(1, "new", 2, 100)), Row(5, "a", 4, 4))
	WantRows(t, s, serving.Provisional, provisional...)

	s = again()
	Upsert(t, s, Row(0, "a", 5, 200), Row(0, "late", 2, 2)) // a late pane does not touch what is final
	WantRows(t, s, serving.Current, Final(Row(0, "a", 9, 100)), Final(Row(1, "new", 2, 100)), Row(5, "a", 4, 4))

	Publish(t, s, 6, Row(0, "a", 10, 101), Row(5, "a", 4, 101)) // again, further: replaces, not adds
	WantRows(t, s, serving.Current, Final(Row(0, "a", 10, 101)), Final(Row(5, "a", 4, 101)))
	Publish(t, s, 1, Row(0, "a", 11, 102)) // a lower cut leaves the rest as it is
	WantRows(t, s, serving.Current, Final(Row(0, "a", 11, 102)), Final(Row(5, "a", 4, 101)))
	WantRows(t, s, serving.Final, Final(Row(0, "a", 11, 102)), Final(Row(5, "a", 4, 101)))
	Upsert(t, s, Row(5, "late", 2, 2), Row(6, "b", 2, 2)) // the cut is where it was
	WantRows(t, s, serving.Current, Final(Row(0, "a", 11, 102)), Final(Row(5, "a", 4, 101)), Row(6, "b", 2, 2))
	WantRows(t, s, serving.Provisional, Row(0, "a", 5, 200), Row(0, "gone", 2, 2), Row(0, "late", 2, 2),
		Row(5, "a", 4, 4), Row(5, "late", 2, 2), Row(6, "b", 2, 2))
}

// publishAgain: jobs publish with one version, always; the last publication counts all the same.
func publishAgain(t *testing.T, b Backend) {
	s, _ := b.New(t)
	Upsert(t, s, Row(0, "a", 3, 3), Row(0, "b", 3, 3))
	for raw := int64(10); raw > 5; raw-- {
		want := []schemas.MinuteRow{Final(Row(0, "a", raw, serving.FinalVersion)), Final(Row(2, "b", raw, serving.FinalVersion))}
		if raw%2 == 0 {
			want = want[:1]
		}
		for range 2 { // once more changes nothing
			Publish(t, s, 1440, want...)
			for _, layer := range []serving.Layer{serving.Current, serving.Final} {
				got := Read(t, s, layer, serving.Range{FromMillis: Day, ToMillis: Day + serving.DayMillis})
				if len(got) != len(want) {
					t.Fatalf("%s: got %+v, want %+v", layer, got, want)
				}
				for i := range got {
					if got[i].Version < serving.FinalVersion {
						t.Errorf("%s: version %d is not above the stream's", layer, got[i].Version)
					}
					if got[i].Version = want[i].Version; got[i] != want[i] {
						t.Errorf("%s: got %+v, want %+v", layer, got[i], want[i])
					}
				}
			}
		}
	}
}

func publishNothing(t *testing.T, b Backend) {
	s, _ := b.New(t)
	Publish(t, s, 1)
	Upsert(t, s, Row(0, "late", 3, 3), Row(1, "a", 3, 3))
	WantRows(t, s, serving.Current, Row(1, "a", 3, 3))
	Publish(t, s, 2, Row(0, "x", 3, 100))
	WantRows(t, s, serving.Current, Final(Row(0, "x", 3, 100)))
	Publish(t, s, 2)
	WantRows(t, s, serving.Current)
	WantRows(t, s, serving.Provisional, Row(0, "late", 3, 3), Row(1, "a", 3, 3))
}

func publishRefuses(t *testing.T, b Backend) {
	s, _ := b.New(t)
	Upsert(t, s, Row(0, "a", 3, 3))
	day := func(from, to int64) serving.FinalDay {
		return serving.FinalDay{DayMillis: Day + from, CutMillis: Day + to}
	}
	for _, tt := range []struct {
		name string
		day  serving.FinalDay
		rows []schemas.MinuteRow
	}{
		{"not a day", day(Minute, 2*Minute), nil},
		{"not a whole minute", day(0, 1), nil},
		{"cut after the day", day(0, serving.DayMillis+Minute), nil},
		{"row at the cut", day(0, Minute), []schemas.MinuteRow{Row(0, "a", 1, 1), Row(1, "a", 1, 1)}},
		{"row before the day", day(0, Minute), []schemas.MinuteRow{Row(-1, "a", 1, 1)}},
		{"key twice", day(0, Minute), []schemas.MinuteRow{Row(0, "a", 1, 1), Row(0, "a", 1, 2)}},
		{"count over 32 bits", day(0, Minute), []schemas.MinuteRow{Row(0, "a", 1, 1), Row(0, "b", 1<<33, 1)}},
	} {
		if err := s.PublishFinal(t.Context(), tt.day, tt.rows); err == nil {
			t.Errorf("%s: got no error", tt.name)
		}
		WantRows(t, s, serving.Current, Row(0, "a", 3, 3)) // nothing half-written
	}
	Upsert(t, s, Row(0, "late", 3, 3)) // and no cut was set
	WantRows(t, s, serving.Current, Row(0, "a", 3, 3), Row(0, "late", 3, 3))
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	source, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	target, err := os.Create(to)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(target, source); err != nil {
		t.Fatal(err)
	}
	if err := target.Close(); err != nil {
		t.Fatal(err)
	}
}
