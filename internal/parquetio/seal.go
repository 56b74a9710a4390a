package parquetio

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
)

// noteSeal is the note that seals a file: the SHA-256 of all its bytes, where those of the note's own
// value count as zeros. So any byte that is changed is found without a record elsewhere. Who changes a
// file and seals it anew is found by the digests in the results of the batch.
const noteSeal = "clickledger.sha256"

// sealBytes is the length of the seal in hexadecimal.
const sealBytes = 2 * sha256.Size

// sealEmpty is the seal of a file that is about to be sealed.
var sealEmpty = strings.Repeat("0", sealBytes)

// sealMark is how the note begins in the footer's Thrift: two texts, each with its length.
var sealMark = []byte("\x18" + string(rune(len(noteSeal))) + noteSeal + "\x18" + string(rune(sealBytes)))

// digestBuffer is how much of a file is read at a time.
const digestBuffer = 1 << 20

// errSeal says that a file that was about to be sealed has no place for it.
var errSeal = errors.New("the footer has no place for the seal")

// seal writes the seal of a file that has an empty one.
func seal(file []byte) error {
	at := bytes.LastIndex(file, append(bytes.Clone(sealMark), sealEmpty...))
	if at < 0 {
		return errSeal
	}
	sum := sha256.Sum256(file)
	hex.Encode(file[at+len(sealMark):], sum[:])
	return nil
}

// Digest is what the bytes of a file come to.
type Digest struct {
	SHA256 string // of all bytes, in hexadecimal
	// IsSealed: whoever wrote the file left its seal in it. IsIntact: it is what the seal says.
	IsSealed, IsIntact bool
}

// ReadDigest reads all bytes of a file. It need not be Parquet: what is none has no seal.
func ReadDigest(ctx context.Context, src Source) (Digest, error) {
	at, want, err := findSeal(src)
	if err != nil {
		return Digest{}, fmt.Errorf("read seal: %w", err)
	}
	all, sealed := sha256.New(), sha256.New()
	buf := make([]byte, min(digestBuffer, src.Size()))
	for off := int64(0); off < src.Size(); {
		if err := ctx.Err(); err != nil {
			return Digest{}, err
		}
		part := buf[:min(digestBuffer, src.Size()-off)]
		if n, err := src.ReadAt(part, off); n < len(part) {
			return Digest{}, fmt.Errorf("read at %d: %w", off, errors.Join(err, io.ErrUnexpectedEOF))
		}
		_, _ = all.Write(part) // a hash takes everything
		if want != "" {
			for i := max(at, off); i < min(at+sealBytes, off+int64(len(part))); i++ {
				part[i-off] = '0'
			}
			_, _ = sealed.Write(part)
		}
		off += int64(len(part))
	}
	d := Digest{SHA256: hex.EncodeToString(all.Sum(nil)), IsSealed: want != ""}
	d.IsIntact = d.IsSealed && hex.EncodeToString(sealed.Sum(nil)) == want
	return d, nil
}

// findSeal returns the seal of a file and where it is; empty where it has none.
func findSeal(src Source) (at int64, seal string, err error) {
	const trailer = 8 // the footer's length and a magic number
	size := src.Size()
	if size < trailer {
		return 0, "", nil
	}
	end := make([]byte, min(size, footerBytes))
	if n, err := src.ReadAt(end, size-int64(len(end))); n < len(end) {
		return 0, "", err
	}
	length := int64(binary.LittleEndian.Uint32(end[len(end)-trailer:])) + trailer
	if length > int64(len(end)) && length <= size {
		end = make([]byte, length)
		if n, err := src.ReadAt(end, size-length); n < len(end) {
			return 0, "", err
		}
	}
	found := bytes.LastIndex(end, sealMark)
	if found < 0 || found+len(sealMark)+sealBytes > len(end) {
		return 0, "", nil
	}
	from := found + len(sealMark)
	return size - int64(len(end)) + int64(from), string(end[from : from+sealBytes]), nil
}
