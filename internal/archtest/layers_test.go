package archtest

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/clickledger/clickledger"

// goPackage is what the tests need of an entry of `go list -json`.
type goPackage struct {
	ImportPath, Name, Dir string
	Standard              bool
	Imports               []string
	Deps                  []string
	GoFiles, CgoFiles     []string
}

// layer is one row of the rule: a package at from (and below it) may import packages at the places
// in may and below them, itself, and nothing else of this module. The first row that fits counts.
type layer struct {
	from string
	may  []string
	why  string
}

// adapter is what an adapter in internal/ may import.
var adapter = []string{"schemas", "sql", "internal/money", "internal/clock"}

var layers = []layer{
	{"internal/money", nil, "money is at the bottom"},
	{"internal/clock", nil, "the clock is at the bottom"},
	{"internal/archtest", nil, "it has no code"},
	{"internal/oracle", []string{"schemas", "internal/money"}, "the oracle must not share code with what it judges"},
	{"internal/auditduck", []string{"sql", "schemas/policy", "internal/money", "internal/clock"}, "the audit must share no code with what it audits, but the policy's numbers"},
	{"internal/fetch", nil, "package managers are at the bottom"},
	{"internal/devservices", append([]string{"internal/fetch"}, adapter...), "it fetches services"},
	{"internal/browsertest", []string{"internal/fetch"}, "it is for tests, and fetches a browser"},
	{"internal/servicestest", []string{"internal/devservices", "internal/devflink"}, "it is for tests, and fetches services"},
	{"internal/s3test", []string{"internal/devservices", "internal/servicestest"}, "it is for tests, and runs a service"},
	{"internal/redistest", []string{"internal/servicestest"}, "it is for tests, and runs a service"},
	{"internal/clickhousetest", []string{"internal/devservices", "internal/servicestest"}, "it is for tests, and runs a service"},
	{"internal", adapter, "an adapter knows the contracts and the SQL, no jobs and no other adapter"},
	{"sql", nil, "SQL files import nothing"},
	{"schemas", []string{"schemas", "internal/money"}, "contracts are at the bottom"},
	{"transforms", []string{"transforms", "schemas", "internal/money"}, "transforms know no adapter and no job"},
	{"pipelines", []string{"pipelines", "transforms", "schemas", "internal/money"}, "pipelines know no adapter and no job"},
	{"jobs", []string{"jobs", "pipelines", "transforms", "schemas", "sql", "internal"}, "jobs join the parts, and know no command"},
	{"cmd", []string{"jobs", "schemas", "sql", "internal"}, "commands reach transforms and pipelines through jobs"},
}

// within is true if the package at rel, relative to the module, is at place or below it.
func within(rel, place string) bool { return rel == place || strings.HasPrefix(rel, place+"/") }

// unit is the folder of an adapter, whose packages may import each other.
func unit(rel string) string {
	parts := strings.SplitN(rel, "/", 3)
	return path.Join(parts[:min(2, len(parts))]...)
}

// violation says what is wrong with an import between two packages of the module, if anything is.
func violation(from, to string) string {
	if within(to, "internal/oracle") && !within(from, "internal/oracle") {
		return "the oracle is for tests"
	}
	if unit(from) == unit(to) {
		return ""
	}
	for _, l := range layers {
		if !within(from, l.from) {
			continue
		}
		if slices.ContainsFunc(l.may, func(place string) bool { return within(to, place) }) {
			return ""
		}
		return l.why
	}
	return "the package is in no known layer"
}

// list returns the packages of the module, and by import path all those that they depend on.
func list(t *testing.T) (own []goPackage, all map[string]goPackage) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-e", "-deps",
		"-json=ImportPath,Name,Dir,Standard,Imports,Deps,GoFiles,CgoFiles", module+"/...")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, &stderr)
	}
	all = map[string]goPackage{}
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p goPackage
		err := dec.Decode(&p)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("read go list: %v", err)
		}
		all[p.ImportPath] = p
		if _, ok := relative(p.ImportPath); ok {
			own = append(own, p)
		}
	}
	if len(own) < 2 {
		t.Fatalf("go list knows %d packages of the module: nothing is tested", len(own))
	}
	return own, all
}

// relative returns an import path without the module's, and whether it is of the module at all.
func relative(importPath string) (string, bool) {
	if importPath == module {
		return ".", true
	}
	return strings.CutPrefix(importPath, module+"/")
}

