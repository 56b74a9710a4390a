package archive

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/clickledger/clickledger/internal/kafkaio"
	"github.com/clickledger/clickledger/internal/objectstore"
	"github.com/clickledger/clickledger/schemas"
)

// TestVerifyNamesAChangedByte changes one byte of each object of an archive, of small ones each byte, of
// others many, at the ends too; and removes it. A partition's last file may as well not have been written
// yet: it is pending.
func TestVerifyNamesAChangedByte(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	r.produce(clicks(1, 0, 30, startMicros, 1))
	d := schemas.Decision{Position: schemas.Position{Partition: 0, Offset: 3}, ClickID: "click-00000003", Verdict: schemas.Duplicate}
	decision, err := schemas.EncodeDecision(d)
	if err != nil {
		t.Fatal(err)
	}
	r.produce([]kafkaio.OutRecord{
		{Topic: schemas.TopicDecisions, Key: schemas.DecisionKey(d.Position), Value: decision, TimestampMicros: startMicros},
		{Topic: schemas.TopicDLQ, Key: []byte("k"), Value: click(1, startMicros), TimestampMicros: startMicros},
	})
	r.cfg.MaxRecords = 15
	r.run()
	if report := r.verify(); !report.BytesChecked || report.Unsealed != 0 {
		t.Fatalf("got %+v", report)
	}
	root := strings.TrimPrefix(r.cfg.Archive, "file://")
	cfg := Config{Archive: r.cfg.Archive, Bytes: true}
	kinds, pending := map[string]int{}, 0
	err = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		key, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		sound, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		step := max(1, len(sound)/40)
		for at := 0; at < len(sound); at += step {
			changed := append([]byte{}, sound...)
			changed[at] ^= 1
			if err := os.WriteFile(path, changed, 0o600); err != nil {
				return err
			}
			report, err := Verify(r.ctx, cfg, Deps{})
			if !errors.Is(err, ErrBroken) || !strings.Contains(strings.Join(report.Problems, "\n"), key) {
				t.Errorf("%s: byte %d of %d was changed: got %v, %+v", key, at, len(sound), err, report)
			}
		}
		if err := os.Remove(path); err != nil {
			return err
		}
		switch report, err := Verify(r.ctx, cfg, Deps{}); {
		case err == nil && slices.Contains(report.Pending, key):
			pending++
		case !errors.Is(err, ErrBroken) || !strings.Contains(strings.Join(report.Problems, "\n"), key):
			t.Errorf("%s is gone: got %v, %+v", key, err, report)
		}
		folder, _, _ := strings.Cut(filepath.ToSlash(key), "/")
		kinds[folder]++
		return os.WriteFile(path, sound, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, folder := range []string{FolderClicks, FolderDeadLetters, FolderDecisions, FolderDLQ, folderClaims} {
		if kinds[folder] == 0 {
			t.Errorf("%s: no object of it was changed: %v", folder, kinds)
		}
	}
	if pending != 3 {
		t.Errorf("%d objects were pending, want the last one of each topic", pending)
	}
	r.verify()
}

// TestForeignFilesHaveNoSeal: other programs' files are read, and counted.
func TestForeignFilesHaveNoSeal(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	r.produce(clicks(1, 0, 5, startMicros, 1))
	r.run()
	key := r.list(FolderClicks)[0].Key(FolderClicks)
	data, err := r.store.Get(r.ctx, key)
	if err != nil {
		t.Fatal(err)
	}
	foreign := strings.ReplaceAll(string(data), notePrefix, "otherledger.")
	if _, err := r.store.Put(r.ctx, key, []byte(foreign), objectstore.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	if report := r.verify(); report.Unsealed != 1 {
		t.Fatalf("got %+v, want a file without a seal", report)
	}
}
