// Package ledgerpg keeps the billing ledger in PostgreSQL.
//
// Input: per billing day the absolute billable totals of the advertisers, as the newest batch sees
// them. Output: double-entry journal entries of the differences to what the ledger holds, the
// lesson's billing_ledger rows, and balances, all written in one transaction.
//
// Guarantees: posting is idempotent (the same totals again post nothing) and serialised by an
// advisory lock; debits equal credits per entry and currency; what was posted is never edited;
// advertisers.current_balance is the sum of the advertiser's billing_ledger rows. Amounts are
// int64 micros of one ISO 4217 currency; the DECIMAL(15,4) amounts of billing_ledger are the
// advertiser's cumulative micros, rounded half to even, less what was posted before.
package ledgerpg

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	sqlpostgres "github.com/clickledger/clickledger/sql/postgres"
)

const (
	// connectTimeout bounds one attempt to reach the server.
	connectTimeout = 10 * time.Second
	// maxConnections is the size of a Ledger's pool: one writer and a few readers.
	maxConnections = 4
	// appRole is taken on by every connection of a Ledger, where the server has it: it cannot
	// update or delete anything but balances.
	appRole = "clickledger_app"
	// readRole is taken on by every connection of a reader, where the server has it and the login is a
	// member of it: it can select from what accounts and statements are made of, and nothing else.
	readRole = "clickledger_read"
)

// SQLSTATE codes that are told apart.
const (
	codeInsufficientPrivilege = "42501"
	codeInvalidRole           = "22023"
	codeUniqueViolation       = "23505"
	codeUndefinedTable        = "42P01"
)

// ErrUnreachable is wrapped by errors about a server that does not answer or refuses the login.
var ErrUnreachable = errors.New("ledger is unreachable")

// ErrNotMigrated is wrapped by errors about a database without the ledger's tables.
var ErrNotMigrated = errors.New("ledger lacks tables: run the migrations first")

// Ledger is a pool of connections to one ledger. It is safe for concurrent use.
type Ledger struct {
	pool *pgxpool.Pool
	name string // the URL without its password
}

// Open connects to a migrated ledger. dsn is a postgres:// URL. An error about an unreachable server is one
// line, wraps ErrUnreachable, and names the URL without its password.
func Open(ctx context.Context, dsn string) (*Ledger, error) {
	return open(ctx, dsn, dropPrivileges, nil)
}

// OpenReader is Open for who only reads accounts and statements. Its transactions are read-only, and its
// connections take on the role clickledger_read; a login that is no member of it goes on as with Open.
func OpenReader(ctx context.Context, dsn string) (*Ledger, error) {
	onlyRead := func(ctx context.Context, conn *pgx.Conn) error {
		isTaken, err := takeRole(ctx, conn, readRole)
		if err != nil || isTaken {
			return err
		}
		return dropPrivileges(ctx, conn)
	}
	return open(ctx, dsn, onlyRead, map[string]string{"default_transaction_read_only": "on"})
}

func open(ctx context.Context, dsn string, connected func(context.Context, *pgx.Conn) error, runtime map[string]string) (*Ledger, error) {
	config, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		// The parser's own error quotes the URL.
		return nil, errors.New("open ledger: the URL is not a valid postgres:// URL")
	}
	name := redacted(config.ConnConfig)
	config.MaxConns = maxConnections
	setRuntime(config.ConnConfig)
	maps.Copy(config.ConnConfig.RuntimeParams, runtime)
	config.AfterConnect = connected
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("open ledger %s: %w", name, err)
	}
	ledger := &Ledger{pool: pool, name: name}
	if err := ledger.check(ctx); err != nil {
		pool.Close()
		return nil, err
	}
	return ledger, nil
}

// check reaches the server and looks for the ledger's newest table.
func (l *Ledger) check(ctx context.Context) error {
	if err := l.pool.Ping(ctx); err != nil {
		return unreachable(l.name, err)
	}
	var exists bool
	if err := l.pool.QueryRow(ctx, "select to_regclass('chain_links') is not null").Scan(&exists); err != nil {
		return fmt.Errorf("open ledger %s: %w", l.name, err)
	}
	if !exists {
		return fmt.Errorf("open ledger %s: %w", l.name, ErrNotMigrated)
	}
	return nil
}

