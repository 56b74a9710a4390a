package snapshot

import (
	"bytes"
	"errors"
	"math"
	"testing"
)

func write() *Writer {
	var w Writer
	for _, v := range []int64{0, -1, 300, math.MinInt64, math.MaxInt64} {
		w.Int(v)
	}
	w.Bool(true)
	w.Bool(false)
	w.Fixed([]byte("fixed"))
	w.Uint64(math.MaxUint64 - 1)
	w.Bytes([]byte("bytes"))
	w.Bytes(nil)
	return &w
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	r := Open(write().Seal())
	for _, want := range []int64{0, -1, 300, math.MinInt64, math.MaxInt64} {
		if got := r.Int(); got != want {
			t.Errorf("got %d, want %d", got, want)
		}
	}
	if !r.Bool() || r.Bool() {
		t.Error("truth values differ")
	}
	if got := r.Fixed(5); string(got) != "fixed" {
		t.Errorf("got %q, want fixed", got)
	}
	if got := r.Uint64(); got != math.MaxUint64-1 {
		t.Errorf("got %d, want %d", got, uint64(math.MaxUint64-1))
	}
	if got := r.Bytes(); string(got) != "bytes" {
		t.Errorf("got %q, want bytes", got)
	}
	if got := r.Bytes(); len(got) != 0 {
		t.Errorf("got %q, want nothing", got)
	}
	if err := r.Err(); err != nil {
		t.Error(err)
	}
}

// TestOpenRefuses damages every byte, cuts at every byte and leaves bytes over.
func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	sealed := write().Seal()
	refused := func(b []byte) bool {
		r := Open(b)
		return errors.Is(r.Err(), ErrMalformed) && r.Int() == 0 && r.Bytes() == nil && r.Count(1) == 0
	}
	for i := range sealed {
		damaged := bytes.Clone(sealed)
		damaged[i] ^= 0x10
		if !refused(damaged) {
			t.Errorf("byte %d damaged: not refused", i)
		}
		if !refused(sealed[:i]) {
			t.Errorf("cut to %d bytes: not refused", i)
		}
	}
	if !refused(append(bytes.Clone(sealed), 0)) {
		t.Error("a byte left over: not refused")
	}
	r := Open(sealed)
	if r.Err() == nil {
		t.Error("what was not read is no error")
	}
}

// TestReaderRefuses reads more than there is.
func TestReaderRefuses(t *testing.T) {
	t.Parallel()
	for name, read := range map[string]func(*Reader){
		"int":            func(r *Reader) { r.Fixed(3); r.Int() },
		"bool":           func(r *Reader) { r.Fixed(3); r.Bool() },
		"uint64":         func(r *Reader) { r.Uint64() },
		"fixed":          func(r *Reader) { r.Fixed(4) },
		"negative fixed": func(r *Reader) { r.Fixed(-1) },
		"count":          func(r *Reader) { r.Count(2) },
		"bytes":          func(r *Reader) { r.Fixed(2); r.Bytes() },
	} {
		r := Reader{Rest: []byte{4, 1, 1}} // the first byte reads as 2
		read(&r)
		if !errors.Is(r.Err(), ErrMalformed) {
			t.Errorf("%s: got %v, want %v", name, r.Err(), ErrMalformed)
		}
	}
	r := Reader{Rest: []byte{4, 1, 1}}
	if r.Count(2) != 0 || r.Err() == nil {
		t.Error("a count of more than fits was read")
	}
	r = Reader{Rest: []byte{3, 1, 1}}
	if r.Count(0) != 0 || r.Err() == nil {
		t.Error("a negative count was read")
	}
}
