// Package embedkafka runs a Kafka-protocol broker inside the process, with its log in a directory.
//
// The broker is franz-go's kfake, which its authors call a broker for tests. It is the embedded
// default of a single machine; a production log is a real Kafka, by URL. It listens on the loopback
// interface only, speaks the Kafka protocol to any client, and keeps topics, records and producer
// sequences across a restart, kill -9 included. A record that was acknowledged survives the death of
// the process; it survives the loss of power only with Config.SyncWrites.
package embedkafka

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/clickledger/clickledger/schemas"
	"github.com/twmb/franz-go/pkg/kfake"
)

const (
	// DefaultPartitions is the number of partitions of a topic of which Config says nothing.
	DefaultPartitions = 4
	// MaxPartitions is the most partitions that a topic may have.
	MaxPartitions = 1024

	// clicksBytesMax leaves room for records far over the policy's limit, which become dead letters.
	clicksBytesMax = 8 << 20
	// forwardBytesMax leaves room for such a record and an envelope around it.
	forwardBytesMax = 16 << 20
	// segmentBytes is the size of a log file.
	segmentBytes = 256 << 20

	closeTimeout = 10 * time.Second
)

// Config says where the broker keeps its log and what it serves.
type Config struct {
	// Dir holds the log; it is created if need be. One process at a time may use it. Required.
	Dir string
	// Port is the port on 127.0.0.1; 0 takes a free one.
	Port int
	// Partitions is the number of partitions of each topic that is created; default
	// DefaultPartitions. A topic that is there already keeps the number that it has.
	Partitions int
	// TopicPartitions overrides Partitions by topic, and may name topics of the caller's own.
	TopicPartitions map[string]int
	// SyncWrites fsyncs every batch before it is acknowledged.
	SyncWrites bool
	// Logger gets the broker's errors; default none.
	Logger *slog.Logger
}

// Validate reports every problem of the configuration at once.
func (c Config) Validate() error {
	var errs []error
	if c.Dir == "" {
		errs = append(errs, fmt.Errorf("dir: required"))
	}
	if c.Port < 0 || c.Port > math.MaxUint16 {
		errs = append(errs, fmt.Errorf("port: %d is not in 0-%d", c.Port, math.MaxUint16))
	}
	if c.Partitions < 0 || c.Partitions > MaxPartitions {
		errs = append(errs, fmt.Errorf("partitions: %d is not in 1-%d", c.Partitions, MaxPartitions))
	}
	for _, name := range sortedKeys(c.TopicPartitions) {
		if n := c.TopicPartitions[name]; n < 1 || n > MaxPartitions {
			errs = append(errs, fmt.Errorf("topic_partitions.%s: %d is not in 1-%d", name, n, MaxPartitions))
		}
	}
	return joinErrors("embedded kafka", errs)
}

// Server is a running broker.
type Server struct {
	cluster *kfake.Cluster
	addr    string
	lock    *os.File
	once    sync.Once
	err     error
}

// Start opens the log in cfg.Dir, creates the topics that are missing and listens. Cancelling ctx
// later does not stop the server: call Close.
func Start(ctx context.Context, cfg Config) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(cfg.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("embedded kafka: %w", err)
	}
	lock, err := lockDir(cfg.Dir)
	if err != nil {
		return nil, err
	}
	opts := []kfake.Opt{
		kfake.NumBrokers(1),
		kfake.Ports(cfg.Port),
		kfake.ClusterID("clickledger"),
		kfake.DataDir(filepath.Join(cfg.Dir, "log")),
		kfake.ListenFn(listenLoopback),
		// A replayed day carries old record times; the broker must never expire by them.
		kfake.BrokerConfigs(map[string]string{"log.retention.ms": "-1", "log.retention.bytes": "-1"}),
	}
	if cfg.SyncWrites {
		opts = append(opts, kfake.SyncWrites())
	}
	if cfg.Logger != nil {
		opts = append(opts, kfake.WithLogger(brokerLogger{cfg.Logger}))
	}
	cluster, err := kfake.NewCluster(opts...)
	if err != nil {
		return nil, joinClose(fmt.Errorf("embedded kafka in %s: %w", cfg.Dir, err), lock)
	}
	s := &Server{cluster: cluster, addr: cluster.ListenAddrs()[0], lock: lock}
	if err := s.createTopics(cfg); err != nil {
		return nil, joinClose(err, s)
	}
	return s, nil
}

// Addr is the broker's host:port.
func (s *Server) Addr() string { return s.addr }

// URL is the broker's address as the configuration names it: kafka://host:port.
func (s *Server) URL() string { return "kafka://" + s.addr }

// Close stops the broker, writes its state to disk and gives up the directory. Closing twice is
// harmless.
func (s *Server) Close() error {
	s.once.Do(func() {
		done := make(chan struct{})
		go func() { s.cluster.Close(); close(done) }()
		select {
		case <-done:
		case <-time.After(closeTimeout):
			s.err = fmt.Errorf("embedded kafka: not closed within %s", closeTimeout)
		}
		if err := s.lock.Close(); s.err == nil && err != nil {
			s.err = fmt.Errorf("embedded kafka: unlock: %w", err)
		}
	})
	return s.err
}

// createTopics creates what is missing; topics that are there stay as they are.
func (s *Server) createTopics(cfg Config) error {
	partitions := map[string]int{}
	for _, t := range []string{
		schemas.TopicClicks, schemas.TopicImpressions, schemas.TopicDLQ, schemas.TopicDecisions,
	} {
		partitions[t] = cfg.Partitions
	}
	maps.Copy(partitions, cfg.TopicPartitions)
	for _, t := range sortedKeys(partitions) {
		if s.cluster.TopicInfo(t) != nil {
			continue
		}
		n := partitions[t]
		if n == 0 {
			n = DefaultPartitions
		}
		if err := s.cluster.CreateTopic(t, int32(n), settings(t)); err != nil {
			return fmt.Errorf("embedded kafka: create topic %s: %w", t, err)
		}
	}
	return nil
}

// settings are a topic's settings: kept for ever, whatever the records' times say.
func settings(topic string) map[string]string {
	bytesMax := clicksBytesMax
	if topic == schemas.TopicDLQ || topic == schemas.TopicDecisions {
		bytesMax = forwardBytesMax
	}
	return map[string]string{
		"cleanup.policy":    "delete",
		"retention.ms":      "-1",
		"retention.bytes":   "-1",
		"segment.bytes":     strconv.Itoa(segmentBytes),
		"max.message.bytes": strconv.Itoa(bytesMax),
	}
}

// listenLoopback refuses any address but the loopback interface's, whatever the library asks for.
func listenLoopback(network, address string) (net.Listener, error) {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	return net.Listen(network, net.JoinHostPort("127.0.0.1", port))
}

// brokerLogger passes the broker's errors and warnings on.
type brokerLogger struct{ log *slog.Logger }

func (l brokerLogger) Logf(level kfake.LogLevel, format string, args ...any) {
	switch level {
	case kfake.LogLevelError:
		l.log.Error("embedded kafka", "error", fmt.Sprintf(format, args...))
	case kfake.LogLevelWarn:
		l.log.Warn("embedded kafka", "error", fmt.Sprintf(format, args...))
	}
}

func joinClose(err error, c io.Closer) error {
	if cerr := c.Close(); cerr != nil {
		return fmt.Errorf("%w (and on closing: %w)", err, cerr)
	}
	return err
}
