package embedkafka

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/clickledger/clickledger/schemas"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// childVariable makes the test binary run a broker in the directory that it names.
const childVariable = "CLICKLEDGER_TEST_BROKER_CHILD"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childVariable); dir != "" {
		s, err := Start(context.Background(), Config{Dir: dir, Partitions: 2})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println(s.Addr())
		select {} // until it is killed
	}
	os.Exit(m.Run())
}

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func start(t *testing.T, cfg Config) *Server {
	t.Helper()
	s, err := Start(testContext(t), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func client(t *testing.T, addr string, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(addr)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

// produce writes n numbered records of two years ago to partition 1 of clicks.
func produce(t *testing.T, addr string, from, n int) {
	t.Helper()
	cl := client(t, addr, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	defer cl.Close() // while the broker lives: after that it takes a second
	var recs []*kgo.Record
	for i := from; i < from+n; i++ {
		recs = append(recs, &kgo.Record{
			Topic: schemas.TopicClicks, Partition: 1, Value: []byte(strconv.Itoa(i)), Timestamp: time.Now().AddDate(-2, 0, 0),
		})
	}
	if err := cl.ProduceSync(testContext(t), recs...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

// consume wants the records 0 to n-1, once each, in order.
func consume(t *testing.T, addr string, n int) {
	t.Helper()
	cl := client(t, addr, kgo.FetchMaxBytes(64<<20), kgo.FetchMaxPartitionBytes(32<<20), kgo.ConsumePartitions(
		map[string]map[int32]kgo.Offset{schemas.TopicClicks: {1: kgo.NewOffset().At(0)}}))
	defer cl.Close()
	for got := 0; got < n; {
		fetches := cl.PollFetches(testContext(t))
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		for _, r := range fetches.Records() {
			if string(r.Value) != strconv.Itoa(got) || r.Offset != int64(got) {
				t.Fatalf("at %d: got offset %d, value %s", got, r.Offset, r.Value)
			}
			got++
		}
	}
}

func TestRestartKeepsTheLog(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := start(t, Config{Dir: dir, Partitions: 2})
	produce(t, s.Addr(), 0, 1000)
	s.cluster.ApplyRetention() // as the broker does by itself from time to time
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	again := start(t, Config{Dir: dir, Partitions: 7, TopicPartitions: map[string]int{"extra": 1}}) // another port
	produce(t, again.Addr(), 1000, 10)
	consume(t, again.Addr(), 1010)
	topics, err := kadm.NewClient(client(t, again.Addr())).ListTopics(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	for topic, want := range map[string]int{
		schemas.TopicClicks: 2, schemas.TopicImpressions: 2, schemas.TopicDLQ: 2, schemas.TopicDecisions: 2, "extra": 1,
	} {
		if got := len(topics[topic].Partitions); got != want {
			t.Errorf("%s: got %d partitions, want %d", topic, got, want)
		}
	}
}

func TestKillNineKeepsWhatWasAcknowledged(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	total := 0
	for round := range 4 {
		cmd := exec.CommandContext(testContext(t), exe)
		cmd.Env = append(os.Environ(), childVariable+"="+dir)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		if !lines.Scan() {
			t.Fatal("the broker did not start")
		}
		addr := lines.Text()
		consume(t, addr, total)
		produce(t, addr, total, 500+round)
		total += 500 + round
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // says that it was killed
	}
	s := start(t, Config{Dir: dir})
	consume(t, s.Addr(), total)
}

func TestLargeRecordsAndLoopback(t *testing.T) {
	t.Parallel()
	s := start(t, Config{Dir: t.TempDir()})
	cl := client(t, s.Addr(), kgo.ProducerBatchMaxBytes(32<<20))
	for topic, sizes := range map[string][2]int{ // the largest that fits, and one that does not
		schemas.TopicClicks: {clicksBytesMax - 1000, clicksBytesMax + 1}, schemas.TopicDLQ: {forwardBytesMax - 1000, forwardBytesMax + 1},
		schemas.TopicDecisions: {clicksBytesMax + 1000, forwardBytesMax + 1},
	} {
		for i, size := range sizes {
			value := make([]byte, size)
			_, _ = rand.NewChaCha8([32]byte{1}).Read(value) // nothing that compresses
			err := cl.ProduceSync(testContext(t), &kgo.Record{Topic: topic, Value: value}).FirstErr()
			if (err == nil) != (i == 0) {
				t.Errorf("%s, %d bytes: got %v", topic, size, err)
			}
		}
	}
	host, _, err := net.SplitHostPort(s.Addr())
	if err != nil || host != "127.0.0.1" || s.URL() != "kafka://"+s.Addr() {
		t.Fatalf("got %s, %v", s.Addr(), err)
	}
}

func TestStartErrors(t *testing.T) {
	t.Parallel()
	err := Config{Port: -1, Partitions: -1, TopicPartitions: map[string]int{"x": 0}}.Validate()
	for _, key := range []string{"dir", "port", "partitions", "topic_partitions.x"} {
		if err == nil || !strings.Contains(err.Error(), key+": ") {
			t.Errorf("%s is not named in %v", key, err)
		}
	}
	dir := t.TempDir()
	s := start(t, Config{Dir: dir})
	if _, err := Start(testContext(t), Config{Dir: dir}); err == nil || !strings.Contains(err.Error(), dir) ||
		!strings.Contains(err.Error(), "another process") {
		t.Errorf("two brokers in one directory: got %v", err)
	}
	_, port, _ := net.SplitHostPort(s.Addr())
	n, _ := strconv.Atoi(port)
	if _, err := Start(testContext(t), Config{Dir: t.TempDir(), Port: n}); err == nil {
		t.Error("a taken port was taken again")
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Start(testContext(t), Config{Dir: file}); err == nil {
		t.Error("a file was taken for a directory")
	}
}
