package archive

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/clickledger/clickledger/internal/kafkaio"
	"github.com/clickledger/clickledger/internal/objectstore"
	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/policy"
)

func TestArchivesTheLog(t *testing.T) {
	t.Parallel()
	r := newRig(t, 3)
	const step = 1_000_000 // 1000 records a partition, 1 s apart, from five minutes before the hour
	r.produce(clicks(2, 0, 1000, startMicros, step))
	var calls int
	deps := r.deps()
	deps.Progress = func(Progress) { calls++ }
	p, err := Run(r.ctx, r.cfg, deps)
	if err != nil {
		t.Fatal(err)
	}
	if p.Records != 2000 || p.Clicks != 1800 || p.DeadLetters != 200 || p.Files != 4 || calls != 4 || p.TakenOver != 0 {
		t.Fatalf("got %+v after %d calls", p, calls)
	}
	r.verify()
	r.same(3)
	var keys []string
	for _, f := range r.list(FolderClicks) {
		keys = append(keys, f.Key(FolderClicks))
	}
	want := `clicks/dt=2025-10-09/hr=08/p=000/00000000000000000000-00000000000000000299.parquet
clicks/dt=2025-10-09/hr=09/p=000/00000000000000000300-00000000000000000999.parquet
clicks/dt=2025-10-09/hr=08/p=001/00000000000000000000-00000000000000000299.parquet
clicks/dt=2025-10-09/hr=09/p=001/00000000000000000300-00000000000000000999.parquet`
	if got := strings.Join(keys, "\n"); got != want {
		t.Fatalf("got\n%s\nwant\n%s", got, want)
	}
	if p := r.run(); p != (Progress{}) {
		t.Fatalf("a second run made %+v", p)
	}
	r.produce(clicks(3, 1000, 50, startMicros, step)) // older times stay in the hour that was reached
	if p := r.run(); p.Records != 150 || p.Files != 3 {
		t.Fatalf("got %+v", p)
	}
	r.verify()
	r.same(3)
	files := byPartition(r.list(FolderClicks))[0]
	if last := files[len(files)-1]; last.Hour != files[1].Hour || last.From != 1000 {
		t.Fatalf("got %s", last.Key(FolderClicks))
	}
}

func TestFilesEndAtCountsAndBytes(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	r.produce(clicks(1, 0, 1000, startMicros, 1))
	r.cfg.MaxRecords = 300
	if p := r.run(); p.Files != 4 {
		t.Fatalf("got %+v, want 4 files", p)
	}
	r.produce([]kafkaio.OutRecord{{Topic: schemas.TopicClicks, Value: make([]byte, 6<<20), TimestampMicros: startMicros}})
	r.produce(clicks(1, 2000, 10, startMicros, 1))
	r.cfg.MaxBufferedBytes = 2 << 20
	if p := r.run(); p.Files != 2 || p.DeadLetters != 2 {
		t.Fatalf("got %+v, want the oversize record to end a file", p)
	}
	r.verify()
	r.same(1)
}

func TestContinuousRunFlushesAndStops(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	r.cfg.RunUntilEnd, r.cfg.FlushInterval = false, 50*time.Millisecond
	ctx, stop := context.WithCancel(r.ctx)
	defer stop()
	flushed := make(chan Progress, 1000)
	deps := r.deps()
	deps.Progress = func(p Progress) { flushed <- p }
	done := make(chan error, 1)
	go func() {
		_, err := Run(ctx, r.cfg, deps)
		done <- err
	}()
	for round := range 3 { // each comes out by itself, by the interval
		r.produce(clicks(2, round*100, 100, startMicros, 1))
		for p := range flushed {
			if p.Records == int64(round+1)*200 {
				break
			}
		}
	}
	r.cfg.FlushInterval = time.Hour
	stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	r.verify()
	r.same(2)

	ctx, stop = context.WithCancel(r.ctx) // what is buffered at the stop is written
	read := make(chan struct{})
	var once sync.Once
	deps = r.deps()
	deps.Now = func() time.Time { once.Do(func() { close(read) }); return time.Now() }
	go func() {
		_, err := Run(ctx, r.cfg, deps)
		done <- err
	}()
	r.produce(clicks(2, 300, 10, startMicros, 1))
	<-read
	stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if len(r.archived()) <= 600 {
		t.Fatal("the stop wrote nothing")
	}
	r.cfg.RunUntilEnd = true
	r.run()
	r.verify()
	r.same(2)
}

