// Package demo shows the whole loop, on embedded parts or on real services: it drives real clicks and impressions through the gateway
// over HTTP, lets stream and archiver work, judges the days again in batch, reconciles, posts, and posts
// again to show that nothing is left to post.
package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/clickledger/clickledger/internal/kafkaio"
	"github.com/clickledger/clickledger/internal/ledgerpg"
	"github.com/clickledger/clickledger/internal/loadgen"
	"github.com/clickledger/clickledger/jobs/archive"
	"github.com/clickledger/clickledger/jobs/batch"
	"github.com/clickledger/clickledger/jobs/gateway"
	"github.com/clickledger/clickledger/jobs/generate"
	"github.com/clickledger/clickledger/jobs/reconcile"
	"github.com/clickledger/clickledger/jobs/standalone"
	"github.com/clickledger/clickledger/jobs/stream"
	"github.com/clickledger/clickledger/schemas/policy"
)

// Defaults of Config.
const (
	DefaultClicks      = 110_000
	DefaultRate        = 4_000
	DefaultImpressions = 4
	DefaultSeed        = 1
)

// Config configures the demo.
type Config struct {
	Dir    string // a work folder of its own; created if need be
	Clicks int64  // default DefaultClicks
	Rate   float64
	// Impressions is about how many come with each click; 0 is none. That of the one who clicks goes over HTTP, those
	// of others straight to the log, so that two cores have the time.
	Impressions float64
	Seed        uint64
	Policy      *policy.Policy
	PolicyFile  string // named in the written configuration; may be empty
	Partitions  int
	// Places are real services in place of embedded parts. They may hold earlier clicks.
	Places standalone.Places
	// Stream tunes the speed layer; the places, the policy and the run's name are filled in.
	Stream  stream.Config
	RunID   string
	Version string
}

// Deps are what the demo works with.
type Deps struct {
	Logger   *slog.Logger
	Progress func(stage string, done, total int64) // may be nil
	// Started is called when the parts run, with the file that names their places. May be nil.
	Started func(configFile, gatewayURL string)
}

// Report is the outcome, the document report.json.
type Report struct {
	Dir    string `json:"dir"`
	Config string `json:"config"`
	Seed   uint64 `json:"seed"`
	Policy string `json:"policy_hash"`
	// Places are the URLs of log, archive, serving store and ledger, without passwords.
	Places []string `json:"places"`
	// RecordsBefore are the clicks that the log held before this run. Where there are any, the figures
	// of the days and of the ledger include those of earlier runs.
	RecordsBefore int64           `json:"records_before"`
	Elapsed       string          `json:"elapsed"`
	Generate      generate.Result `json:"generate"`
	standalone.Result
	Days []Day `json:"days"`
	// PostedAgain is how many entries a second posting of the same days made: 0.
	PostedAgain int         `json:"posted_again"`
	Ledger      LedgerTotal `json:"ledger"`
	IsClean     bool        `json:"is_clean"`
}

// Day is one billing day that the clicks fell into.
type Day struct {
	Batch     batch.Result      `json:"batch"`
	Reconcile *reconcile.Report `json:"reconcile"`
}

// LedgerTotal is the whole ledger afterwards.
type LedgerTotal struct {
	Entries        int64 `json:"entries"`
	DebitMicros    int64 `json:"debit_micros"`
	CreditMicros   int64 `json:"credit_micros"`
	SuspenseMicros int64 `json:"suspense_micros"`
	IsVerified     bool  `json:"is_verified"`
}

// ReportFile is the name of the report in the work folder.
const ReportFile = "report.json"

// Run runs the demo. The parts are stopped when it returns; the folder stays.
func Run(ctx context.Context, cfg Config, deps Deps) (_ *Report, err error) {
	cfg = cfg.withDefaults()
	if deps.Logger == nil {
		deps.Logger = slog.New(slog.DiscardHandler)
	}
	if deps.Progress == nil {
		deps.Progress = func(string, int64, int64) {}
	}
	begun := time.Now()
	deps.Progress("start log, archive, serving store, ledger", 0, 1)
	stack, err := standalone.Open(ctx, standalone.StackConfig{Dir: cfg.Dir, PolicyFile: cfg.PolicyFile, Partitions: cfg.Partitions, Places: cfg.Places, Logger: deps.Logger})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, stack.Close()) }()
	d := &demo{cfg: cfg, deps: deps, stack: stack, begun: begun, report: &Report{Dir: stack.Dir, Config: stack.Config(), Seed: cfg.Seed, Policy: cfg.Policy.Hash()}}
	if err := d.look(ctx); err != nil {
		return nil, err
	}
	if err := d.clicks(ctx); err != nil {
		return nil, err
	}
	if err := d.settle(ctx); err != nil {
		return nil, err
	}
	d.report.Elapsed = time.Since(begun).Round(100 * time.Millisecond).String()
	doc, err := json.MarshalIndent(d.report, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write report: %w", err)
	}
	if err := os.WriteFile(filepath.Join(stack.Dir, ReportFile), append(doc, '\n'), 0o644); err != nil {
		return nil, fmt.Errorf("write report: %w", err)
	}
	return d.report, nil
}

func (c Config) withDefaults() Config {
	if c.Clicks == 0 {
		c.Clicks = DefaultClicks
	}
	if c.Rate == 0 {
		c.Rate = DefaultRate
	}
	if c.Seed == 0 {
		c.Seed = DefaultSeed
	}
	if c.Policy == nil {
		c.Policy = policy.Default()
	}
	return c
}

