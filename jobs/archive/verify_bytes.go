package archive

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/clickledger/clickledger/internal/objectstore"
	"github.com/clickledger/clickledger/internal/parquetio"
)

// notePrefix begins the notes of files that this program wrote.
const notePrefix = "clickledger."

// intact compares all bytes of an object with its seal. Files of other programs have none; the results
// of the batch hold the digests of those that it read.
func (v *verifier) intact(ctx context.Context, key string, src objectstore.ReaderAt) (bool, error) {
	url := v.store.URL(key)
	d, err := parquetio.ReadDigest(ctx, src)
	if err != nil {
		return false, fmt.Errorf("%s: %w", url, err)
	}
	v.report.Digests[key] = d.SHA256
	switch {
	case d.IsIntact:
		v.sealed[key] = true
		return true, nil
	case d.IsSealed:
		v.problemf("%s: it was changed after it was written: its bytes are not what its seal says", url)
		return false, nil
	}
	footer, err := parquetio.ReadFooter(src)
	if err != nil {
		v.problemf("%s: %v", url, err)
		return false, ctx.Err()
	}
	if footer.HasNotes(notePrefix) {
		v.problemf("%s: it has no seal: it was changed, or an earlier version wrote it", url)
		return false, nil
	}
	v.report.Unsealed++
	return true, nil
}

// claims compares the claims of a folder with the files that were written under them.
func (v *verifier) claims(ctx context.Context, f family, files []File) error {
	written, first, ends := map[Range]File{}, map[int32]File{}, map[int32]int64{}
	for _, file := range files {
		written[Range{Partition: file.Partition, From: file.From}] = file
		if earliest, ok := first[file.Partition]; !ok || file.From < earliest.From {
			first[file.Partition] = file
		}
		ends[file.Partition] = max(ends[file.Partition], file.To+1)
	}
	objects, err := v.store.List(ctx, folderClaims+"/"+f.folder+"/")
	if err != nil {
		return err
	}
	there := map[string]bool{}
	for _, o := range objects {
		there[o.Key] = true
		data, err := v.store.Get(ctx, o.Key)
		if err != nil {
			return err
		}
		if strings.HasSuffix(o.Key, "/first.json") {
			if err := soundFirst(o.Key, f.folder, data, first); err != nil {
				v.problemf("%s: %v", v.store.URL(o.Key), err)
			}
			continue
		}
		c, err := soundClaim(o.Key, f.folder, data, written)
		if err != nil {
			v.problemf("%s: %v", v.store.URL(o.Key), err)
			continue
		}
		if isWritten(written, c.Range) {
			continue
		}
		end, ok := ends[c.Partition]
		if err := v.unwritten(ctx, File{Range: c.Range, Hour: c.Hour}.Key(f.folder), !ok || end == c.From); err != nil {
			return err
		}
	}
	v.unclaimed(f.folder, files, first, there)
	return nil
}

// unclaimed names the claims that are gone. Other programs' files have none.
func (v *verifier) unclaimed(folder string, files []File, first map[int32]File, there map[string]bool) {
	for _, file := range files {
		if !v.sealed[file.Key(folder)] {
			continue // another program's, or named already
		}
		if key := claimKey(folder, file.Partition, file.From); !there[key] {
			v.problemf("%s: it is gone, and %s was written by it", v.store.URL(key), file.Key(folder))
		}
		if key := firstKey(folder, file.Partition); file == first[file.Partition] && !there[key] {
			v.problemf("%s: it is gone", v.store.URL(key))
		}
	}
}

func isWritten(written map[Range]File, r Range) bool {
	_, ok := written[Range{Partition: r.Partition, From: r.From}]
	return ok
}

// unwritten names a file that was claimed, if it is not there: at the end of its partition it may still come.
func (v *verifier) unwritten(ctx context.Context, key string, isLast bool) error {
	src, err := v.store.ReadAt(ctx, key) // it may have come since the listing
	switch {
	case err == nil:
		return src.Close()
	case !errors.Is(err, objectstore.ErrNotFound):
		return err
	case isLast:
		v.report.Pending = append(v.report.Pending, key)
	default:
		v.problemf("%s: it is gone", v.store.URL(key))
	}
	return nil
}

// errClaim says that a claim is not what was claimed.
var errClaim = errors.New("it was changed after it was written")

// soundFirst checks the note where a partition begins.
func soundFirst(key, folder string, data []byte, first map[int32]File) error {
	var r Range
	if err := sameJSON(data, &r); err != nil {
		return err
	}
	file, ok := first[r.Partition]
	if key != firstKey(folder, r.Partition) || r.From != r.To || ok && file.From < r.From {
		return errClaim
	}
	if ok && file.From > r.From {
		return fmt.Errorf("%w, or files are gone: it says that the archive begins at offset %d, and the first file does at %d", errClaim, r.From, file.From)
	}
	return nil
}

// soundClaim checks one claim.
func soundClaim(key, folder string, data []byte, written map[Range]File) (claim, error) {
	var c claim
	if err := sameJSON(data, &c); err != nil {
		return c, err
	}
	if key != claimKey(folder, c.Partition, c.From) || c.Sum != "" && c.Sum != c.sum() {
		return c, errClaim
	}
	file, ok := written[Range{Partition: c.Partition, From: c.From}]
	if ok && (file.To != c.To || file.Hour != c.Hour) {
		return c, fmt.Errorf("%w: it claims %s, and the file holds %s", errClaim, c.Range, file.Range)
	}
	return c, nil
}

// sameJSON reads a document that must be as this program writes it, byte by byte.
func sameJSON(data []byte, to any) error {
	if err := json.Unmarshal(data, to); err != nil {
		return fmt.Errorf("%w: %w", errClaim, err)
	}
	again, err := json.Marshal(to)
	if err != nil {
		return err
	}
	if !bytes.Equal(data, again) {
		return errClaim
	}
	return nil
}
