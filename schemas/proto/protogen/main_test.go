package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// TestCheckedInCodeIsCurrent generates the code and compares it with what is checked in.
func TestCheckedInCodeIsCurrent(t *testing.T) {
	t.Chdir("..")
	sources, err := find(".")
	if err != nil {
		t.Fatal(err)
	}
	request, err := compile(t.Context(), sources)
	if err != nil {
		t.Fatal(err)
	}
	response, err := generate(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := len(response.File), len(sources); got != want {
		t.Errorf("got %d files, want %d", got, want)
	}
	for _, f := range response.File {
		checkedIn, err := os.ReadFile(filepath.Join(moduleDir, filepath.FromSlash(f.GetName())))
		if err != nil {
			t.Error(err)
			continue
		}
		if !bytes.Equal(checkedIn, []byte(f.GetContent())) {
			t.Errorf("%s is not what its contract gives: run go generate ./schemas/proto", f.GetName())
		}
	}
}
