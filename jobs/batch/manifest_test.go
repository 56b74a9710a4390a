package batch_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/clickledger/clickledger/internal/loadgen"
	"github.com/clickledger/clickledger/internal/objectstore"
	"github.com/clickledger/clickledger/internal/treetest"
	"github.com/clickledger/clickledger/jobs/batch"
	"github.com/clickledger/clickledger/schemas/policy"
)

// midnight begins a day of the tests.
var midnight = time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)

func manifestArchive(t *testing.T, seed uint64) string {
	t.Helper()
	start := midnight.Add(-time.Minute).UnixMilli()
	return writeArchive(t, records(t, loadgen.DefaultConfig(seed, 12_000, start, 100), byKey), policy.Default(), 1000)
}

// TestSameInputsSameBytes judges a day in several ways, and compares every byte of what comes out.
func TestSameInputsSameBytes(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	archive := manifestArchive(t, seed)
	var first map[string][]byte
	for i, cfg := range []batch.Config{{}, {}, {Shards: 1, Threads: 1, SliceClicks: 900}, {Shards: 7, Threads: 4, MemoryLimit: "300MB", TempDir: t.TempDir()}} {
		cfg.Archive, cfg.Date, cfg.Policy, cfg.Version = "file://"+archive, midnight, policy.Default(), "v1"
		cfg.RunID, cfg.Out = fmt.Sprint("run-", i), filepath.Join(t.TempDir(), "out")
		if _, err := batch.Run(t.Context(), cfg, batch.Deps{}); err != nil {
			t.Fatal(err)
		}
		files := treetest.Read(t, cfg.Out)
		if first == nil {
			if first = files; len(first) != 4 {
				t.Fatalf("got %d files, want 4", len(first))
			}
			continue
		}
		for name, want := range first {
			if !bytes.Equal(files[name], want) {
				t.Errorf("seed %d, run %d: %s has other bytes: %d of them, want %d", seed, i, name, len(files[name]), len(want))
			}
		}
		if len(files) != len(first) {
			t.Errorf("run %d wrote %d files, want %d", i, len(files), len(first))
		}
	}
}

// TestManifest: inputs with their digests and offsets, and the outputs' digests.
func TestManifest(t *testing.T) {
	t.Parallel()
	archive := manifestArchive(t, 1)
	store, m := judged(t, archive)
	if m.Version != "v1" || m.Result.PolicyHash != policy.Default().Hash() {
		t.Errorf("got %+v", m)
	}
	files := treetest.Read(t, archive)
	sum := func(name string) string {
		digest := sha256.Sum256(files[name])
		return hex.EncodeToString(digest[:])
	}
	digested := 0
	last := map[int32]int64{}
	for _, in := range m.Inputs {
		if in.SHA256 != "" {
			digested++
			if in.SHA256 != sum(in.Key) || in.Size != int64(len(files[in.Key])) {
				t.Errorf("%+v, want digest %s", in, sum(in.Key))
			}
		}
		if in.Offsets == nil {
			t.Errorf("%s has no offsets", in.Key)
			continue
		}
		last[in.Offsets.Partition] = max(last[in.Offsets.Partition], in.Offsets.Last)
	}
	if digested < partitions || len(m.OffsetRanges) != partitions {
		t.Errorf("%d inputs are digested, of ranges %+v", digested, m.OffsetRanges)
	}
	for _, r := range m.OffsetRanges {
		if r.First != 0 || r.Last != last[r.Partition] {
			t.Errorf("got range %+v, want 0 to %d", r, last[r.Partition])
		}
	}
	for _, name := range []string{batch.MinutesFile, batch.DecisionsFile, batch.DeadLettersFile} {
		if want := sum("results/dt=2026-03-02/rev=1/" + name); m.Outputs[name] != want {
			t.Errorf("%s: got digest %s, want %s", name, m.Outputs[name], want)
		}
	}
	if _, err := store.Get(t.Context(), "results/dt=2026-03-02/rev=1/"+batch.ManifestFile); err != nil {
		t.Error(err)
	}
}

