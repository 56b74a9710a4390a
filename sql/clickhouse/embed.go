// Package clickhouse embeds the project's ClickHouse SQL: the tables and views of the serving store,
// and the statements of internal/clickhouseio. One model or statement a file.
//
// The files name the lesson's database, csp_analytics, and run as they are; a store in another
// database has its name put in their place.
package clickhouse

import (
	"embed"
	"fmt"
	"regexp"
	"strings"
)

// DefaultDatabase is the database of the lesson.
const DefaultDatabase = "csp_analytics"

//go:embed *.sql
var files embed.FS

// migrations are the files that make the tables and views, in order. One that was released is never
// changed: what changes comes as a further file at the end. Each is one statement that can be repeated.
var migrations = []string{
	"csp_analytics",
	"schema_migrations",
	"ad_clicks_hourly",
	"ad_clicks_hourly_durable",
	"minutes_provisional",
	"minutes_final",
	"final_days",
	"stream_progress",
	"ad_clicks_hourly_from_provisional",
	"ad_clicks_hourly_from_final",
	"ad_clicks_by_hour",
	"ad_clicks_by_day",
	"ad_impressions_hourly",
	"stream_progress_policy_from",
	"stream_progress_stored_at",
}

// Migrations returns the names of the files that make the tables and views, in order: the version
// of a file is its place, from 1.
func Migrations() []string { return append([]string(nil), migrations...) }

var database = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// CheckDatabase returns an error for a name that a store's database cannot have.
func CheckDatabase(name string) error {
	if !database.MatchString(name) {
		return fmt.Errorf("database %q: want letters, digits and underscores", name)
	}
	return nil
}

// SQL returns the text of the named file, given without its .sql ending, for a database that
// CheckDatabase accepts. It panics where there is no such file or database: files are constants of
// the program, and databases are checked before.
func SQL(name, database string) string {
	text, err := files.ReadFile(name + ".sql")
	if err != nil {
		panic(fmt.Sprintf("sql/clickhouse: %v", err))
	}
	if err := CheckDatabase(database); err != nil {
		panic("sql/clickhouse: " + err.Error())
	}
	return strings.ReplaceAll(string(text), DefaultDatabase, database)
}