// Close ends all connections.
func (l *Ledger) Close() { l.pool.Close() }

// Name is the ledger's URL without its password, for logs and reports.
func (l *Ledger) Name() string { return l.name }

// dropPrivileges takes on the application role, where the server has it and we may.
func dropPrivileges(ctx context.Context, conn *pgx.Conn) error {
	_, err := takeRole(ctx, conn, appRole)
	return err
}

// takeRole reports whether the server has the role and the login may take it on.
func takeRole(ctx context.Context, conn *pgx.Conn, role string) (isTaken bool, err error) {
	_, err = conn.Exec(ctx, "set role "+role)
	if refused, ok := errors.AsType[*pgconn.PgError](err); ok {
		switch refused.Code {
		case codeInsufficientPrivilege, codeInvalidRole:
			return false, nil
		}
	}
	return err == nil, err
}

// Migrate brings the database's tables up to date. It is idempotent, and safe to run from several
// processes at once.
func Migrate(ctx context.Context, dsn string) error {
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		return errors.New("migrate ledger: the URL is not a valid postgres:// URL")
	}
	name := redacted(config)
	setRuntime(config)
	db := stdlib.OpenDB(*config)
	defer db.Close()
	if err := db.PingContext(ctx); err != nil {
		return unreachable(name, err)
	}
	locker, err := lock.NewPostgresSessionLocker()
	if err != nil {
		return fmt.Errorf("migrate ledger %s: %w", name, err)
	}
	provider, err := goose.NewProvider(goose.DialectPostgres, db, sqlpostgres.Migrations(),
		goose.WithSessionLocker(locker))
	if err != nil {
		return fmt.Errorf("migrate ledger %s: %w", name, err)
	}
	if _, err := provider.Up(ctx); err != nil {
		return fmt.Errorf("migrate ledger %s: %w", name, err)
	}
	return nil
}

// setRuntime sets what every connection has, whatever the URL says: the tables are in schema public,
// which their triggers name.
func setRuntime(config *pgx.ConnConfig) {
	config.ConnectTimeout = connectTimeout
	config.RuntimeParams["search_path"] = "public"
	config.RuntimeParams["timezone"] = "UTC"
	config.RuntimeParams["application_name"] = "clickledger"
}

// redacted rebuilds the URL without password and parameters.
func redacted(config *pgx.ConnConfig) string {
	location := url.URL{
		Scheme: "postgres",
		User:   url.User(config.User),
		Host:   net.JoinHostPort(config.Host, strconv.Itoa(int(config.Port))),
		Path:   "/" + config.Database,
	}
	return location.String()
}

// unreachable is one line: the driver's own error repeats every address that it tried, over
// several lines.
func unreachable(name string, err error) error {
	var network *net.OpError
	var refused *pgconn.PgError
	reason := strings.Join(strings.Fields(err.Error()), " ")
	switch {
	case errors.As(err, &refused):
		reason = fmt.Sprintf("%s (SQLSTATE %s)", refused.Message, refused.Code)
	case errors.As(err, &network):
		reason = network.Error()
	case errors.Is(err, context.DeadlineExceeded):
		reason = "no answer in time"
	}
	return fmt.Errorf("connect to %s: %s: %w", name, reason, ErrUnreachable)
}

// inTransaction runs do in one transaction, which it commits unless do fails or asks for a
// rollback.
func (l *Ledger) inTransaction(ctx context.Context, do func(tx pgx.Tx) (commit bool, err error)) error {
	tx, err := l.pool.Begin(ctx)
	if err != nil {
		return l.explain(err)
	}
	// Rolling back after a commit does nothing; after an error of do, that error is the one that counts.
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	commit, err := do(tx)
	if err != nil || !commit {
		return err
	}
	return tx.Commit(ctx)
}

// explain turns a failure to get a connection into the one clear line.
func (l *Ledger) explain(err error) error {
	var connect *pgconn.ConnectError
	var refused *pgconn.PgError
	switch {
	case errors.As(err, &connect):
		return unreachable(l.name, err)
	case errors.As(err, &refused) && refused.Code == codeUndefinedTable:
		return fmt.Errorf("%w: %w", ErrNotMigrated, err)
	}
	return err
}
