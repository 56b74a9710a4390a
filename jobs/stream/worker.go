package stream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/clickledger/clickledger/internal/clickhouseio"
	"github.com/clickledger/clickledger/internal/kafkaio"
	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/policy"
	"github.com/clickledger/clickledger/schemas/serving"
	"github.com/clickledger/clickledger/transforms/shardstate"
)

// Spec is what the DoFns of a job carry in their fields. It is part of the job graph: it names
// places and what holds their secrets, and holds none.
type Spec struct {
	RunID string
	// Log is the broker's URL, and Login how brokers are spoken to.
	Log   string
	Login Login
	// Topic is what is counted.
	Topic string
	// Store is where rows and progress go; without a URL they are counted alone.
	Store Place

	PolicyYAML string
	Shards     int
	// Epoch is the upper bits of every row's version.
	Epoch uint64
	// PolicyFromMillis goes into the progress; see serving.Progress.
	PolicyFromMillis int64
	// Start is the progress that was stored when the job began.
	Start serving.Progress
	// Starts are the offsets at which partitions begin of which nothing is known, by partition.
	Starts []int64

	PublishMillis, PollWaitMillis int64
	PollRecords, InFlightClicks   int
	// UntilEnd ends every partition at the end of the log.
	UntilEnd bool
}

// Login says how brokers are spoken to; see kafkaio.Security. The password is in the first line
// of a file, else in a variable of the environment.
type Login struct {
	TLS                            bool
	CAFile, CertFile, KeyFile      string
	Mechanism, User                string
	PasswordFile, PasswordVariable string
}

// Place is a URL without a password, and where the password is: in the first line of a file, else
// in a variable of the environment.
type Place struct{ URL, PasswordFile, PasswordVariable string }

// worker is what the DoFns of one job share in one process.
type worker struct {
	spec     Spec
	policy   *policy.Policy
	client   *kafkaio.Client
	producer *kafkaio.Producer
	store    rowStore // on Flink; nil where rows are only counted

	tally
	failure            atomic.Pointer[error]
	draining, stopping atomic.Bool

	readings  sync.Map                         // partition -> *reading, of a source on Flink
	recent    recentRecords                    // of a source on Flink
	published atomic.Pointer[serving.Progress] // by this process, on Flink
	gate      gate
}

// tally counts what this process has done.
type tally struct {
	records, judged, dead, rows, spend atomic.Int64
	byVerdict                          [5]atomic.Int64
	byRule                             [len(schemas.RuleNames)]atomic.Int64
}

// remoteWorkers are those of jobs that were submitted by another process, by run ID.
var remoteWorkers = struct {
	sync.Mutex
	open map[string]*remoteWorker
}{open: map[string]*remoteWorker{}}

type remoteWorker struct {
	*worker
	users int
}

// workerOf returns the worker of a job: the one that its Run has put into this process, or one of
// this process's own, which the caller gives back by releaseWorker.
func workerOf(spec Spec) (*worker, error) {
	if s, err := sessionOf(spec.RunID); err == nil {
		return s.worker, nil
	}
	if spec.Log == "" {
		return nil, fmt.Errorf("stream run %s is not of this process", spec.RunID)
	}
	remoteWorkers.Lock()
	defer remoteWorkers.Unlock()
	if r, ok := remoteWorkers.open[spec.RunID]; ok {
		r.users++
		return r.worker, nil
	}
	w, err := openWorker(context.Background(), spec)
	if err != nil {
		return nil, fmt.Errorf("open worker of run %s: %w", spec.RunID, err)
	}
	remoteWorkers.open[spec.RunID] = &remoteWorker{worker: w, users: 1}
	return w, nil
}

// releaseWorker gives back what workerOf returned; nil is nothing. The last one closes it.
func releaseWorker(w *worker) error {
	if w == nil {
		return nil
	}
	remoteWorkers.Lock()
	defer remoteWorkers.Unlock()
	r, ok := remoteWorkers.open[w.spec.RunID]
	if !ok || r.worker != w {
		return nil
	}
	if r.users--; r.users > 0 {
		return nil
	}
	delete(remoteWorkers.open, w.spec.RunID)
	shardstate.Forget(w.spec.RunID)
	err := w.close()
	if s, ok := w.store.(interface{ Close() error }); ok {
		err = errors.Join(err, s.Close())
	}
	return err
}

