// Package duckdb embeds the project's DuckDB SQL: the serving store's schema and statements, the
// independent audit, and the analysts' views. One model or statement a file.
package duckdb

import (
	"embed"
	"fmt"
	"strings"
)

//go:embed *.sql
var files embed.FS

// SQL returns the text of the named file, given without its .sql ending. It panics where there is
// no such file: the names are constants of the program.
func SQL(name string) string {
	text, err := files.ReadFile(name + ".sql")
	if err != nil {
		panic(fmt.Sprintf("sql/duckdb: %v", err))
	}
	return string(text)
}

// EscapeGlob makes a path stand for itself where DuckDB would read a pattern.
func EscapeGlob(path string) string {
	return strings.NewReplacer("*", "[*]", "?", "[?]", "[", "[[]").Replace(path)
}
