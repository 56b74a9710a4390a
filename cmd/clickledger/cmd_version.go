package main

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version is set by the linker: the tag or commit that was built.
var version = "dev"

type versionResult struct {
	Version string `json:"version"`
	Go      string `json:"go"`
	OS      string `json:"os"`
	Arch    string `json:"arch"`
	Beam    string `json:"beam,omitempty"`
	DuckDB  string `json:"duckdb,omitempty"`
}

func newVersionCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version of the program and of what it is built on",
		Long: `Prints the version of the program, of Go and of the two libraries on which
results may depend, Beam and the DuckDB driver.`,
		Example: `  clickledger version
  clickledger version --json`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			r := versionResult{Version: version, Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH}
			if info, ok := debug.ReadBuildInfo(); ok {
				for _, dep := range info.Deps {
					switch dep.Path {
					case "github.com/apache/beam/sdks/v2":
						r.Beam = dep.Version
					case "github.com/duckdb/duckdb-go/v2":
						r.DuckDB = dep.Version
					}
				}
			}
			return a.result(r, func(w io.Writer) error {
				_, err := fmt.Fprintf(w, "clickledger %s (%s, %s/%s)\n", r.Version, r.Go, r.OS, r.Arch)
				return err
			})
		},
	}
}