// TestFaultAtEveryPut lets each put in turn fail, before or after it took effect, and starts again.
func TestFaultAtEveryPut(t *testing.T) {
	t.Parallel()
	for _, after := range []bool{false, true} {
		t.Run(fmt.Sprintf("after=%t", after), func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 2)
			r.produce(clicks(2, 0, 40, startMicros, 20_000_000))
			for runs := 0; ; {
				r.cfg.MaxRecords = 7 + runs%5 // another life would cut the log otherwise
				deps := r.deps()
				deps.Store = &failing{Store: r.store, left: runs % 13, after: after}
				_, err := Run(r.ctx, r.cfg, deps)
				if err == nil {
					t.Logf("done after %d runs", runs)
					break
				}
				if !errors.Is(err, errInjected) {
					t.Fatal(err)
				}
				if _, err := Verify(r.ctx, r.cfg, r.deps()); err != nil {
					t.Fatalf("after fault %d: %v", runs, err)
				}
				if runs++; runs > 500 {
					t.Fatal("no end")
				}
			}
			if report := r.verify(); len(report.Pending) != 0 {
				t.Fatalf("pending: %v", report.Pending)
			}
			r.same(2)
		})
	}
}

func TestTwoArchiversAtOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t, 3)
	cfgs := []Config{r.cfg, r.cfg, r.cfg}
	for i := range cfgs {
		cfgs[i].MaxRecords = 10 + 7*i
		cfgs[i].RunUntilEnd = false
		cfgs[i].FlushInterval = time.Duration(10+7*i) * time.Millisecond
	}
	ctx, stop := context.WithCancel(r.ctx)
	defer stop()
	const all = 1200
	var wg sync.WaitGroup
	var mu sync.Mutex
	records, done := make([]int64, len(cfgs)), make(chan struct{})
	for i, cfg := range cfgs {
		deps := r.deps()
		deps.Progress = func(p Progress) {
			mu.Lock()
			defer mu.Unlock()
			before := records[0] + records[1] + records[2]
			records[i] = p.Records
			if records[0]+records[1]+records[2] == all && before < all {
				close(done)
			}
		}
		wg.Go(func() {
			if _, err := Run(ctx, cfg, deps); err != nil {
				t.Error(err)
			}
		})
	}
	for i := range 20 {
		r.produce(clicks(3, i*20, 20, startMicros+int64(i)*60_000_000, 1_000_000))
	}
	select {
	case <-done:
	case <-r.ctx.Done():
		t.Fatalf("the archivers wrote %v records, want %d together", records, all)
	}
	stop()
	wg.Wait()
	r.verify()
	r.same(3)
	if got := records[0] + records[1] + records[2]; got != all {
		t.Fatalf("the archivers together count %d records written, want %d", got, all)
	}
}

func TestClosesAGapInTheListing(t *testing.T) {
	t.Parallel()
	for _, claims := range []bool{true, false} {
		t.Run(fmt.Sprintf("claims=%t", claims), func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 1)
			r.produce(clicks(1, 0, 100, startMicros, 1))
			r.cfg.MaxRecords = 10
			r.run()
			files := r.list(FolderClicks)
			for _, i := range []int{3, 4, 7} {
				for _, folder := range []string{FolderClicks, FolderDeadLetters} {
					if err := r.store.Delete(r.ctx, files[i].Key(folder)); err != nil {
						t.Fatal(err)
					}
				}
			}
			if !claims { // as in an archive that another program wrote
				all, err := r.store.List(r.ctx, folderClaims)
				if err != nil {
					t.Fatal(err)
				}
				for _, o := range all {
					if err := r.store.Delete(r.ctx, o.Key); err != nil {
						t.Fatal(err)
					}
				}
			}
			if report, err := Verify(r.ctx, r.cfg, r.deps()); !errors.Is(err, ErrBroken) || len(report.Problems) != 2 {
				t.Fatalf("got %+v, %v, want two gaps", report, err)
			}
			r.produce(clicks(1, 100, 5, startMicros, 1))
			r.cfg.MaxRecords = 1000
			if p := r.run(); p.Records != 35 {
				t.Fatalf("got %+v", p)
			}
			if claims {
				r.verify()
			} else if _, err := Verify(r.ctx, r.cfg, r.deps()); err != nil { // the claims that are gone are TestVerifyNamesAChangedByte's
				t.Fatal(err)
			}
			r.same(1)
		})
	}
}

func TestDecisionsAreArchived(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	want := map[string]string{}
	var recs []kafkaio.OutRecord
	for i := range 40 {
		d := schemas.Decision{
			Position: schemas.Position{Partition: int32(i % 3), Offset: int64(i)}, ClickID: fmt.Sprint("c", i), EventTimeMillis: startMicros / 1000,
			Verdict: schemas.Invalid, Rules: schemas.RuleListedIP | schemas.RuleVelocityIPAd, IsLate: i%2 == 0,
			Winner: schemas.Position{Partition: 1, Offset: 2}, PolicyHash: "h",
		}
		value, err := schemas.EncodeDecision(d)
		if err != nil {
			t.Fatal(err)
		}
		if i == 7 {
			value = []byte{0xff}
		} else {
			want[d.String()] = d.ClickID
		}
		recs = append(recs, kafkaio.OutRecord{
			Topic: schemas.TopicDecisions, Partition: int32(i % 2), Key: schemas.DecisionKey(d.Position), Value: value, TimestampMicros: startMicros,
		})
	}
	r.produce(recs)
	if p := r.run(); p.Decisions != 39 || p.Undecodable != 1 || p.Records != 40 {
		t.Fatalf("got %+v", p)
	}
	got := map[string]string{}
	for _, f := range r.list(FolderDecisions) {
		each(r, f.Key(FolderDecisions), func(d schemas.ArchiveDecision) {
			got[schemas.Position{Partition: d.Partition, Offset: d.Offset}.String()] = d.ClickID
			if d.Verdict != "invalid" || d.Rules != "velocity_ip_ad,listed_ip" || d.WinnerOffset != 2 || d.PolicyHash != "h" {
				t.Errorf("got %+v", d)
			}
		})
	}
	if !maps.Equal(got, want) {
		t.Fatalf("got %v, want %v", got, want)
	}
	r.verify()
}

