package batch

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/clickledger/clickledger/internal/objectstore"
	"github.com/clickledger/clickledger/internal/parquetio"
	"github.com/clickledger/clickledger/jobs/archive"
)

// ErrChanged says that an object is not what it was written as.
var ErrChanged = errors.New("it was changed after it was written")

// Manifest is run.json: what went in, what came out. It holds no time and no place, so that the
// same inputs give the same bytes.
type Manifest struct {
	Version string `json:"version"` // of the program
	Result  Result `json:"result"`  // the policy's hash is in it
	// OffsetRanges are what the verdicts rest on: the ranges of the inputs that were read.
	OffsetRanges []OffsetRange     `json:"offset_ranges"`
	Inputs       []ManifestInput   `json:"inputs"`
	Outputs      map[string]string `json:"outputs_sha256"`

	// Digest is the SHA-256 of the document, as it was read.
	Digest string `json:"-"`
}

// ManifestInput is one object of the archive that was there.
type ManifestInput struct {
	Key  string `json:"key"`
	Size int64  `json:"size_bytes"`
	Rows int64  `json:"rows"`
	// Offsets is the range of the log that the object holds; nil where neither key nor footer tells.
	Offsets *OffsetRange `json:"offsets,omitempty"`
	// SHA256 is of all its bytes; empty where only its footer was read, since no verdict can rest on it.
	SHA256 string `json:"sha256,omitempty"`
}

// OffsetRange is a range of one partition of the log, both ends inside.
type OffsetRange struct {
	Partition int32 `json:"partition"`
	First     int64 `json:"first_offset"`
	Last      int64 `json:"last_offset"`
}

// manifest lists what went in. All files are there, the bytes of those that were read are digested.
func (s *session) manifest(ctx context.Context, r Result) (Manifest, error) {
	m := Manifest{Version: s.cfg.Version, Result: r, OffsetRanges: []OffsetRange{}, Outputs: map[string]string{}}
	var err error
	isRead := func(f *File) bool { return s.isRead[f.Key] }
	if m.Inputs, err = inputs(ctx, s.store, slices.Concat(s.clicks, s.deadLetters), isRead); err != nil {
		return Manifest{}, err
	}
	for i := range m.Inputs {
		if in := &m.Inputs[i]; in.SHA256 != "" && in.Offsets != nil {
			m.OffsetRanges = append(m.OffsetRanges, *in.Offsets)
		}
	}
	m.OffsetRanges = merged(m.OffsetRanges)
	return m, nil
}

// DigestFiles lists files that were read, for a manifest.
func DigestFiles(ctx context.Context, store objectstore.Store, files []File) ([]ManifestInput, error) {
	return inputs(ctx, store, files, func(*File) bool { return true })
}

func inputs(ctx context.Context, store objectstore.Store, files []File, isRead func(*File) bool) ([]ManifestInput, error) {
	list := make([]ManifestInput, len(files))
	at := map[string]int{}
	for i := range files {
		f := &files[i]
		list[i] = ManifestInput{Key: f.Key, Size: f.Size, Rows: f.Rows, Offsets: f.offsets()}
		at[f.Key] = i
	}
	err := eachFile(ctx, files, func(ctx context.Context, f *File) (err error) {
		if isRead(f) {
			list[at[f.Key]].SHA256, err = f.digest(ctx, store)
		}
		return err
	})
	return list, err
}

// digest is the SHA-256 of what was read of a file. A file that is not what its seal says was changed,
// and nothing is billed by it.
func (f *File) digest(ctx context.Context, store objectstore.Store) (sum string, err error) {
	src, err := f.open(ctx, store)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	d, err := parquetio.ReadDigest(ctx, src)
	if err == nil && d.IsSealed && !d.IsIntact {
		err = ErrChanged
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w", store.URL(f.Key), err)
	}
	return d.SHA256, nil
}

// offsets is the file's range by its key, or by its footer where another program named it.
func (f *File) offsets() *OffsetRange {
	if _, key, ok := archive.ParseKey(f.Key); ok {
		return &OffsetRange{Partition: key.Partition, First: key.From, Last: key.To}
	}
	if f.partition == nil || f.offset == nil || f.partition.Min != f.partition.Max {
		return nil
	}
	return &OffsetRange{Partition: int32(f.partition.Min), First: f.offset.Min, Last: f.offset.Max}
}

// merged sorts ranges, and makes one of those that follow each other or overlap.
func merged(ranges []OffsetRange) []OffsetRange {
	slices.SortFunc(ranges, func(a, b OffsetRange) int {
		return cmp.Or(cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.First, b.First), cmp.Compare(a.Last, b.Last))
	})
	out := ranges[:0]
	for _, r := range ranges {
		if n := len(out); n > 0 && out[n-1].Partition == r.Partition && r.First <= out[n-1].Last+1 {
			out[n-1].Last = max(out[n-1].Last, r.Last)
			continue
		}
		out = append(out, r)
	}
	return out
}

// digestField ends a sealed document: the SHA-256 of all that is before it.
const digestField = ",\n  \"document_sha256\": \""

// Seal writes a value, an object with at least one field, as JSON that ends with its own digest. Unseal
// finds any byte of it that is changed.
func Seal(v any) ([]byte, error) {
	doc, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return nil, err
	}
	doc = bytes.TrimSuffix(doc, []byte("\n}"))
	return append(doc, digestField+digestOf(doc)+"\"\n}\n"...), nil
}

// Unseal reads a sealed document. The error wraps ErrChanged where it is not what Seal wrote.
func Unseal(doc []byte, to any) error {
	at := bytes.LastIndex(doc, []byte(digestField))
	if at < 0 {
		return fmt.Errorf("it has no digest: %w", ErrChanged)
	}
	if want := digestField + digestOf(doc[:at]) + "\"\n}\n"; string(doc[at:]) != want {
		return ErrChanged
	}
	return json.Unmarshal(doc, to)
}

func digestOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// LoadManifest reads the manifest of a result. The error wraps ErrChanged where it is not as it was
// written.
func LoadManifest(ctx context.Context, store objectstore.Store, run RunKey) (*Manifest, error) {
	doc, err := store.Get(ctx, run.Prefix+ManifestFile)
	if err != nil {
		return nil, err
	}
	m := &Manifest{}
	if err := Unseal(doc, m); err != nil {
		return nil, fmt.Errorf("%s: %w", store.URL(run.Prefix+ManifestFile), err)
	}
	m.Digest = digestOf(doc)
	return m, nil
}
