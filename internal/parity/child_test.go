package parity

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/clickledger/clickledger/internal/servingduck"
	"github.com/clickledger/clickledger/jobs/stream"
	"github.com/clickledger/clickledger/schemas/policy"
	"github.com/clickledger/clickledger/schemas/serving"
)

// childVariable makes the test binary run the stream job instead of the tests: log, serving store,
// policy file, URL of the dedup store or "-".
const childVariable = "CLICKLEDGER_TEST_STREAM_CHILD"

// runChild streams until it is killed, or until its standard input ends, which drains it. It says
// when the store is open.
func runChild(args string) int {
	parts := strings.Split(args, " ")
	useTestStore()
	dedup := stream.Dedup{URL: strings.TrimPrefix(parts[3], "-")}
	err := streamChild(parts[0], parts[1], parts[2], dedup)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func streamChild(log, serving, policyFile string, dedup stream.Dedup) error {
	ctx := context.Background()
	p, err := policy.Load(policyFile)
	if err != nil {
		return err
	}
	store, err := servingduck.Open(ctx, serving, servingduck.Options{MustOwn: true})
	if err != nil {
		return err
	}
	fmt.Println("ready")
	drain := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(drain)
	}()
	if _, err := stream.Run(ctx, liveConfig(log, p, "child", dedup), stream.Deps{Serving: store, Drain: drain}); err != nil {
		return err
	}
	return store.Close()
}

// liveConfig publishes often, so that there is much to interrupt.
func liveConfig(log string, p *policy.Policy, runID string, dedup stream.Dedup) stream.Config {
	return stream.Config{Log: log, Policy: p, RunID: runID, Dedup: dedup, PublishInterval: 20 * time.Millisecond,
		PollWait: 10 * time.Millisecond, PollRecords: 100}
}

// life is one life of a stream job that reads live.
type life struct {
	store serving.Store // to read from while it runs
	stop  func()        // by force or by request
	drain func()        // to the end; returns when it has ended
	wait  func()        // until a process has ended by itself
}

// process starts the job in a process of its own, which stop kills with SIGKILL.
func (b *bed) process(policyDoc string) life {
	b.t.Helper()
	file := filepath.Join(b.t.TempDir(), "policy.yaml")
	if err := os.WriteFile(file, []byte(policyDoc), 0o600); err != nil {
		b.t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		b.t.Fatal(err)
	}
	cmd := exec.CommandContext(b.ctx, exe)
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %s %s %s", childVariable, b.url, b.serving, file, cmp.Or(b.dedup.URL, "-")))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		b.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	if !bufio.NewScanner(out).Scan() {
		b.t.Fatalf("the job ended by itself: %v", cmd.Wait())
	}
	client, err := servingduck.Open(b.ctx, b.serving, servingduck.Options{})
	if err != nil || client.IsOwner() {
		b.t.Fatalf("the child does not own the store: %v", err)
	}
	return life{store: client, stop: func() {
		if err := cmd.Process.Kill(); err != nil {
			b.t.Fatal(err)
		}
		_ = cmd.Wait() // says that it was killed
		_ = client.Close()
	}, wait: func() {
		_ = cmd.Wait() // says that it was killed
		_ = client.Close()
	}, drain: func() {
		_ = client.Close()
		_ = in.Close()
		if err := cmd.Wait(); err != nil {
			b.t.Fatal(err)
		}
	}}
}

// inProcess starts the job in this process; stop cancels its context.
func (b *bed) inProcess() life {
	b.t.Helper()
	ctx, cancel := context.WithCancel(b.ctx)
	drain, done := make(chan struct{}), make(chan error, 1)
	id := b.runID("live")
	store := b.open()
	go func() {
		_, err := stream.Run(ctx, liveConfig(b.url, b.policy, id, b.dedup), stream.Deps{Serving: store, Drain: drain})
		done <- err
	}()
	wait := func() {
		if err := <-done; err != nil {
			b.t.Error(err)
		}
		cancel()
	}
	return life{store: store, stop: func() { cancel(); wait() }, drain: func() { close(drain); wait() }}
}
