package archive

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/clickledger/clickledger/internal/kafkaio"
	"github.com/clickledger/clickledger/internal/objectstore"
)

// problemsMax bounds the problems that a report lists.
const problemsMax = 1000

// ErrBroken says that the archive does not hold every record exactly once; the report says where.
var ErrBroken = errors.New("the archive has gaps, overlaps or wrong files")

// Report is what Verify found.
type Report struct {
	Archive    string            `json:"archive"`
	Partitions []PartitionReport `json:"partitions"`
	// Pending are objects of a range that is claimed at the end of its partition and not whole: a crash
	// between the puts, which the next run of the job completes, or a file that was removed.
	Pending  []string `json:"pending"`
	Problems []string `json:"problems"`
	// LogChecked says that the log was there to compare with.
	LogChecked bool `json:"log_checked"`
	// BytesChecked says that every byte was read. Unsealed counts files of other programs, which have no
	// seal to compare them with.
	BytesChecked bool `json:"bytes_checked"`
	Unsealed     int  `json:"unsealed"`
	// Digests are the SHA-256 of the objects whose bytes were read, by key.
	Digests map[string]string `json:"-"`
	more    int
}

// PartitionReport is one partition of one topic.
type PartitionReport struct {
	Topic       string `json:"topic"`
	Partition   int32  `json:"partition"`
	Files       int    `json:"files"`
	From        int64  `json:"from"` // first and last archived offset
	To          int64  `json:"to"`
	Records     int64  `json:"records"`
	Rows        int64  `json:"rows"`
	DeadLetters int64  `json:"dead_letters"`
	Undecodable int64  `json:"undecodable"`
	// LogGaps are offsets of the range that the log itself does not have (compacted away, or markers).
	LogGaps int64 `json:"log_gaps"`
	// Behind are the offsets that the log has and the archive does not have yet; 0 without a log.
	Behind int64 `json:"behind"`
}

// Verify proves that the archive holds every record of the log exactly once, by reading the listing,
// every footer and every offset column:
//
//   - the files of a partition follow each other without a gap and without an overlap;
//   - rows lie within their file's range and partition, no offset is there twice, nor both as a click
//     and as a dead letter; the minima and maxima in the footers are the rows';
//   - rows and dead letters (and undecodable decisions) are as many as the range has offsets. Offsets
//     of the range that are missing are accepted only as the log's own gaps: the archiver's note in
//     the footer must have counted the records without them, or, where a log is given that still
//     reaches back so far, the log must lack them; where both are known, both must agree;
//   - every dead letters' object belongs to a click object, or to the claimed next range (pending).
//
// With cfg.Bytes it also reads every byte of every object: a file is what its seal says, and a claim is
// that of its file, and is there; what is claimed at the end of a partition and not there is pending.
//
// With a log (cfg.Log or deps.Client) the archive must also reach back as far as the log does. The
// error is ErrBroken where the report has problems, else what could not be read. cfg.Policy is not
// needed.
func Verify(ctx context.Context, cfg Config, deps Deps) (*Report, error) {
	if err := errors.Join(cfg.validateArchive()...); err != nil {
		return nil, err
	}
	cfg, deps = cfg.withDefaults(), deps.withDefaults()
	var err error
	if deps.Store == nil {
		if deps.Store, err = objectstore.Open(ctx, cfg.Archive); err != nil {
			return nil, err
		}
	}
	if deps.Client == nil && cfg.Log != "" {
		brokers, err := kafkaio.ParseURL(cfg.Log)
		if err != nil {
			return nil, err
		}
		if deps.Client, err = kafkaio.Connect(ctx, brokers, kafkaio.Options{}); err != nil {
			return nil, err
		}
		defer deps.Client.Close()
	}
	v := &verifier{store: deps.Store, client: deps.Client, readsBytes: cfg.Bytes, sealed: map[string]bool{}, report: &Report{
		Archive: cfg.Archive, LogChecked: deps.Client != nil, BytesChecked: cfg.Bytes, Digests: map[string]string{}, Pending: []string{}, Problems: []string{},
		Partitions: []PartitionReport{},
	}}
	for _, topic := range cfg.Topics {
		if err := v.topic(ctx, families[topic]); err != nil {
			return nil, err
		}
	}
	if v.report.more > 0 {
		v.report.Problems = append(v.report.Problems, fmt.Sprintf("and %d more", v.report.more))
	}
	if len(v.report.Problems) > 0 {
		return v.report, fmt.Errorf("%s: %w: %s", cfg.Archive, ErrBroken, v.report.Problems[0])
	}
	return v.report, nil
}

