package archive

import (
	"context"
	"errors"
	"slices"
	"strconv"

	"github.com/clickledger/clickledger/internal/kafkaio"
	"github.com/clickledger/clickledger/internal/parquetio"
	"github.com/clickledger/clickledger/schemas"
)

// file checks one range. What cannot be read as Parquet is a problem of the archive, not of the check.
func (v *verifier) file(ctx context.Context, f family, file File, hasDead bool, logFirst int64, r *PartitionReport) error {
	key := file.Key(f.folder)
	main, err := v.readPart(ctx, key, file, offsetColumn(f))
	if err != nil {
		return err
	}
	var dead part
	if hasDead {
		if dead, err = v.readPart(ctx, file.Key(FolderDeadLetters), file, "offset"); err != nil {
			return err
		}
	}
	if main.broken || dead.broken {
		return nil
	}
	undecodable := main.note(NoteUndecodable)
	r.Rows += main.rows
	r.DeadLetters += dead.rows
	r.Undecodable += max(undecodable, 0)
	records := main.rows + dead.rows + max(undecodable, 0)
	r.Records += records
	url := v.store.URL(key)
	if n := main.note(NoteDeadLetters); n >= 0 && n != dead.rows {
		v.problemf("%s: %d dead letters, but the footer of %s says %d", v.store.URL(file.Key(FolderDeadLetters)), dead.rows, url, n)
	}
	missing, twice := gaps(file.Range, main.offsets, dead.offsets)
	if twice >= 0 {
		v.problemf("%s: offset %d is there twice", url, twice)
		return nil
	}
	lost := file.To - file.From + 1 - records
	noted := main.note(NoteRecords)
	if noted >= 0 && noted != records {
		v.problemf("%s: %d records, but the footer says %d", url, records, noted)
		return nil
	}
	if lost == 0 {
		return nil
	}
	if undecodable > 0 { // which of the missing offsets those are, the file does not say
		r.LogGaps += lost
		return nil
	}
	if v.client == nil || file.From < logFirst {
		if noted < 0 {
			v.problemf("%s: %d offsets are missing, and nothing says that the log lacked them", url, lost)
		}
		r.LogGaps += lost
		return nil
	}
	r.LogGaps += lost
	for _, g := range missing {
		if err := v.lackedByLog(ctx, f, g, url); err != nil {
			return err
		}
	}
	return nil
}

// lackedByLog makes a problem of a missing range in which the log does have a record.
func (v *verifier) lackedByLog(ctx context.Context, f family, g Range, url string) error {
	recs, _, err := v.client.OpenPartition(f.topic, g.Partition, g.From).Fetch(ctx, kafkaio.FetchLimits{MaxRecords: 1})
	if err != nil {
		return err
	}
	if len(recs) > 0 && recs[0].Offset <= g.To {
		v.problemf("%s: offset %s is missing, and the log has it", url, schemas.Position{Partition: g.Partition, Offset: recs[0].Offset})
	}
	return nil
}

// part is what was read of one object.
type part struct {
	rows    int64
	offsets []int64
	footer  parquetio.Footer
	broken  bool
}

// note is a number in the footer, -1 where there is none.
func (p part) note(key string) int64 {
	s, ok := p.footer.Note(key)
	n, err := strconv.ParseInt(s, 10, 64)
	if !ok || err != nil {
		return -1
	}
	return n
}

func offsetColumn(f family) string {
	if f.folder == FolderDecisions || f.folder == FolderDLQ {
		return "log_offset"
	}
	return "offset"
}

func partitionColumn(column string) string {
	if column == "log_offset" {
		return "log_partition"
	}
	return "partition"
}

func (v *verifier) readPart(ctx context.Context, key string, file File, column string) (p part, err error) {
	url := v.store.URL(key)
	src, err := v.store.ReadAt(ctx, key)
	if err != nil {
		return p, err
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	if v.readsBytes {
		isIntact, err := v.intact(ctx, key, src)
		if err != nil || !isIntact {
			return part{broken: true}, err
		}
	}
	if p.footer, err = parquetio.ReadFooter(src); err == nil {
		p.rows = p.footer.Rows
		err = parquetio.ReadOffsets(src, column, func(o []int64) error {
			p.offsets = append(p.offsets, o...)
			return nil
		})
	}
	if err != nil {
		v.problemf("%s: %v", url, err)
		p.broken = true
		return p, ctx.Err()
	}
	p.broken = !v.consistent(p, url, file, column)
	return p, nil
}

// consistent checks what a file says against what it holds.
func (v *verifier) consistent(p part, url string, file File, column string) bool {
	if p.rows != int64(len(p.offsets)) {
		v.problemf("%s: %d rows, but the footer says %d", url, len(p.offsets), p.rows)
		return false
	}
	if p.rows == 0 {
		return true
	}
	if !slices.IsSorted(p.offsets) {
		v.problemf("%s: the rows are not in offset order", url)
		return false
	}
	low, high := p.offsets[0], p.offsets[len(p.offsets)-1]
	if low < file.From || high > file.To {
		v.problemf("%s: rows from offset %d to %d", url, low, high)
		return false
	}
	for _, c := range []struct {
		column string
		want   parquetio.Bounds
	}{
		{column, parquetio.Bounds{Min: low, Max: high}},
		{partitionColumn(column), parquetio.Bounds{Min: int64(file.Partition), Max: int64(file.Partition)}},
	} {
		got, err := p.footer.Bounds(c.column)
		if err != nil {
			v.problemf("%s: %v", url, err)
			return false
		}
		if got != c.want {
			v.problemf("%s: the footer has %s from %d to %d, not from %d to %d",
				url, c.column, got.Min, got.Max, c.want.Min, c.want.Max)
			return false
		}
	}
	return true
}

// gaps merges two ascending lists and returns the offsets of the range that neither has, and an
// offset that is there twice, -1 if none.
func gaps(r Range, a, b []int64) (missing []Range, twice int64) {
	next := r.From
	for len(a) > 0 || len(b) > 0 {
		var off int64
		if len(b) == 0 || len(a) > 0 && a[0] <= b[0] {
			off, a = a[0], a[1:]
		} else {
			off, b = b[0], b[1:]
		}
		if off < next {
			return nil, off
		}
		if off > next {
			missing = append(missing, Range{Partition: r.Partition, From: next, To: off - 1})
		}
		next = off + 1
	}
	if next <= r.To {
		missing = append(missing, Range{Partition: r.Partition, From: next, To: r.To})
	}
	return missing, -1
}