func TestDirectionOfImports(t *testing.T) {
	t.Parallel()
	own, _ := list(t)
	for _, p := range own {
		from, _ := relative(p.ImportPath)
		for _, imported := range p.Imports {
			to, ours := relative(imported)
			if why := violation(from, to); ours && why != "" {
				t.Errorf("%s imports %s: %s", from, to, why)
			}
		}
	}
}

// TestRule tries the rule itself on imports that must pass and on those that must not.
func TestRule(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		from, to string
		allowed  bool
	}{
		{"cmd/clickledger", "jobs/batch", true},
		{"cmd/clickledger", "internal/config", true},
		{"cmd/clickledger", "transforms/dedup", false},
		{"cmd/clickledger", "pipelines/clicks", false},
		{"jobs/stream", "pipelines/clicks", true},
		{"jobs/stream", "internal/kafkaio", true},
		{"jobs/stream", "cmd/clickledger", false},
		{"jobs/stream", "internal/oracle", false},
		{"pipelines/clicks", "transforms/dedup", true},
		{"pipelines/clicks", "internal/kafkaio", false},
		{"pipelines/clicks", "jobs/stream", false},
		{"transforms/dedup", "transforms/channel", true},
		{"transforms/dedup", "schemas/policy", true},
		{"transforms/dedup", "internal/money", true},
		{"transforms/dedup", "internal/clock", false},
		{"transforms/dedup", "pipelines/clicks", false},
		{"schemas", "schemas/clickpb", true},
		{"schemas", "internal/money", true},
		{"schemas", "transforms/dedup", false},
		{"internal/kafkaio", "schemas", true},
		{"internal/kafkaio", "internal/clock", true},
		{"internal/kafkaio", "internal/parquetio", false},
		{"internal/kafkaio/inner", "internal/kafkaio", true},
		{"internal/kafkaio", "jobs/stream", false},
		{"internal/money", "schemas", false},
		{"internal/moneybag", "schemas", true},
		{"internal/auditduck", "sql/duckdb", true},
		{"internal/auditduck", "schemas/policy", true},
		{"internal/auditduck", "schemas", false},
		{"internal/oracle", "transforms/dedup", false},
		{"sql/postgres", "schemas", false},
		{"tools", "schemas", false},
	} {
		if why := violation(tc.from, tc.to); (why == "") != tc.allowed {
			t.Errorf("%s imports %s: %q, want allowed %t", tc.from, tc.to, why, tc.allowed)
		}
	}
}

// TestForeignImports keeps heavy or impure modules out of the layers that must not know them,
// through any number of imports.
func TestForeignImports(t *testing.T) {
	t.Parallel()
	own, all := list(t)
	const beam = "github.com/apache/beam/"
	for _, rule := range []struct {
		from      string
		forbidden []string
	}{
		{"schemas", []string{beam, "database/sql", "net/http"}},
		{"internal/money", []string{beam, "database/sql", "net/http"}},
		{"internal/oracle", []string{beam}},
		{"internal/auditduck", []string{beam}},
		{"internal/config", []string{beam}},
	} {
		for _, p := range own {
			if from, _ := relative(p.ImportPath); !within(from, rule.from) {
				continue
			}
			for _, dep := range p.Deps {
				i := slices.IndexFunc(rule.forbidden, func(f string) bool { return strings.HasPrefix(dep, f) })
				if i >= 0 {
					t.Errorf("%s depends on %s: %s must not know %s", p.ImportPath, all[dep].ImportPath, rule.from, rule.forbidden[i])
					break
				}
			}
		}
	}
	// Direct imports: the transforms' own clients would be of these.
	for _, p := range own {
		from, _ := relative(p.ImportPath)
		if !within(from, "transforms") && !within(from, "pipelines") {
			continue
		}
		for _, imported := range p.Imports {
			for _, bad := range []string{
				"net/http", "database/sql", "os", "flag", "github.com/twmb/", "github.com/segmentio/",
				"github.com/minio/", "github.com/jackc/", "github.com/duckdb/", "github.com/parquet-go/",
				"github.com/spf13/",
			} {
				if imported == bad || strings.HasSuffix(bad, "/") && strings.HasPrefix(imported, bad) {
					t.Errorf("%s imports %s: transforms and pipelines have no clients, files or flags", from, imported)
				}
			}
		}
	}
}

func TestNamesOfPackages(t *testing.T) {
	t.Parallel()
	own, _ := list(t)
	for _, p := range own {
		for _, name := range []string{p.Name, path.Base(p.ImportPath)} {
			if slices.Contains([]string{"util", "utils", "common", "helper", "helpers", "models", "misc"}, name) {
				t.Errorf("%s: the name %q says nothing", p.ImportPath, name)
			}
		}
	}
}
