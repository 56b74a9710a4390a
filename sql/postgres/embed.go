// Package postgres embeds the ledger's SQL: the migrations, in the form that goose reads, and the
// queries, one per file, named like the file without its ending.
package postgres

import (
	"embed"
	"io/fs"
)

//go:embed migrations/*.sql queries/*.sql
var files embed.FS

// Migrations is the directory of numbered goose migrations.
func Migrations() fs.FS {
	migrations, err := fs.Sub(files, "migrations")
	if err != nil {
		panic(err) // the directory is embedded above
	}
	return migrations
}

// Query returns the text of queries/<name>.sql. It panics for an unknown name, which is a
// programming error.
func Query(name string) string {
	text, err := files.ReadFile("queries/" + name + ".sql")
	if err != nil {
		panic(err)
	}
	return string(text)
}
