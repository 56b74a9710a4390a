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
	"testing"
	"time"

	"github.com/clickledger/clickledger/internal/embedkafka"
	"github.com/clickledger/clickledger/internal/gatewaykafka"
	"github.com/clickledger/clickledger/internal/wal"
	"github.com/clickledger/clickledger/schemas"
)

const (
	// childVariable makes the test's binary the gateway or the broker that is killed: "gateway", WAL
	// folder, broker, address; or "broker", folder, port.
	childVariable = "CLICKLEDGER_TEST_GATEWAY_CHILD"
	// longVariable runs the long variants of tests that kill processes.
	longVariable = "CLICKLEDGER_TEST_LONG"

	kills     = 4
	killsLong = 50
	// brokerKillEvery is after how many kills of the gateway the broker is killed too.
	brokerKillEvery = 3
	killWorkers     = 12
)

func TestMain(m *testing.M) {
	if text := os.Getenv(childVariable); text != "" {
		args := strings.Split(text, " ")
		if args[0] == "broker" {
			os.Exit(childBroker(args[1:]))
		}
		os.Exit(childGateway(args[1:]))
	}
	os.Exit(m.Run())
}

func childBroker(args []string) int {
	port, err := strconv.Atoi(args[1])
	if err == nil {
		_, err = embedkafka.Start(context.Background(), embedkafka.Config{Dir: args[0], Port: port, Partitions: 3})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println("listening")
	select {} // until it is killed
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

// process is this test's binary as another process.
type process struct {
	cmd *exec.Cmd
	out *bufio.Scanner
}

// startProcess returns when the process answers.
func startProcess(t *testing.T, args string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(os.Args[0])}
	p.cmd.Env = append(os.Environ(), childVariable+"="+args)
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	p.out = bufio.NewScanner(out)
	if !p.out.Scan() {
		t.Fatalf("%s does not start: %v", args, p.cmd.Wait())
	}
	return p
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

// killRig is a gateway in a process of its own over a broker, and what was promised by it.
type killRig struct {
	*testing.T

	base string

	mu       sync.Mutex
	promised map[string]bool
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

// TestKill kills the gateway with SIGKILL under load at random moments, and now and then the broker:
// every click that got a 302 is in the log at least once, and none is there that nobody sent. What is
// there twice has one click_id, by which it counts once.
func TestKill(t *testing.T) {
	t.Parallel()
	rounds := kills
	if os.Getenv(longVariable) != "" {
		rounds = killsLong
	}
	dir, port, listen := t.TempDir(), freePort(t), "127.0.0.1:"+strconv.Itoa(freePort(t))
	brokerArgs := fmt.Sprintf("broker %s %d", dir, port)
	gatewayArgs := fmt.Sprintf("gateway %s 127.0.0.1:%d %s", t.TempDir(), port, listen)
	broker, gateway := startProcess(t, brokerArgs), startProcess(t, gatewayArgs)
	r := &killRig{T: t, base: "http://" + listen, promised: map[string]bool{}}
	stop := make(chan struct{})
	var group sync.WaitGroup
	for worker := range killWorkers {
		group.Go(func() { r.load(worker, stop) })
	}
	brokers := 0
	for round := range rounds {
		time.Sleep(time.Duration(50+rand.IntN(600)) * time.Millisecond)
		if round%brokerKillEvery == brokerKillEvery-1 {
			broker.kill()
			brokers++
			time.Sleep(time.Duration(rand.IntN(300)) * time.Millisecond)
		}
		gateway.kill()
		gateway = startProcess(t, gatewayArgs)
		if round%brokerKillEvery == brokerKillEvery-1 {
			time.Sleep(time.Duration(rand.IntN(300)) * time.Millisecond)
			broker = startProcess(t, brokerArgs)
		}
	}
	time.Sleep(200 * time.Millisecond)
	close(stop)
	group.Wait()
	if err := gateway.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	for gateway.out.Scan() {
		if text := gateway.out.Text(); strings.HasPrefix(text, "shipped") && !strings.HasSuffix(text, "pending 0") {
			t.Errorf("after an orderly stop: %s", text)
		}
	}
	if err := gateway.cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	broker.kill()
	srv := start(t, embedkafka.Config{Dir: dir, Partitions: 3})
	r.check(recordsOf(t, srv, 3), rounds, brokers)
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
	r.Logf("%d kills of the gateway, %d of the broker: %d clicks got a 302, %d are in the log, %d copies",
		rounds, brokers, len(r.promised), len(found), len(records)-len(found))
}
