package archive

import (
	"cmp"
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/clickledger/clickledger/internal/objectstore"
)

// The folders of the archive.
const (
	FolderClicks      = "clicks"
	FolderDeadLetters = "dead_letters"
	FolderDecisions   = "decisions"
	FolderDLQ         = "dlq"
	folderClaims      = "claims"
)

// hourMax is the last hour that a path can name: the year has four digits.
var hourMax = Hour(time.Date(9999, 12, 31, 23, 0, 0, 0, time.UTC).Unix() / 3600)

// Hour counts hours since the epoch, UTC.
type Hour int64

// hourOf is the hour of a record's time; times that no path can name count as the nearest that one can.
func hourOf(micros int64) Hour {
	return min(max(Hour(micros/time.Hour.Microseconds()), 0), hourMax)
}

// Range is a contiguous range of offsets of one partition, both ends inside.
type Range struct {
	Partition int32 `json:"partition"`
	From      int64 `json:"from"`
	To        int64 `json:"to"`
}

func (r Range) String() string { return fmt.Sprintf("%d/%d-%d", r.Partition, r.From, r.To) }

// File is one object of a range.
type File struct {
	Range
	Hour Hour
	Size int64 // bytes; 0 where it does not come from a listing
}

// Key is the object's key in the folder.
func (f File) Key(folder string) string {
	at := time.Unix(int64(f.Hour)*3600, 0).UTC()
	return fmt.Sprintf("%s/dt=%s/hr=%02d/p=%03d/%020d-%020d.parquet",
		folder, at.Format(time.DateOnly), at.Hour(), f.Partition, f.From, f.To)
}

var keyForm = regexp.MustCompile(`^([a-z_]+)/dt=(\d{4}-\d\d-\d\d)/hr=(\d\d)/p=(\d{3,})/(\d{20})-(\d{20})\.parquet$`)

// ParseKey is the inverse of File.Key; false for keys of another form.
func ParseKey(key string) (folder string, f File, ok bool) {
	m := keyForm.FindStringSubmatch(key)
	if m == nil {
		return "", File{}, false
	}
	at, derr := time.Parse("2006-01-02 15", m[2]+" "+m[3])
	p, perr := strconv.ParseInt(m[4], 10, 32)
	from, ferr := strconv.ParseInt(m[5], 10, 64)
	to, terr := strconv.ParseInt(m[6], 10, 64)
	if derr != nil || perr != nil || ferr != nil || terr != nil || from > to {
		return "", File{}, false
	}
	f = File{Range: Range{Partition: int32(p), From: from, To: to}, Hour: Hour(at.Unix() / 3600)}
	return m[1], f, f.Key(m[1]) == key
}

// List returns the files of a folder by partition and offset, and the keys that are of no known form.
func List(ctx context.Context, store objectstore.Store, folder string) (files []File, strays []string, err error) {
	objects, err := store.List(ctx, folder+"/")
	if err != nil {
		return nil, nil, err
	}
	for _, o := range objects {
		if _, f, ok := ParseKey(o.Key); ok {
			f.Size = o.Size
			files = append(files, f)
		} else if strings.HasSuffix(o.Key, ".parquet") {
			strays = append(strays, o.Key)
		}
	}
	slices.SortFunc(files, func(a, b File) int {
		return cmp.Or(cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To))
	})
	return files, strays, nil
}

// byPartition splits sorted files.
func byPartition(files []File) map[int32][]File {
	parts := map[int32][]File{}
	for _, f := range files {
		parts[f.Partition] = append(parts[f.Partition], f)
	}
	return parts
}