// judged runs the batch into the archive and returns its manifest.
func judged(t *testing.T, archive string) (objectstore.Store, *batch.Manifest) {
	t.Helper()
	cfg := batch.Config{Archive: "file://" + archive, Date: midnight, Policy: policy.Default(), RunID: t.Name(), Version: "v1"}
	if _, err := batch.Run(t.Context(), cfg, batch.Deps{}); err != nil {
		t.Fatal(err)
	}
	store, err := objectstore.Open(t.Context(), cfg.Archive)
	if err != nil {
		t.Fatal(err)
	}
	m, err := batch.LoadManifest(t.Context(), store, batch.RunKey{Prefix: "results/dt=2026-03-02/rev=1/"})
	if err != nil {
		t.Fatal(err)
	}
	return store, m
}

// TestVerifierNamesAChangedByte changes bytes of every file of a result, and of every object that it was
// made from, one at a time.
func TestVerifierNamesAChangedByte(t *testing.T) {
	t.Parallel()
	archive := manifestArchive(t, 2)
	store, m := judged(t, archive)
	verify := func() []string {
		v := batch.Verifier{Store: store}
		if err := v.VerifyAll(t.Context()); err != nil {
			t.Fatal(err)
		}
		return v.Problems
	}
	if problems := verify(); len(problems) != 0 {
		t.Fatalf("before anything was changed: %q", problems)
	}
	var keys []string
	for _, in := range m.Inputs {
		if in.SHA256 != "" {
			keys = append(keys, in.Key)
		}
	}
	for _, name := range []string{batch.MinutesFile, batch.DecisionsFile, batch.DeadLettersFile, batch.ManifestFile} {
		keys = append(keys, "results/dt=2026-03-02/rev=1/"+name)
	}
	for _, key := range keys {
		path := filepath.Join(archive, filepath.FromSlash(key))
		sound, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		places := []int{0, len(sound) / 3, len(sound) - 1}
		if strings.HasSuffix(key, ".json") {
			places = nil
			for at := 0; at < len(sound); at += 7 {
				places = append(places, at)
			}
		}
		for _, at := range places {
			changed := bytes.Clone(sound)
			changed[at] ^= 1
			if err := os.WriteFile(path, changed, 0o600); err != nil {
				t.Fatal(err)
			}
			if problems := verify(); !slices.ContainsFunc(problems, func(p string) bool { return strings.Contains(p, key) }) {
				t.Errorf("%s: byte %d of %d was changed: got %q", key, at, len(sound), problems)
			}
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if problems := verify(); len(problems) == 0 && !strings.HasSuffix(key, batch.ManifestFile) {
			t.Errorf("%s is gone, and nothing is said of it", key)
		}
		if err := os.WriteFile(path, sound, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if problems := verify(); len(problems) != 0 {
		t.Fatalf("after all was put back: %q", problems)
	}
}

// TestChangedInputIsNotJudged: a file that is not what its seal says bills nobody.
func TestChangedInputIsNotJudged(t *testing.T) {
	t.Parallel()
	archive := manifestArchive(t, 3)
	_, m := judged(t, archive)
	key := m.Inputs[0].Key
	path := filepath.Join(archive, filepath.FromSlash(key))
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.LastIndex(data, []byte("clickledger.sha256")) + len("clickledger.sha256") + 10
	data[at] ^= 1 // which no reader of Parquet cares about
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := batch.Config{Archive: "file://" + archive, Date: midnight, Policy: policy.Default(), RunID: t.Name() + "/again"}
	if _, err := batch.Run(t.Context(), cfg, batch.Deps{}); !errors.Is(err, batch.ErrChanged) || !strings.Contains(err.Error(), key) {
		t.Errorf("got %v, want that %s was changed", err, key)
	}
}
