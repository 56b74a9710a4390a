package main

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/clickledger/clickledger/internal/config"
	"github.com/clickledger/clickledger/internal/signedurl"
)

// TestReloadOn: SIGHUP asks for the file of keys as it is then.
func TestReloadOn(t *testing.T) {
	if r, stop := reloadOn(config.Gateway{}); r.Asked != nil || r.Keys != nil || r.Countries != nil {
		stop()
		t.Errorf("without a file: got %+v, want the signal left alone", r)
	}
	path := filepath.Join(t.TempDir(), "keys.txt")
	write := func(ids ...string) {
		t.Helper()
		text := ""
		for _, id := range ids {
			line, err := signedurl.NewKey(id)
			if err != nil {
				t.Fatal(err)
			}
			text += line + "\n"
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("old")
	r, stop := reloadOn(config.Gateway{URLKeysFile: path})
	defer stop()
	if r.Countries != nil {
		t.Error("countries without a file")
	}
	write("old", "new")
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	select {
	case <-r.Asked:
	case <-time.After(10 * time.Second):
		t.Fatal("SIGHUP was not heard")
	}
	if keys, err := r.Keys(); err != nil || len(keys.IDs()) != 2 {
		t.Errorf("got %v, %v, want two keys", keys, err)
	}
	write()
	if keys, err := r.Keys(); err == nil {
		t.Errorf("an empty file: got %v", keys.IDs())
	}
}
