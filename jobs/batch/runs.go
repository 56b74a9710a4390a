package batch

import (
	"cmp"
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"

	"github.com/clickledger/clickledger/internal/objectstore"
)

// RunKey names one whole result in an archive.
type RunKey struct {
	Date     string
	Revision int
	Prefix   string // with a slash at its end
}

var manifestKey = regexp.MustCompile(`^(results/dt=(\d{4}-\d\d-\d\d)/rev=(\d{1,9})/)run\.json$`)

// Runs lists the whole results of an archive by day and revision.
func Runs(ctx context.Context, archive objectstore.Store) ([]RunKey, error) {
	objects, err := archive.List(ctx, "results/")
	if err != nil {
		return nil, err
	}
	return runsIn(archive, objects)
}

// runsIn are those of a listing of results.
func runsIn(archive objectstore.Store, objects []objectstore.Object) ([]RunKey, error) {
	var runs []RunKey
	for _, o := range objects {
		if m := manifestKey.FindStringSubmatch(o.Key); m != nil {
			revision, err := strconv.Atoi(m[3])
			if err != nil {
				return nil, fmt.Errorf("list results: %s: %w", archive.URL(o.Key), err)
			}
			runs = append(runs, RunKey{Date: m[2], Revision: revision, Prefix: m[1]})
		}
	}
	slices.SortFunc(runs, func(a, b RunKey) int {
		return cmp.Or(cmp.Compare(a.Date, b.Date), cmp.Compare(a.Revision, b.Revision))
	})
	return runs, nil
}

// LocalCopy is the path of an object in the file system, in dir if it has to be copied.
func LocalCopy(ctx context.Context, store objectstore.Store, key, dir string) (string, error) {
	if path, ok := store.LocalPath(key); ok {
		return path, nil
	}
	return copyObject(ctx, store, key, dir)
}