// demo is one run.
type demo struct {
	cfg    Config
	deps   Deps
	stack  *standalone.Stack
	begun  time.Time
	report *Report
	// impressionsBefore is what the log held of them before this run.
	impressionsBefore int64
}

// clicks runs the speed layer while clicks come in, and drains it.
func (d *demo) clicks(ctx context.Context) error {
	listening, address := standalone.Listen()
	jobs := d.stack.Start(ctx, standalone.Config{
		Gateway: standalone.ForTrial(gateway.Config{Listen: "127.0.0.1:0", CountryHeader: generate.DefaultCountryHeader}),
		Stream:  d.stream(),
		Archive: archive.Config{Policy: d.cfg.Policy, FlushInterval: 10 * time.Second},
	}, standalone.Deps{Logger: d.deps.Logger, Listening: listening})
	addr, err := address(ctx, jobs)
	if err != nil {
		return err
	}
	if d.deps.Started != nil {
		d.deps.Started(d.stack.Config(), "http://"+addr)
	}
	if err := d.generate(ctx, "http://"+addr); err != nil {
		return err
	}
	d.deps.Progress("drain stream and archive", 0, 1)
	d.report.Result, err = jobs.Drain(ctx)
	if err != nil {
		return err
	}
	return errors.Join(d.checkArchived(ctx), d.checkImpressions(ctx))
}

// generate registers the advertisers, all but one, and sends clicks and impressions as browsers would.
func (d *demo) generate(ctx context.Context, gatewayURL string) (err error) {
	load := loadgen.DefaultConfig(d.cfg.Seed, d.cfg.Clicks, time.Now().UnixMilli(), d.cfg.Rate)
	load.ImpressionsPerClick = d.cfg.Impressions
	if err := d.register(ctx, load); err != nil {
		return err
	}
	brokers, err := kafkaio.ParseURL(d.stack.Log)
	if err != nil {
		return err
	}
	producer, err := kafkaio.OpenProducer(ctx, brokers, kafkaio.ProducerOptions{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, producer.Close()) }()
	d.report.Generate, err = generate.Run(ctx, generate.Config{Load: load, Gateway: gatewayURL, BrokenToLog: true, AudienceToLog: true, Pace: true},
		generate.Deps{Producer: producer, Logger: d.deps.Logger, Progress: func(_ string, done, total int64) {
			d.deps.Progress("click through the gateway over HTTP", done, total)
		}})
	return err
}

// register adds the advertisers to the ledger. One is left out: his charges go to suspense.
func (d *demo) register(ctx context.Context, load loadgen.Config) error {
	gen, err := loadgen.New(load)
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	var list []ledgerpg.Advertiser
	gen.Ads(func(_, advertiserID, _ string) {
		if !seen[advertiserID] {
			seen[advertiserID] = true
			list = append(list, ledgerpg.Advertiser{ID: advertiserID, Name: "Advertiser " + advertiserID})
		}
	})
	_, err = d.stack.Ledger.RegisterAdvertisers(ctx, list[:max(len(list)-1, 0)])
	return err
}

// settle judges, reconciles and posts every day that the clicks fell into, and posts again.
func (d *demo) settle(ctx context.Context) error {
	days, err := d.days(ctx)
	if err != nil {
		return err
	}
	d.report.IsClean = true
	for _, date := range days {
		name := date.Format(time.DateOnly)
		result, err := batch.Run(ctx, batch.Config{Archive: d.stack.Archive, Date: date, Policy: d.cfg.Policy,
			RunID: d.cfg.RunID + "-batch-" + name, Version: d.cfg.Version}, batch.Deps{Logger: d.deps.Logger,
			Progress: func(stage string, done, total int64) { d.deps.Progress("batch "+name+": "+stage, done, total) }})
		if err != nil {
			return err
		}
		report, err := d.reconcile(ctx, date)
		if err != nil {
			return err
		}
		d.report.Days = append(d.report.Days, Day{Batch: result, Reconcile: report})
		d.report.IsClean = d.report.IsClean && report.IsClean()
	}
	for _, date := range days {
		again, err := d.reconcile(ctx, date)
		if err != nil {
			return err
		}
		d.report.PostedAgain += again.PostedEntries
	}
	if d.report.PostedAgain != 0 {
		return fmt.Errorf("posting again made %d entries", d.report.PostedAgain)
	}
	return d.ledger(ctx)
}

func (d *demo) reconcile(ctx context.Context, date time.Time) (*reconcile.Report, error) {
	return reconcile.Run(ctx, reconcile.Config{Archive: d.stack.Archive, Log: d.stack.Log, Date: date, Policy: d.cfg.Policy,
		RunID: d.cfg.RunID, Post: true}, reconcile.Deps{Serving: d.stack.Store, Ledger: d.stack.Ledger, Logger: d.deps.Logger,
		Progress: d.deps.Progress})
}

func (d *demo) ledger(ctx context.Context) error {
	totals, err := d.stack.Ledger.Totals(ctx)
	if err != nil {
		return err
	}
	l := LedgerTotal{Entries: totals.Entries, DebitMicros: int64(totals.DebitMicros), CreditMicros: int64(totals.CreditMicros)}
	for _, item := range totals.Suspense {
		l.SuspenseMicros += int64(item.AmountMicros)
	}
	verified, err := d.stack.Ledger.Verify(ctx)
	if err != nil {
		return err
	}
	l.IsVerified = verified.OK()
	d.report.Ledger = l
	d.report.IsClean = d.report.IsClean && l.IsVerified && l.DebitMicros == l.CreditMicros
	return nil
}
