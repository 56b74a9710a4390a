// Package standalone runs the whole of Clickledger on one machine: an embedded Kafka-protocol
// broker, an archive in a folder, a serving store in a DuckDB file and a private PostgreSQL, with
// the gateway, the stream and the archiver working on them in one process. The batch side works
// beside it, as commands on the same folder.
//
// Each of the four can be a real service instead, which is then neither started nor stopped here.
//
// The broker is franz-go's kfake, which its own documentation calls a broker for tests. It keeps
// its log on disk; production takes a real Kafka by its URL.
package standalone

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v3"
	"golang.org/x/sync/errgroup"

	"github.com/clickledger/clickledger/internal/embedkafka"
	"github.com/clickledger/clickledger/internal/embedpg"
	"github.com/clickledger/clickledger/internal/kafkaio"
	"github.com/clickledger/clickledger/internal/ledgerpg"
	"github.com/clickledger/clickledger/internal/objectstore"
	"github.com/clickledger/clickledger/internal/servingduck"
	"github.com/clickledger/clickledger/schemas/serving"
)

// ConfigFile is the file in the folder that names all places, for other commands' --config.
const ConfigFile = "clickledger.yaml"

// StackConfig configures the embedded parts.
type StackConfig struct {
	Dir        string // holds everything; created if need be
	PolicyFile string // named in ConfigFile; may be empty
	// Partitions of the topics when they are created. Default: the broker's.
	Partitions int
	// KafkaPort and LedgerPort on 127.0.0.1; 0 takes free ones.
	KafkaPort, LedgerPort int
	// SyncWrites makes the broker fsync before it acknowledges.
	SyncWrites bool
	// Places are real services in place of embedded parts.
	Places Places
	Logger *slog.Logger
}

// Places names real services. What is empty is embedded.
type Places struct {
	// Log and Archive are URLs; topics that are missing are created.
	Log, Archive string
	// Serving is for ConfigFile; OpenStore opens the store behind it, whose tables are up to date.
	Serving   string
	OpenStore func(ctx context.Context) (serving.Store, error)
	// LedgerDSN holds a password, as in Stack. The ledger's tables are brought up to date.
	LedgerDSN string
	// Settings go into ConfigFile, by their dotted keys: how the places are reached.
	Settings map[string]string
}

// defaultPartitions is how many partitions a missing topic of a named log gets.
const defaultPartitions = 4

// Stack is the running parts.
type Stack struct {
	Dir     string
	Log     string // URLs, as other jobs take them
	Archive string
	Serving string
	// LedgerDSN holds the ledger's password: never log it.
	LedgerDSN string

	Store  serving.Store
	Ledger *ledgerpg.Ledger

	kafka *embedkafka.Server
	pg    *embedpg.Server
}

// Open starts the parts. What is in the folder already is gone on with.
func Open(ctx context.Context, cfg StackConfig) (_ *Stack, err error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("dir: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("dir: %w", err)
	}
	s := &Stack{Dir: dir}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() error { return s.openLog(groupCtx, cfg) })
	group.Go(func() error { return s.openArchive(groupCtx, cfg) })
	group.Go(func() error { return s.openLedger(groupCtx, cfg) })
	group.Go(func() error { return s.openStore(groupCtx, cfg) })
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return s, s.writeConfig(cfg)
}

func (s *Stack) openLog(ctx context.Context, cfg StackConfig) (err error) {
	if cfg.Places.Log == "" {
		s.kafka, err = embedkafka.Start(ctx, embedkafka.Config{Dir: filepath.Join(s.Dir, "kafka"), Port: cfg.KafkaPort,
			Partitions: cfg.Partitions, SyncWrites: cfg.SyncWrites, Logger: cfg.Logger})
		if err == nil {
			s.Log = s.kafka.URL()
		}
		return err
	}
	s.Log = cfg.Places.Log
	brokers, err := kafkaio.ParseURL(s.Log)
	if err != nil {
		return err
	}
	return kafkaio.EnsureTopics(ctx, brokers, cmp.Or(cfg.Partitions, defaultPartitions))
}

