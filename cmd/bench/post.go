package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"github.com/clickledger/clickledger/internal/bench"
	"github.com/clickledger/clickledger/internal/embedpg"
	"github.com/clickledger/clickledger/internal/ledgerpg"
	"github.com/clickledger/clickledger/internal/money"
)

const (
	// namePost is the posting to the ledger.
	namePost = "post"
	// transferClients make transfers at once, for transferTime.
	transferClients  = 8
	transferTime     = 10 * time.Second
	transferAccounts = 10_000
)

//go:embed transfer.sql
var transferSQL string

// post measures posting to an embedded PostgreSQL with its default settings, and transfers one by one
// in the same database.
func (s *settings) post(ctx context.Context) (_ *bench.Posting, err error) {
	fmt.Fprintf(os.Stderr, "bench: %s\n", namePost)
	dir := filepath.Join(s.Dir, "postgres")
	if err := errors.Join(os.Chmod(s.Dir, 0o755), os.MkdirAll(dir, 0o755)); err != nil { // the server's user is not root
		return nil, err
	}
	server, err := embedpg.Start(ctx, embedpg.Config{Dir: dir, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, server.Stop()) }()
	if err := ledgerpg.Migrate(ctx, server.DSN); err != nil {
		return nil, err
	}
	ledger, err := ledgerpg.Open(ctx, server.DSN)
	if err != nil {
		return nil, err
	}
	defer ledger.Close()
	p := &bench.Posting{Advertisers: s.Advertisers, Clients: transferClients}
	if err := s.transfers(ctx, server.DSN, p); err != nil {
		return nil, fmt.Errorf("%s: transfers: %w", namePost, err)
	}
	advertisers, charges := make([]ledgerpg.Advertiser, s.Advertisers), make([]ledgerpg.Charge, s.Advertisers)
	for i := range advertisers {
		id := fmt.Sprintf("advertiser-%07d", i)
		advertisers[i] = ledgerpg.Advertiser{ID: id, Name: "Advertiser " + id}
		charges[i] = ledgerpg.Charge{AdvertiserID: id, SpendMicros: money.Micros(i*37 + 1), Clicks: int64(i), InvalidClicks: 1}
	}
	if _, err := ledger.RegisterAdvertisers(ctx, advertisers); err != nil {
		return nil, err
	}
	for i, into := range []*bench.PostedDay{&p.First, &p.Next} {
		request := ledgerpg.PostRequest{BillingDate: day.AddDate(0, 0, i), Currency: "USD", PolicyHash: "bench", RunID: "bench", Charges: charges}
		start, cpu := time.Now(), serverCPU(server.PID)
		posted, err := ledger.Post(ctx, request)
		if err != nil {
			return nil, err
		}
		if posted.PostedEntries != s.Advertisers {
			return nil, fmt.Errorf("%s: %d entries of %d advertisers", namePost, posted.PostedEntries, s.Advertisers)
		}
		into.WallSeconds, into.ServerCPUSeconds = time.Since(start).Seconds(), (serverCPU(server.PID) - cpu).Seconds()
		into.EntriesPerSecond = float64(posted.PostedEntries) / into.WallSeconds
	}
	p.Ratio = p.First.EntriesPerSecond / p.TransfersPerSecond
	return p, nil
}

// serverCPU is what the server and its backends have used so far.
func serverCPU(pid int) time.Duration {
	r := serviceRun{pids: map[string]int{namePost: pid}}
	return r.sample()[namePost].cpu
}

// transfers makes transfers of two postings, each in a transaction of its own, for a while.
func (s *settings) transfers(ctx context.Context, dsn string, p *bench.Posting) error {
	config, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		return err
	}
	config.MaxConns = transferClients
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return err
	}
	defer pool.Close()
	if _, err := pool.Exec(ctx, transferSQL); err != nil {
		return err
	}
	var count atomic.Int64
	start := time.Now()
	group, ctx := errgroup.WithContext(ctx)
	for client := range transferClients {
		group.Go(func() error {
			random := rand.New(rand.NewPCG(s.Seed, uint64(client)))
			for time.Since(start) < transferTime {
				from := 1 + random.Int64N(transferAccounts)
				to := 1 + (from+random.Int64N(transferAccounts-1))%transferAccounts
				if _, err := pool.Exec(ctx, "select bench_transfer($1, $2, $3)", from, to, 1+random.Int64N(1_000_000)); err != nil {
					return err
				}
				count.Add(1)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	p.Transfers, p.TransferSeconds = count.Load(), time.Since(start).Seconds()
	p.TransfersPerSecond = float64(p.Transfers) / p.TransferSeconds
	return nil
}
