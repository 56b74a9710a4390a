package archive

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/clickledger/clickledger/schemas/policy"
)

// childVariable makes the test binary run the job instead of the tests: log, archive, records a file.
const childVariable = "CLICKLEDGER_TEST_ARCHIVE_CHILD"

func TestMain(m *testing.M) {
	if args := os.Getenv(childVariable); args != "" {
		os.Exit(runChild(strings.Split(args, " ")))
	}
	os.Exit(m.Run())
}

// runChild archives until it is killed, and prints a line after every file.
func runChild(args []string) int {
	maxRecords, err := strconv.Atoi(args[2])
	if err != nil {
		return 2
	}
	_, err = Run(context.Background(), Config{
		Log: args[0], Archive: args[1], Policy: policy.Default(), MaxRecords: maxRecords, FlushInterval: 20 * time.Millisecond,
	}, Deps{Progress: func(p Progress) { fmt.Println(p.Files) }})
	fmt.Fprintln(os.Stderr, err)
	return 1
}

// TestKillNine kills archivers with SIGKILL at any instant, two at a time, and starts others.
func TestKillNine(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	start := func(maxRecords int) (*exec.Cmd, *bufio.Scanner) {
		cmd := exec.CommandContext(r.ctx, exe)
		cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %s %d", childVariable, r.url, r.cfg.Archive, maxRecords))
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd, bufio.NewScanner(out)
	}
	for round := range 5 {
		r.produce(clicks(2, round*500, 500, startMicros+int64(round)*200_000_000, 10_000))
		one, lines := start(11 + round)
		two, _ := start(17 + 2*round)
		for range 1 + round*3 { // so many files, and then in the middle of something
			if !lines.Scan() {
				t.Fatal("the job ended by itself")
			}
		}
		for _, cmd := range []*exec.Cmd{one, two} {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait() // says that it was killed
		}
		if _, err := Verify(r.ctx, r.cfg, r.deps()); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
	}
	r.run()
	r.verify()
	r.same(2)
}
