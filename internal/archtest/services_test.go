package archtest

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// needsServices matches what a test contains that starts real services.
var needsServices = regexp.MustCompile(`"CLICKLEDGER_TEST_SERVICES"|/internal/(clickhousetest|redistest|s3test|servicestest)"`)

// TestServicesPackages compares the packages that `make test-services` runs with those whose tests
// need real services.
func TestServicesPackages(t *testing.T) {
	t.Parallel()
	makefile, err := os.ReadFile(filepath.Join("..", "..", "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	_, list, _ := strings.Cut(strings.ReplaceAll(string(makefile), "\\\n", " "), "\nSERVICES_PKG ?= ")
	list, _, _ = strings.Cut(list, "\n")
	var want []string
	for name, text := range goFiles(t) {
		if strings.HasSuffix(name, "_test.go") && needsServices.Match(text) && path.Dir(name) != "internal/archtest" {
			want = append(want, "./"+path.Dir(name))
		}
	}
	slices.Sort(want)
	if got := strings.Fields(list); !slices.Equal(got, slices.Compact(want)) {
		t.Errorf("SERVICES_PKG is %q, want %q", got, slices.Compact(want))
	}
}
