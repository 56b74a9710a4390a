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
	written, first := map[Range]File{}, map[int32]int64{}
	for _, file := range files {
		written[Range{Partition: file.Partition, From: file.From}] = file
		if from, ok := first[file.Partition]; !ok || file.From < from {
			first[file.Partition] = file.From
		}
	}
	objects, err := v.store.List(ctx, folderClaims+"/"+f.folder+"/")
	if err != nil {
		return err
	}
	for _, o := range objects {
		data, err := v.store.Get(ctx, o.Key)
		if err != nil {
			return err
		}
		if err := soundClaim(o.Key, f.folder, data, written, first); err != nil {
			v.problemf("%s: %v", v.store.URL(o.Key), err)
		}
	}
	return nil
}

// errClaim says that a claim is not what was claimed.
var errClaim = errors.New("it was changed after it was written")

// soundClaim checks one claim, or the note where a partition begins.
func soundClaim(key, folder string, data []byte, written map[Range]File, first map[int32]int64) error {
	if strings.HasSuffix(key, "/first.json") {
		var r Range
		if err := sameJSON(data, &r); err != nil {
			return err
		}
		from, ok := first[r.Partition]
		if key != firstKey(folder, r.Partition) || r.From != r.To || ok && from != r.From {
			return errClaim
		}
		return nil
	}
	var c claim
	if err := sameJSON(data, &c); err != nil {
		return err
	}
	if key != claimKey(folder, c.Partition, c.From) || c.Sum != "" && c.Sum != c.sum() {
		return errClaim
	}
	file, ok := written[Range{Partition: c.Partition, From: c.From}]
	if ok && (file.To != c.To || file.Hour != c.Hour) {
		return fmt.Errorf("%w: it claims %s, and the file holds %s", errClaim, c.Range, file.Range)
	}
	return nil
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
