package archive

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/clickledger/clickledger/internal/kafkaio"
	"github.com/clickledger/clickledger/internal/objectstore"
	"github.com/clickledger/clickledger/internal/parquetio"
	"github.com/clickledger/clickledger/schemas"
)

// TestVerifyFindsDamage breaks a sound archive in one way each time.
func TestVerifyFindsDamage(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	r.produce(clicks(1, 0, 100, startMicros, 1))
	r.cfg.MaxRecords = 25
	r.run()
	r.verify()
	files := r.list(FolderClicks)
	second := files[1]
	rows := func(f File) []schemas.ArchiveClick {
		var all []schemas.ArchiveClick
		each(r, f.Key(FolderClicks), func(c schemas.ArchiveClick) { all = append(all, c) })
		return all
	}
	write := func(t *testing.T, key string, rows []schemas.ArchiveClick, notes parquetio.Notes) {
		t.Helper()
		b, err := parquetio.Encode(rows, notes)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.store.Put(r.ctx, key, b, objectstore.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	remove := func(t *testing.T, key string) {
		t.Helper()
		if err := r.store.Delete(r.ctx, key); err != nil {
			t.Fatal(err)
		}
	}
	main, dead := second.Key(FolderClicks), second.Key(FolderDeadLetters)
	sound := rows(second)
	for _, tc := range []struct {
		name, problem string
		noLog         bool
		damage        func(t *testing.T)
	}{
		{"a click file is gone", "gap: offsets 25-49", false, func(t *testing.T) { remove(t, main) }},
		{"its dead letters stay", "no click file of that range", false, func(t *testing.T) { remove(t, main) }},
		{"a dead letters file is gone", "0 dead letters, but the footer of", false, func(t *testing.T) { remove(t, dead) }},
		{"a row is gone", "records, but the footer says", false, func(t *testing.T) { write(t, main, sound[1:], parquetio.Notes{NoteRecords: "25"}) }},
		{"a row is gone, no note, no log", "nothing says that the log lacked", true, func(t *testing.T) { write(t, main, sound[1:], nil) }},
		{"a row is gone, no note", "offset 0/25 is missing, and the log has it", false, func(t *testing.T) { write(t, main, sound[1:], nil) }},
		{"a row is gone, and the note hides it", "offset 0/25 is missing, and the log has it", false, func(t *testing.T) {
			write(t, main, sound[1:], parquetio.Notes{NoteRecords: "24"})
		}},
		{"a click that is a dead letter too", "offset 29 is there twice", false, func(t *testing.T) {
			more := append([]schemas.ArchiveClick{}, sound...)
			for i := range more {
				if more[i].Offset == 30 {
					more[i].Offset = 29
				}
			}
			write(t, main, more, nil)
		}},
		{"rows of another range", "rows from offset 50 to 74", false, func(t *testing.T) { write(t, main, rows(files[2]), nil) }},
		{"rows of another partition", "the footer has partition from 5 to 5", false, func(t *testing.T) {
			other := append([]schemas.ArchiveClick{}, sound...)
			for i := range other {
				other[i].Partition = 5
			}
			write(t, main, other, nil)
		}},
		{"an overlapping file", "overlap: offset 40", false, func(t *testing.T) {
			write(t, File{Range: Range{From: 40, To: 49}, Hour: second.Hour}.Key(FolderClicks), nil, nil)
		}},
		{"an hour that goes back", "its hour is before", false, func(t *testing.T) {
			remove(t, main)
			back := second
			back.Hour--
			write(t, back.Key(FolderClicks), sound, nil)
		}},
		{"a file of another form", "no file of the archive's layout", false, func(t *testing.T) { write(t, FolderClicks+"/x.parquet", nil, nil) }},
		{"cut off", "read footer", false, func(t *testing.T) {
			if _, err := r.store.Put(r.ctx, main, []byte("PAR1"), objectstore.PutOptions{}); err != nil {
				t.Fatal(err)
			}
		}},
		{"the first file is gone", "offsets 0-24 of the log are not in the archive", false, func(t *testing.T) {
			remove(t, files[0].Key(FolderClicks))
			remove(t, files[0].Key(FolderDeadLetters))
		}},
	} {
		t.Run(tc.name, func(t *testing.T) { // one after the other: they share the archive
			dir := t.TempDir()
			root, _ := r.store.LocalPath("x")
			if err := os.CopyFS(dir, os.DirFS(strings.TrimSuffix(root, "/x"))); err != nil {
				t.Fatal(err)
			}
			before := r.store
			defer func() { r.store = before }()
			var err error
			if r.store, err = objectstore.Open(r.ctx, "file://"+dir); err != nil {
				t.Fatal(err)
			}
			tc.damage(t)
			deps, cfg := r.deps(), r.cfg
			if tc.noLog {
				deps.Client, cfg.Log = nil, ""
			}
			report, err := Verify(r.ctx, cfg, deps)
			if !errors.Is(err, ErrBroken) {
				t.Fatalf("got %v, %+v, want a broken archive", err, report)
			}
			if got := strings.Join(report.Problems, "\n"); !strings.Contains(got, tc.problem) {
				t.Fatalf("got\n%s\nwant %q", got, tc.problem)
			}
		})
	}
}

// TestLogGapsAreNoLoss: what compaction or deletion took from the log is no gap of the archive.
func TestLogGapsAreNoLoss(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	r.produce(clicks(1, 0, 30, startMicros, 1))
	files := []File{{Range: Range{From: 0, To: 9}}, {Range: Range{From: 10, To: 19}}}
	for _, f := range files { // offset 5 is lacking, and the note says so; the log is not asked
		var rows []schemas.ArchiveClick
		for off := f.From; off <= f.To; off++ {
			if off != 5 {
				rows = append(rows, schemas.ArchiveClick{Offset: off})
			}
		}
		notes := parquetio.Notes{}
		if f.From == 0 {
			notes[NoteRecords] = "9"
		}
		b, err := parquetio.Encode(rows, notes)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.store.Put(r.ctx, f.Key(FolderClicks), b, objectstore.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	cfg, deps := r.cfg, r.deps()
	cfg.Log, deps.Client, cfg.Topics = "", nil, []string{schemas.TopicClicks}
	report, err := Verify(r.ctx, cfg, deps)
	if err != nil || len(report.Partitions) != 1 || report.Partitions[0].LogGaps != 1 || report.LogChecked {
		t.Fatalf("got %+v, %v", report, err)
	}
	if _, err := Verify(r.ctx, r.cfg, r.deps()); !errors.Is(err, ErrBroken) { // this log has it
		t.Fatalf("got %v", err)
	}
}

func TestGaps(t *testing.T) {
	t.Parallel()
	missing, twice := gaps(Range{From: 3, To: 12}, []int64{4, 6, 7}, []int64{5, 10})
	if twice != -1 || len(missing) != 3 || missing[0] != (Range{From: 3, To: 3}) || missing[1] != (Range{From: 8, To: 9}) ||
		missing[2] != (Range{From: 11, To: 12}) {
		t.Fatalf("got %v, %d", missing, twice)
	}
	if _, twice := gaps(Range{From: 0, To: 3}, []int64{1, 2}, []int64{2}); twice != 2 {
		t.Fatalf("got %d", twice)
	}
}

// BenchmarkArchive writes a log of clicks as they are sent, all of it from the broker to the disk.
func BenchmarkArchive(b *testing.B) {
	r := newRig(b, 2)
	const n = 200_000
	var recs []kafkaio.OutRecord
	for _, rec := range clicks(2, 0, n/2, startMicros, 100) {
		recs = append(recs, rec)
		if len(recs) == 50_000 {
			r.produce(recs)
			recs = recs[:0]
		}
	}
	b.ResetTimer()
	for range b.N {
		b.StopTimer()
		r.cfg.Archive = "file://" + b.TempDir()
		store, err := objectstore.Open(r.ctx, r.cfg.Archive)
		if err != nil {
			b.Fatal(err)
		}
		r.store = store
		b.StartTimer()
		if p := r.run(); p.Records != n {
			b.Fatalf("got %+v", p)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/record")
}
