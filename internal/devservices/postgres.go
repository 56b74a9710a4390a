package devservices

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
)

// postgresPortTimeout is how long the server of a killed parent may take to shut down.
const postgresPortTimeout = 20 * time.Second

// postgres is a private server, which the caller's command runs by internal/embedpg.
type postgres struct{ cfg Config }

func newPostgres(cfg Config) *program {
	return &program{
		cfg: cfg, name: "postgres", version: "the machine's, or pinned", service: &postgres{cfg: cfg},
		address:     "postgres://" + PostgresUser + "@" + cfg.address(portPostgres) + "/" + PostgresDatabase,
		ports:       []int{cfg.port(portPostgres)},
		portTimeout: postgresPortTimeout,
	}
}

// fetch has nothing to do: the command finds or fetches the server.
func (p *postgres) fetch(context.Context, func(string)) error { return nil }

func (p *postgres) command(context.Context) (command, error) {
	dir := p.cfg.data("postgres")
	// The server takes the password that it finds here; without one it would make a random one.
	password := filepath.Join(dir, "password")
	if _, err := os.Stat(password); err != nil {
		if err := writeFile(password, PostgresPassword+"\n", 0o600); err != nil {
			return command{}, err
		}
	}
	args := append([]string{}, p.cfg.Postgres...)
	return command{
		args:        append(args, "--dir", dir, "--port", strconv.Itoa(p.cfg.port(portPostgres))),
		environment: os.Environ(), // the command keeps it from the server
	}, nil
}

func (p *postgres) probe(ctx context.Context) error {
	config, err := pgx.ParseConfig("postgres://" + p.cfg.address(portPostgres) + "/" + PostgresDatabase + "?sslmode=disable")
	if err != nil {
		return err
	}
	config.User, config.Password = PostgresUser, PostgresPassword
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	var one int
	return conn.QueryRow(ctx, "select 1").Scan(&one)
}

func (p *postgres) furnish(context.Context) error { return nil }