// openWorker opens a worker by its Spec alone.
func openWorker(ctx context.Context, spec Spec) (*worker, error) {
	w := &worker{spec: spec}
	var err error
	if w.policy, err = (shardstate.Config{PolicyYAML: spec.PolicyYAML}).Policy(); err != nil {
		return nil, err
	}
	if err := spec.Login.use(); err != nil {
		return nil, err
	}
	if err := w.connect(ctx); err != nil {
		return nil, errors.Join(err, w.close())
	}
	if spec.Store.URL != "" {
		store, err := spec.Store.open(ctx)
		if err != nil {
			return nil, errors.Join(err, w.close())
		}
		w.store = store
	}
	return w, nil
}

// connect opens the clients of the log.
func (w *worker) connect(ctx context.Context) error {
	brokers, err := kafkaio.ParseURL(w.spec.Log)
	if err != nil {
		return err
	}
	if w.client, err = kafkaio.Connect(ctx, brokers, kafkaio.Options{}); err != nil {
		return err
	}
	w.producer, err = kafkaio.OpenProducer(ctx, brokers, kafkaio.ProducerOptions{})
	return err
}

// close closes the clients of the log.
func (w *worker) close() error {
	var err error
	if w.producer != nil {
		err = w.producer.Close()
	}
	if w.client != nil {
		w.client.Close()
	}
	return err
}

// fail remembers the first error of a DoFn: a runner reports it wrapped in many words.
func (w *worker) fail(err error) error {
	if err != nil {
		w.failure.CompareAndSwap(nil, &err)
		w.stopping.Store(true)
	}
	return err
}

// keepsDecisions reports whether decisions and dead letters are written: for what is billed.
func (w *worker) keepsDecisions() bool { return w.spec.Topic != schemas.TopicImpressions }

func (w *worker) skew(logMillis int64) int64 {
	return w.policy.At(logMillis).AllowedSkew.Milliseconds()
}

func (w *worker) latenessMillis() int64 {
	return policy.Max(w.policy, func(r *policy.Revision) int64 { return r.AllowedLateness.Milliseconds() })
}

// wasDecided reports whether a click was decided before the restart: its turn came before the
// published watermark, and its record was among those judged by then. The turn alone does not say
// so: an idle time may have moved that watermark beyond where the log alone moves it now.
func (w *worker) wasDecided(b *schemas.Block, i int) bool {
	return b.JudgeMillis[i] < w.spec.Start.WatermarkMillis && b.Offset[i] < w.spec.Start.NextOffsets[b.Partition[i]]
}

// use makes this process speak to brokers so.
func (l Login) use() error {
	if l == (Login{}) {
		return nil
	}
	password, err := secret(l.PasswordFile, l.PasswordVariable)
	if err != nil {
		return fmt.Errorf("read the password of the log: %w", err)
	}
	return kafkaio.Use(kafkaio.Security{TLS: l.TLS, CAFile: l.CAFile, CertFile: l.CertFile, KeyFile: l.KeyFile,
		Mechanism: l.Mechanism, User: l.User, Password: password})
}

// open opens the store. Only ClickHouse is one that several processes can write.
func (p Place) open(ctx context.Context) (*clickhouseio.Store, error) {
	u, err := url.Parse(p.URL)
	if err != nil || u.Scheme != "clickhouse" {
		return nil, errNotShared
	}
	if _, isSet := u.User.Password(); !isSet {
		password, err := secret(p.PasswordFile, p.PasswordVariable)
		if err != nil {
			return nil, fmt.Errorf("read the password of the serving store: %w", err)
		}
		if password != "" {
			u.User = url.UserPassword(cmp.Or(u.User.Username(), "default"), password)
		}
	}
	return clickhouseio.Open(ctx, u.String(), clickhouseio.Options{})
}

// secret is the first line of a file, or without one the value of a variable; both may be empty.
func secret(file, variable string) (string, error) {
	if file == "" {
		return os.Getenv(variable), nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	line, _, _ := strings.Cut(string(text), "\n")
	return strings.TrimSuffix(line, "\r"), nil
}
