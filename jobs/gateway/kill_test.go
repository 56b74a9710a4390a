package gateway

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/clickledger/clickledger/internal/embedkafka"
	"github.com/clickledger/clickledger/internal/gatewaykafka"
	"github.com/clickledger/clickledger/internal/wal"
	"github.com/clickledger/clickledger/schemas"
)

const (
	// childVariable makes the test's binary the gateway that is killed: WAL folder, broker, address.
	childVariable = "CLICKLEDGER_TEST_GATEWAY_CHILD"
	// longVariable runs the long variants of tests that kill processes.
	longVariable = "CLICKLEDGER_TEST_LONG"

	kills     = 4
	killsLong = 50
	// brokerRestartEvery is after how many kills of the gateway the broker is restarted too.
	brokerRestartEvery = 3
	killWorkers        = 12
)

func TestMain(m *testing.M) {
	if text := os.Getenv(childVariable); text != "" {
		os.Exit(childGateway(strings.Split(text, " ")))
	}
	os.Exit(m.Run())
}

func childGateway(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	producer, err := gatewaykafka.Open(gatewaykafka.Config{Brokers: []string{args[1]}})
	if err == nil {
		var result Result
		result, err = Run(ctx, Config{Listen: args[2], WAL: wal.Config{Dir: args[0], SegmentBytes: 64 << 10, MaxBytes: 1 << 30},
			RedirectHosts: anyHost}, Deps{Producer: producer, Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)),
			Listening: func(net.Addr) { fmt.Println("listening") }})
		fmt.Println("shipped", result.Shipped, "pending", result.Pending)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// killRig is a gateway in a process of its own over a broker, and what was promised by it.
type killRig struct {
	*testing.T

	env  string
	base string
	cmd  *exec.Cmd
	out  *bufio.Scanner

	mu       sync.Mutex
	promised map[string]bool
}

func (r *killRig) start() {
	r.Helper()
	r.cmd = exec.Command(os.Args[0])
	r.cmd.Env = append(os.Environ(), childVariable+"="+r.env)
	out, err := r.cmd.StdoutPipe()
	if err != nil {
		r.Fatal(err)
	}
	if err := r.cmd.Start(); err != nil {
		r.Fatal(err)
	}
	r.out = bufio.NewScanner(out)
	if !r.out.Scan() {
		r.Fatalf("the gateway does not start: %v", r.cmd.Wait())
	}
}

// load sends clicks until stop is closed, whoever answers, and notes those that got a 302.
func (r *killRig) load(worker int, stop <-chan struct{}) {
	client := &http.Client{CheckRedirect: noRedirects, Timeout: 5 * time.Second, Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	for i := 0; ; i++ {
		select {
		case <-stop:
			return
		default:
		}
		id := fmt.Sprintf("c-%02d-%06d", worker, i)
		resp, err := client.Get(r.base + "/api/v1/clicks?click_id=" + id + "&redirect_url=https%3A%2F%2Fa.example%2F")
		if err != nil {
			time.Sleep(5 * time.Millisecond) // it is dead
			continue
		}
		_ = resp.Body.Close()
		if resp.StatusCode == http.StatusFound {
			r.mu.Lock()
			r.promised[id] = true
			r.mu.Unlock()
		}
	}
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	addr, _ := l.Addr().(*net.TCPAddr)
	return addr.Port
}

// TestKill kills the gateway with SIGKILL under load at random moments, and restarts the broker now
// and then: every click that got a 302 is in the log at least once, and none is there that nobody
// sent. What is there twice has one click_id, by which it counts once.
func TestKill(t *testing.T) {
	t.Parallel()
	rounds := kills
	if os.Getenv(longVariable) != "" {
		rounds = killsLong
	}
	dir, port := t.TempDir(), freePort(t)
	broker := embedkafka.Config{Dir: dir, Port: port, Partitions: 3}
	srv := start(t, broker)
	listen := "127.0.0.1:" + strconv.Itoa(freePort(t))
	r := &killRig{T: t, env: t.TempDir() + " " + srv.Addr() + " " + listen, base: "http://" + listen, promised: map[string]bool{}}
	r.start()
	t.Cleanup(func() { _ = r.cmd.Process.Kill() })
	stop := make(chan struct{})
	var group sync.WaitGroup
	for worker := range killWorkers {
		group.Go(func() { r.load(worker, stop) })
	}
	var brokers atomic.Int64
	for round := range rounds {
		time.Sleep(time.Duration(50+rand.IntN(600)) * time.Millisecond)
		if round%brokerRestartEvery == brokerRestartEvery-1 {
			if err := srv.Close(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Duration(rand.IntN(300)) * time.Millisecond)
		}
		if err := r.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = r.cmd.Wait()
		if round%brokerRestartEvery == brokerRestartEvery-1 {
			srv = start(t, broker)
			brokers.Add(1)
		}
		r.start()
	}
	time.Sleep(200 * time.Millisecond)
	close(stop)
	group.Wait()
	if err := r.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	for r.out.Scan() {
		if text := r.out.Text(); strings.HasPrefix(text, "shipped") && !strings.HasSuffix(text, "pending 0") {
			t.Errorf("after an orderly stop: %s", text)
		}
	}
	if err := r.cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	r.check(recordsOf(t, srv, schemas.TopicClicks, 3), rounds, int(brokers.Load()))
}

func (r *killRig) check(records []schemas.Record, rounds, brokers int) {
	r.Helper()
	found := map[string]int{}
	for _, rec := range records {
		var c schemas.RawClick
		if err := c.Unmarshal(rec.Value); err != nil || string(c.ClickID) != string(rec.Key) {
			r.Errorf("a record that nobody sent: key %q, %v", rec.Key, err)
		}
		found[string(rec.Key)]++
	}
	lost := 0
	for id := range r.promised {
		if found[id] == 0 {
			lost++
		}
	}
	if lost > 0 {
		r.Errorf("%d of %d clicks that got a 302 are not in the log", lost, len(r.promised))
	}
	if len(r.promised) < 20*rounds {
		r.Errorf("only %d clicks got a 302", len(r.promised))
	}
	r.Logf("%d kills of the gateway, %d restarts of the broker: %d clicks got a 302, %d are in the log, %d copies",
		rounds, brokers, len(r.promised), len(found), len(records)-len(found))
}
