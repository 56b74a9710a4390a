package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/clickledger/clickledger/internal/clickhouseio"
	"github.com/clickledger/clickledger/internal/kafkaio"
	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/serving"
)

const (
	probeAdvertiser = "adv_bench_probe"
	probeEvery      = 200 * time.Millisecond
	probePoll       = 25 * time.Millisecond
	probeLate       = 90 * time.Second // a probe that is not visible by then is lost
	warmUpLimit     = 3 * time.Minute
)

// freshness is how long marked clicks took from acknowledged to visible.
type freshness struct {
	Probes    int   `json:"probes"`
	P50Millis int64 `json:"p50_millis"`
	P99Millis int64 `json:"p99_millis"`
	MaxMillis int64 `json:"max_millis"`
}

// prober writes marked clicks to the log and looks for their rows in the serving store.
type prober struct {
	producer *kafkaio.Producer
	store    serving.Store

	mu    sync.Mutex
	n     int
	acked map[string]time.Time // by ad, of those not visible yet
	took  []time.Duration
}

func openProber(ctx context.Context, config string) (*prober, error) {
	doc, err := os.ReadFile(config)
	if err != nil {
		return nil, err
	}
	var places struct {
		Log     string `yaml:"log"`
		Serving string `yaml:"serving"`
	}
	if err := yaml.Unmarshal(doc, &places); err != nil {
		return nil, fmt.Errorf("read %s: %w", config, err)
	}
	brokers, err := kafkaio.ParseURL(places.Log)
	if err != nil {
		return nil, err
	}
	p := &prober{acked: map[string]time.Time{}}
	if p.producer, err = kafkaio.OpenProducer(ctx, brokers, kafkaio.ProducerOptions{}); err != nil {
		return nil, err
	}
	store, err := clickhouseio.Open(ctx, places.Serving, clickhouseio.Options{})
	if err != nil {
		p.close()
		return nil, err
	}
	p.store = store
	return p, nil
}

func (p *prober) close() {
	_ = p.producer.Close() // nothing is under way
	if p.store != nil {
		_ = p.store.Close()
	}
}

// send writes one marked click and notes when it was acknowledged.
func (p *prober) send(ctx context.Context) error {
	p.mu.Lock()
	p.n++
	ad := fmt.Sprintf("ad_probe_%06d", p.n)
	p.mu.Unlock()
	now := time.Now()
	c := schemas.RawClick{ClickID: []byte("clk_" + ad), AdID: []byte(ad), AdvertiserID: []byte(probeAdvertiser), CampaignID: []byte("cmp_probe"),
		UserID: []byte("usr_" + ad), CostPerClick: 0.01, Timestamp: now.UnixMilli(), ReceivedAt: now.UnixMicro()}
	err := p.producer.ProduceAll(ctx, []kafkaio.OutRecord{{Topic: schemas.TopicClicks, Partition: -1, Key: c.ClickID, Value: c.AppendTo(nil),
		TimestampMicros: now.UnixMicro()}})
	if err != nil {
		return err
	}
	p.mu.Lock()
	p.acked[ad] = time.Now()
	p.mu.Unlock()
	return nil
}

// look asks for the rows of marked clicks once.
func (p *prober) look(ctx context.Context) error {
	t, err := p.store.Query(ctx, "select ad_id from csp_analytics.ad_clicks_hourly final where advertiser_id = '"+probeAdvertiser+
		"' and click_minute >= now() - interval 3 minute")
	if err != nil {
		return err
	}
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, row := range t.Rows {
		ad, _ := row[0].(string)
		if at, ok := p.acked[ad]; ok {
			p.took = append(p.took, now.Sub(at))
			delete(p.acked, ad)
		}
	}
	return nil
}

func (p *prober) waiting() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.acked)
}

// run sends and looks until it is stopped.
func (p *prober) run(ctx context.Context) error {
	send, poll := time.NewTicker(probeEvery), time.NewTicker(probePoll)
	defer send.Stop()
	defer poll.Stop()
	var sends sync.WaitGroup
	defer sends.Wait()
	failed := make(chan error, 1)
	for {
		var err error
		select {
		case <-ctx.Done():
			return nil
		case err = <-failed:
		case <-send.C:
			sends.Go(func() {
				if err := p.send(ctx); err != nil && ctx.Err() == nil {
					select {
					case failed <- err:
					default:
					}
				}
			})
		case <-poll.C:
			err = p.look(ctx)
		}
		if err != nil && ctx.Err() == nil {
			return err
		}
	}
}

// measure sends clicks for a time, after another, and waits until all are visible.
func (p *prober) measure(ctx context.Context, after, during time.Duration) (freshness, error) {
	select {
	case <-ctx.Done():
		return freshness{}, ctx.Err()
	case <-time.After(after):
	}
	running, stop := context.WithTimeout(ctx, during)
	defer stop()
	if err := p.run(running); err != nil {
		return freshness{}, err
	}
	return p.finish(ctx)
}

// warmUp sends clicks until one is visible, and forgets them.
func (p *prober) warmUp(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, warmUpLimit)
	defer cancel()
	done := make(chan error, 1)
	running, stop := context.WithCancel(ctx)
	defer stop()
	go func() { done <- p.run(running) }()
	for {
		select {
		case err := <-done:
			return fmt.Errorf("no click became visible within %s: %w", warmUpLimit, err)
		case <-time.After(probePoll):
		}
		p.mu.Lock()
		seen := len(p.took)
		p.mu.Unlock()
		if seen > 0 {
			stop()
			if err := <-done; err != nil {
				return err
			}
			_, err := p.finish(ctx)
			return err
		}
	}
}

// finish waits for the clicks that are not visible yet, and begins anew.
func (p *prober) finish(ctx context.Context) (freshness, error) {
	ctx, cancel := context.WithTimeout(ctx, probeLate)
	defer cancel()
	for p.waiting() > 0 {
		if err := p.look(ctx); err != nil {
			return freshness{}, fmt.Errorf("%d marked clicks never became visible: %w", p.waiting(), err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(probePoll):
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	slices.Sort(p.took)
	f := freshness{Probes: len(p.took)}
	if n := len(p.took); n > 0 {
		f.P50Millis, f.P99Millis = p.took[n/2].Milliseconds(), p.took[min(n-1, n*99/100)].Milliseconds()
		f.MaxMillis = p.took[n-1].Milliseconds()
	}
	p.took = p.took[:0]
	return f, nil
}
