package archtest

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	// maxLines leaves a little room above the 400 lines that a file should have.
	maxLines     = 450
	maxMainLines = 49
)

// goFiles returns every Go file of the module, tests included, by its slash path from the root.
func goFiles(t *testing.T) map[string][]byte {
	t.Helper()
	root := filepath.Join("..", "..")
	files := map[string][]byte{}
	err := filepath.WalkDir(root, func(name string, entry os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if base := entry.Name(); name != root && (base == "bin" || base == "testdata" || strings.HasPrefix(base, ".")) {
				return filepath.SkipDir
			}
			return nil
		}
		if filepath.Ext(name) != ".go" {
			return nil
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, name)
		files[filepath.ToSlash(rel)] = text
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 2 {
		t.Fatalf("found %d Go files: nothing is tested", len(files))
	}
	return files
}

func TestSizeOfFiles(t *testing.T) {
	t.Parallel()
	for name, text := range goFiles(t) {
		limit := maxLines
		if name == "cmd/clickledger/main.go" {
			limit = maxMainLines
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), name, text, parser.PackageClauseOnly|parser.ParseComments)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if lines := bytes.Count(text, []byte("\n")); lines > limit && !ast.IsGenerated(parsed) {
			t.Errorf("%s has %d lines, more than %d", name, lines, limit)
		}
	}
}

// uses returns the places in a file that call time.Now and its kin, or import a package of random
// numbers, whatever name the file gives them.
func uses(name string, text []byte) ([]string, error) {
	fset := token.NewFileSet()
	parsed, err := parser.ParseFile(fset, name, text, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	var found []string
	clock := ""
	for _, spec := range parsed.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return nil, err
		}
		switch imported {
		case "math/rand", "math/rand/v2":
			found = append(found, fset.Position(spec.Pos()).String()+": imports "+imported)
		case "time":
			clock = "time"
			if spec.Name != nil {
				clock = spec.Name.Name
			}
		}
	}
	ast.Inspect(parsed, func(n ast.Node) bool {
		selector, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		pkg, ok := selector.X.(*ast.Ident)
		clocks := []string{"Now", "Since", "Until", "After", "AfterFunc", "Tick", "NewTicker", "NewTimer", "Sleep"}
		if ok && clock != "" && pkg.Name == clock && slices.Contains(clocks, selector.Sel.Name) {
			found = append(found, fset.Position(n.Pos()).String()+": time."+selector.Sel.Name)
		}
		return true
	})
	return found, nil
}

func TestNoClockBelowTheJobs(t *testing.T) {
	t.Parallel()
	for name, text := range goFiles(t) {
		folder, _, _ := strings.Cut(name, "/")
		if strings.HasSuffix(name, "_test.go") || !slices.Contains([]string{"transforms", "pipelines", "schemas"}, folder) {
			continue
		}
		found, err := uses(name, text)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, use := range found {
			t.Errorf("%s: pass a value or a function down from the job", use)
		}
	}
}

// TestClockIsFound tries the search itself.
func TestClockIsFound(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]int{
		`import "time"; var x = time.Second`:                         0,
		`import "time"; var x = time.UnixMilli(0)`:                   0,
		`type t struct{}; func (t) Now() int { return 0 }`:           0,
		`import "time"; var x = time.Now()`:                          1,
		`import "time"; var now = time.Now`:                          1,
		`import clock "time"; func f() { clock.Sleep(clock.Now()) }`: 2,
		`import "math/rand/v2"; var x = rand.Int()`:                  1,
	} {
		found, err := uses("x.go", []byte("package x; "+body))
		if err != nil || len(found) != want {
			t.Errorf("%s: found %q, %v, want %d", body, found, err, want)
		}
	}
}

// TestFlagsAreDefinedInCommands: only cmd knows flags; a job has a Config.
func TestFlagsAreDefinedInCommands(t *testing.T) {
	t.Parallel()
	for name, text := range goFiles(t) {
		if strings.HasPrefix(name, "cmd/") || strings.HasSuffix(name, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), name, text, parser.ImportsOnly)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, spec := range parsed.Imports {
			switch {
			case strings.HasPrefix(name, "internal/config/"): // reads the flags that the commands have defined
			case strings.HasPrefix(name, "internal/beamrunner/"): // tells Beam that its own flags are parsed
			case name == "internal/flinkrunner/worker.go": // parses the flags of Beam's boot program
			case spec.Path.Value == `"flag"`, spec.Path.Value == `"github.com/spf13/pflag"`:
				t.Errorf("%s imports %s: flags are defined in cmd alone", name, spec.Path.Value)
			}
		}
	}
}
