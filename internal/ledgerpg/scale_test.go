package ledgerpg

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/clickledger/clickledger/internal/money"
)

// scaleEnvironment sets the number of advertisers of TestPostAtScale; the budget is 1,000,000 in 60 s.
const scaleEnvironment = "CLICKLEDGER_TEST_ADVERTISERS"

// serverCPU is the CPU time of the server and its backends so far; unlike elapsed time it can be
// compared between a busy and an idle machine. It is 0 where there is no /proc.
func serverCPU(t *testing.T) time.Duration {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	const tick = 10 * time.Millisecond
	var total time.Duration
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // ended meanwhile
		}
		// From "state" on: ppid is 1; utime, stime, cutime, cstime are 11 to 14.
		fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
		isServer := path == fmt.Sprintf("/proc/%d/stat", server.PID)
		if !isServer && fields[1] != strconv.Itoa(server.PID) {
			continue
		}
		for _, field := range fields[11:15] {
			ticks, err := strconv.ParseInt(field, 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			total += time.Duration(ticks) * tick
		}
	}
	return total
}

func TestPostAtScale(t *testing.T) {
	count := 100_000
	if text := os.Getenv(scaleEnvironment); text != "" {
		var err error
		if count, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	} else if testing.Short() {
		t.Skip("short: posting 100,000 advertisers takes some seconds")
	}
	f := setup(t)
	advertisers := make([]Advertiser, count)
	charges := make([]Charge, count)
	for i := range count {
		id := fmt.Sprintf("advertiser-%07d", i)
		advertisers[i] = Advertiser{ID: id, Name: id}
		charges[i] = Charge{AdvertiserID: id, SpendMicros: money.Micros(i*37 + 1), Clicks: int64(i)}
	}
	timed := func(what string, do func()) time.Duration {
		begin, used := time.Now(), serverCPU(t)
		do()
		took := time.Since(begin)
		t.Logf("%-20s %8d advertisers %7.2f s, %7.2f s of server CPU", what, count, took.Seconds(),
			(serverCPU(t) - used).Seconds())
		return took
	}
	timed("register", func() {
		if _, err := f.ledger.RegisterAdvertisers(t.Context(), advertisers); err != nil {
			t.Fatal(err)
		}
	})
	took := timed("post first day", func() {
		if got := f.post(request(firstDay, charges...)); got.PostedEntries != count {
			t.Fatalf("posted %d", got.PostedEntries)
		}
	})
	// A figure of a busy machine says little: the budget is checked only when it is asked for.
	budget := time.Duration(count) * 60 * time.Microsecond
	if os.Getenv(scaleEnvironment) != "" && took > budget {
		t.Errorf("posting took %s, budget %s", took, budget)
	}
	timed("post again", func() {
		if got := f.post(request(firstDay, charges...)); got.PostedEntries != 0 {
			t.Fatalf("posted %d", got.PostedEntries)
		}
	})
	if os.Getenv(scaleEnvironment) != "" {
		timed("post second day", func() { f.post(request(firstDay.AddDate(0, 0, 1), charges...)) })
	}
	timed("verify", func() { f.sound() })
}
