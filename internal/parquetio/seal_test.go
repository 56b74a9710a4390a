package parquetio

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"testing"
)

// TestSealFindsAnyByte changes each byte of a file in turn.
func TestSealFindsAnyByte(t *testing.T) {
	t.Parallel()
	file, err := Encode(clicks(1, 20), Notes{"a": "1"})
	if err != nil {
		t.Fatal(err)
	}
	digest := func(b []byte) Digest {
		t.Helper()
		d, err := ReadDigest(t.Context(), bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	sum := sha256.Sum256(file)
	if got, want := digest(file), (Digest{SHA256: hex.EncodeToString(sum[:]), IsSealed: true, IsIntact: true}); got != want {
		t.Fatalf("got %+v, want %+v", got, want)
	}
	for i := range file {
		file[i] ^= 1
		if got := digest(file); got.IsIntact || got.SHA256 == hex.EncodeToString(sum[:]) {
			t.Fatalf("byte %d of %d was changed: got %+v", i, len(file), got)
		}
		file[i] ^= 1
	}
	for _, other := range [][]byte{nil, []byte("PAR1"), bytes.Repeat([]byte{255}, 100), file[:len(file)-1]} {
		if got := digest(other); got.IsIntact {
			t.Errorf("%d bytes that are no file: got %+v", len(other), got)
		}
	}
}

// TestDigestOfManyBytes: the seal may lie across what is read at a time.
func TestDigestOfManyBytes(t *testing.T) {
	t.Parallel()
	file, err := Encode(clicks(2, 20_000), nil)
	if err != nil {
		t.Fatal(err)
	}
	for shift := 0; shift < 4*sealBytes; shift += 24 {
		moved := append(bytes.Repeat([]byte{7}, digestBuffer-len(file)%digestBuffer+shift), file...)
		at, _, err := findSeal(bytes.NewReader(moved))
		if err != nil {
			t.Fatal(err)
		}
		copy(moved[at:], sealEmpty)
		if err := seal(moved); err != nil {
			t.Fatal(err)
		}
		if d, err := ReadDigest(t.Context(), bytes.NewReader(moved)); err != nil || !d.IsIntact {
			t.Fatalf("shifted by %d: got %+v, %v", shift, d, err)
		}
	}
}

// BenchmarkReadDigest reads a file of 100,000 clicks.
func BenchmarkReadDigest(b *testing.B) {
	const n = 100_000
	file, err := Encode(clicks(1, n), nil)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(file)))
	for b.Loop() {
		if d, err := ReadDigest(b.Context(), bytes.NewReader(file)); err != nil || !d.IsIntact {
			b.Fatalf("got %+v, %v", d, err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/click")
}
