// Package treetest reads whole folders, for tests that compare what two runs have written.
package treetest

import (
	"io/fs"
	"os"
	"testing"
)

// Read returns the content of every file below a folder, by its path in it with slashes.
func Read(t testing.TB, dir string) map[string][]byte {
	t.Helper()
	files, tree := map[string][]byte{}, os.DirFS(dir)
	err := fs.WalkDir(tree, ".", func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			files[path], err = fs.ReadFile(tree, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}
