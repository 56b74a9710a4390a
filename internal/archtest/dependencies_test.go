package archtest

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestDependenciesHaveReasons compares the modules that our packages import, tests included, with
// docs/dependencies.md.
func TestDependenciesHaveReasons(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "dependencies.md"))
	if err != nil {
		t.Fatal(err)
	}
	listed, _, _ := bytes.Cut(text, []byte("\n## Tools\n"))
	var reasons []string
	for _, row := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\| .{3,} \\|$").FindAllSubmatch(listed, -1) {
		reasons = append(reasons, string(row[1]))
	}
	required, err := os.ReadFile(filepath.Join("..", "..", "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range reasons {
		if !bytes.Contains(required, []byte("\t"+path+" v")) {
			t.Errorf("docs/dependencies.md lists %s, which go.mod does not need", path)
		}
	}
	for _, path := range imported(t) {
		if !slices.Contains(reasons, path) {
			t.Errorf("%s has no reason in docs/dependencies.md", path)
		}
	}
}

// imported returns the modules of all packages that ours import directly.
func imported(t *testing.T) []string {
	t.Helper()
	packages := modules(t, "list", "-e", "-f",
		`{{range .Imports}}{{.}}{{"\n"}}{{end}}{{range .TestImports}}{{.}}{{"\n"}}{{end}}{{range .XTestImports}}{{.}}{{"\n"}}{{end}}`,
		module+"/...")
	packages = slices.DeleteFunc(packages, func(path string) bool {
		_, own := relative(path)
		first, _, _ := strings.Cut(path, "/")
		return own || !strings.Contains(first, ".")
	})
	if len(packages) == 0 {
		t.Fatal("no package imports anything: nothing is tested")
	}
	return modules(t, append([]string{"list", "-e", "-f", "{{with .Module}}{{.Path}}{{end}}"}, packages...)...)
}

// modules runs the go command and returns the distinct lines that it prints, sorted.
func modules(t *testing.T, args ...string) []string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(args[:2], " "), err, &stderr)
	}
	lines := strings.Fields(string(out))
	slices.Sort(lines)
	return slices.Compact(lines)
}