func TestChangedPolicyAfterACrash(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	r.produce(clicks(1, 0, 20, startMicros, 1))
	deps := r.deps()
	deps.Store = &failing{Store: r.store, left: 3} // first, claim, dead letters; the click object fails
	r.cfg.Topics = []string{schemas.TopicClicks}
	if _, err := Run(r.ctx, r.cfg, deps); !errors.Is(err, errInjected) {
		t.Fatalf("got %v", err)
	}
	if report, err := Verify(r.ctx, r.cfg, r.deps()); err != nil || len(report.Pending) != 1 {
		t.Fatalf("got %+v, %v, want one pending object", report, err)
	}
	doc, err := policy.Default().YAML()
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.Replace(string(doc), "max_record_bytes: 65536", "max_record_bytes: 90", 1)
	if r.cfg.Policy, err = policy.Parse([]byte(changed)); err != nil || changed == string(doc) {
		t.Fatal("the policy did not change:", err)
	}
	if p := r.run(); p.DeadLetters != 20 {
		t.Fatalf("got %+v, want all of the clicks to be over the new limit", p)
	}
	r.verify()
	r.same(1)
}

func TestErrorsAreClear(t *testing.T) {
	t.Parallel()
	err := Config{
		Log: "x", Archive: "y", FlushInterval: 1, MaxRecords: -1, MaxBufferedBytes: 1, Topics: []string{"z"},
	}.Validate()
	for _, key := range []string{"log", "archive", "policy", "flush_interval", "max_records", "max_buffered_bytes", "topics"} {
		if err == nil || !strings.Contains(err.Error(), key+": ") {
			t.Errorf("%s is not named in %v", key, err)
		}
	}
	if err := (Config{Log: "kafka://a:1", Archive: "s3://b", Policy: policy.Default()}).Validate(); err != nil {
		t.Error(err)
	}
	r := newRig(t, 1)
	r.cfg.Log = "kafka://127.0.0.1:1"
	start := time.Now()
	_, err = Run(r.ctx, r.cfg, Deps{})
	if err == nil || !strings.Contains(err.Error(), r.cfg.Log) || time.Since(start) > 8*time.Second {
		t.Errorf("got %v after %s", err, time.Since(start))
	}
	r.cfg.Log = r.url
	r.produce(clicks(1, 0, 20, startMicros, 1))
	r.run()
	if _, err := r.store.Put(r.ctx, "clicks/stray.parquet", nil, objectstore.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := Run(r.ctx, r.cfg, Deps{}); err == nil || !strings.Contains(err.Error(), "stray.parquet") {
		t.Errorf("got %v", err)
	}
	other := newRig(t, 1) // an archive of another log
	other.cfg.Archive = r.cfg.Archive
	if err := r.store.Delete(r.ctx, "clicks/stray.parquet"); err != nil {
		t.Fatal(err)
	}
	if _, err := Run(r.ctx, other.cfg, Deps{}); err == nil || !strings.Contains(err.Error(), "another log") {
		t.Errorf("got %v", err)
	}
}

func TestKeys(t *testing.T) {
	t.Parallel()
	f := File{Range: Range{Partition: 12, From: 5, To: 1 << 40}, Hour: hourOf(startMicros)}
	key := f.Key(FolderClicks)
	if folder, got, ok := ParseKey(key); !ok || got != f || folder != FolderClicks {
		t.Fatalf("%s: got %v %v", key, got, ok)
	}
	for _, bad := range []string{
		strings.Replace(key, "p=012", "p=12", 1), strings.Replace(key, "p=012", "p=0012", 1), strings.Replace(key, "-10-", "-13-", 1),
		strings.Replace(key, "hr=08", "hr=24", 1), key + "x", "x" + key + "/y", strings.Replace(key, "00005-", "5-", 1),
	} {
		if _, _, ok := ParseKey(bad); ok {
			t.Errorf("%s was taken", bad)
		}
	}
	for micros, want := range map[int64]Hour{-1: 0, 0: 0, 1<<63 - 1: hourMax, 3_600_000_000: 1} {
		if got := hourOf(micros); got != want {
			t.Errorf("hour of %d: got %d, want %d", micros, got, want)
		}
	}
}