// openArchive sees to it that the archive is there.
func (s *Stack) openArchive(ctx context.Context, cfg StackConfig) error {
	s.Archive = cmp.Or(cfg.Places.Archive, "file://"+filepath.Join(s.Dir, "archive"))
	_, err := objectstore.Open(ctx, s.Archive)
	return err
}

func (s *Stack) openStore(ctx context.Context, cfg StackConfig) error {
	if cfg.Places.Serving == "" {
		s.Serving = "duckdb://" + filepath.Join(s.Dir, "serving.duckdb")
		store, err := servingduck.Open(ctx, s.Serving, servingduck.Options{MustOwn: true, Logger: cfg.Logger})
		if err != nil {
			return err // a nil *Store is no nil Store
		}
		s.Store = store
		return nil
	}
	s.Serving = cfg.Places.Serving
	store, err := cfg.Places.OpenStore(ctx)
	if err != nil {
		return err
	}
	s.Store = store
	return nil
}

func (s *Stack) openLedger(ctx context.Context, cfg StackConfig) (err error) {
	if s.LedgerDSN = cfg.Places.LedgerDSN; s.LedgerDSN == "" {
		if s.pg, err = embedpg.Start(ctx, embedpg.Config{Dir: filepath.Join(s.Dir, "postgres"), Port: cfg.LedgerPort, Logger: cfg.Logger}); err != nil {
			return err
		}
		s.LedgerDSN = s.pg.DSN
	}
	if err := ledgerpg.Migrate(ctx, s.LedgerDSN); err != nil {
		return err
	}
	s.Ledger, err = ledgerpg.Open(ctx, s.LedgerDSN)
	return err
}

// writeConfig names the places for the commands that work beside the stack. The file holds the
// ledger's password, and so is for its owner alone.
func (s *Stack) writeConfig(cfg StackConfig) error {
	doc := map[string]any{"log": s.Log, "archive": s.Archive, "serving": s.Serving, "ledger": s.LedgerDSN}
	if cfg.PolicyFile != "" {
		abs, err := filepath.Abs(cfg.PolicyFile)
		if err != nil {
			return fmt.Errorf("policy: %w", err)
		}
		doc["policy"] = abs
	}
	for name, value := range cfg.Places.Settings {
		group, key, nested := strings.Cut(name, ".")
		if !nested {
			doc[name] = value
			continue
		}
		keys, _ := doc[group].(map[string]any)
		if keys == nil {
			keys = map[string]any{}
			doc[group] = keys
		}
		keys[key] = value
	}
	text, err := yaml.Marshal(doc)
	if err != nil {
		return fmt.Errorf("write config: %w", err)
	}
	path := filepath.Join(s.Dir, ConfigFile)
	temp := path + ".tmp"
	if err := os.WriteFile(temp, append([]byte("# Written at every start; the ports change.\n"), text...), 0o600); err != nil {
		return fmt.Errorf("write config: %w", err)
	}
	return os.Rename(temp, path)
}

// Config is the path of the file that names the places.
func (s *Stack) Config() string { return filepath.Join(s.Dir, ConfigFile) }

// brokers are the log's host:port.
func (s *Stack) brokers() []string { return strings.Split(strings.TrimPrefix(s.Log, "kafka://"), ",") }

// Close stops the parts. What they hold stays in the folder.
func (s *Stack) Close() error {
	var errs []error
	if s.Ledger != nil {
		s.Ledger.Close()
	}
	if s.pg != nil {
		errs = append(errs, s.pg.Stop())
	}
	if s.Store != nil {
		errs = append(errs, s.Store.Close())
	}
	if s.kafka != nil {
		errs = append(errs, s.kafka.Close())
	}
	return errors.Join(errs...)
}
