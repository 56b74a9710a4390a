package clickhouseio

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	sqlclick "github.com/clickledger/clickledger/sql/clickhouse"
)

// Codes of the server's exceptions.
const (
	codeUnknownTable    = 60
	codeUnknownDatabase = 81
)

// Migrate makes the database and its tables, or brings them up to date. Each step can be repeated,
// so a migration that was interrupted is run again, and two at a time do no harm.
func Migrate(ctx context.Context, rawURL string, opts Options) (err error) {
	s, err := connect(ctx, rawURL, opts)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	done, err := s.loadVersion(ctx)
	if err != nil && !errors.Is(err, ErrNotMigrated) {
		return fmt.Errorf("migrate %s: %w", s.place, err)
	}
	steps := sqlclick.Migrations()
	for i, name := range steps {
		version := uint32(i + 1)
		if version <= done {
			continue
		}
		if err := s.conn.Exec(ctx, s.sql(name)); err != nil {
			return fmt.Errorf("migrate %s: %s: %w", s.place, name, err)
		}
		if version < 2 {
			continue // there is no table to note it in yet
		}
		if err := s.insertRow(ctx, "migration_insert", version, name, time.Now().UTC()); err != nil {
			return fmt.Errorf("migrate %s: %s: %w", s.place, name, err)
		}
	}
	return nil
}

// loadVersion returns the version of the tables; 0 and ErrNotMigrated where there are none.
func (s *Store) loadVersion(ctx context.Context) (version uint32, err error) {
	err = s.conn.QueryRow(ctx, s.sql("version_load")).Scan(&version)
	if e, ok := errors.AsType[*clickhouse.Exception](err); ok && (e.Code == codeUnknownTable || e.Code == codeUnknownDatabase) {
		return 0, fmt.Errorf("%w: there are none in database %s", ErrNotMigrated, s.database)
	}
	return version, err
}