type verifier struct {
	store  objectstore.Store
	client *kafkaio.Client
	report *Report

	readsBytes bool
	sealed     map[string]bool // files whose bytes are what their seals say, by key
}

func (v *verifier) problemf(format string, args ...any) {
	if len(v.report.Problems) >= problemsMax {
		v.report.more++
		return
	}
	v.report.Problems = append(v.report.Problems, fmt.Sprintf(format, args...))
}

func (v *verifier) topic(ctx context.Context, f family) error {
	files, strays, err := List(ctx, v.store, f.folder)
	if err != nil {
		return err
	}
	var dead []File
	if f.folder == FolderClicks {
		var more []string
		if dead, more, err = List(ctx, v.store, FolderDeadLetters); err != nil {
			return err
		}
		strays = append(strays, more...)
	}
	for _, key := range strays {
		v.problemf("%s: no file of the archive's layout", v.store.URL(key))
	}
	deadOf := map[string]bool{}
	for _, d := range dead {
		deadOf[d.Key(FolderDeadLetters)] = true
	}
	parts := byPartition(files)
	ids := slices.Sorted(maps.Keys(parts))
	if v.client != nil {
		inLog, err := v.client.Partitions(ctx, f.topic)
		if err != nil {
			return err
		}
		ids = slices.Compact(slices.Sorted(slices.Values(append(ids, inLog...))))
	}
	next := map[int32]int64{}
	for _, p := range ids {
		r, err := v.partition(ctx, f, p, parts[p], deadOf)
		if err != nil {
			return err
		}
		next[p] = r.To + 1
		v.report.Partitions = append(v.report.Partitions, r)
	}
	if v.readsBytes {
		if err := v.claims(ctx, f, files); err != nil {
			return err
		}
	}
	return v.orphans(ctx, f, dead, deadOf, next)
}

// orphans looks at the dead letters' objects that no click object owns.
func (v *verifier) orphans(ctx context.Context, f family, dead []File, deadOf map[string]bool, next map[int32]int64) error {
	for _, d := range dead {
		key := d.Key(FolderDeadLetters)
		if !deadOf[key] {
			continue
		}
		if d.From == next[d.Partition] {
			_, err := v.store.Get(ctx, claimKey(f.folder, d.Partition, d.From))
			if err == nil {
				v.report.Pending = append(v.report.Pending, key)
				continue
			}
			if !errors.Is(err, objectstore.ErrNotFound) {
				return err
			}
		}
		v.problemf("%s: there is no click file of that range", v.store.URL(key))
	}
	return nil
}

func (v *verifier) partition(ctx context.Context, f family, p int32, files []File, deadOf map[string]bool) (PartitionReport, error) {
	r := PartitionReport{Topic: f.topic, Partition: p, From: 0, To: -1, Files: len(files)}
	var first, end int64
	if v.client != nil {
		var err error
		if first, end, err = v.client.Offsets(ctx, f.topic, p); err != nil && !errors.Is(err, kafkaio.ErrUnknownTopic) {
			return r, err
		}
	}
	r.To = first - 1
	r.From = first
	for i, file := range files {
		url := v.store.URL(file.Key(f.folder))
		switch {
		case i == 0:
			r.From = file.From
			if v.client != nil && file.From > first {
				v.problemf("%s/%d: offsets %d-%d of the log are not in the archive", f.topic, p, first, file.From-1)
			}
		case file.From > r.To+1:
			v.problemf("%s: gap: offsets %d-%d of partition %d are missing before it", url, r.To+1, file.From-1, p)
		case file.From <= r.To:
			v.problemf("%s: overlap: offset %d of partition %d is in an earlier file", url, file.From, p)
		case file.Hour < files[i-1].Hour:
			v.problemf("%s: its hour is before that of the file before it", url)
		}
		r.To = max(r.To, file.To)
		dead := file.Key(FolderDeadLetters)
		hasDead := f.folder == FolderClicks && deadOf[dead]
		delete(deadOf, dead)
		if err := v.file(ctx, f, file, hasDead, first, &r); err != nil {
			return r, err
		}
	}
	r.Behind = max(end-r.To-1, 0)
	if v.client != nil && len(files) > 0 && r.To >= end {
		v.problemf("%s/%d: the archive holds offset %d, but the log ends at %d", f.topic, p, r.To, end)
	}
	return r, nil
}
