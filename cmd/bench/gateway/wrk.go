package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// wrkScript has every thread ask for clicks of its own, and prints what wrk measured: times in us.
const wrkScript = `local threads = 0
setup = function(thread)
  threads = threads + 1
  thread:set("mark", %[2]q .. threads .. "-")
end
local n = 0
request = function()
  n = n + 1
  return wrk.format("GET", %[1]q .. mark .. n)
end
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('\n{"answers":%%d,"micros":%%d,"failed":%%d,"p50":%%d,"p99":%%d,"p999":%%d,"max":%%d}\n', summary.requests,
    summary.duration, e.connect + e.read + e.write + e.status + e.timeout, latency:percentile(50), latency:percentile(99),
    latency:percentile(99.9), latency.max))
end
`

// wrkThreads is one for each of the two cores that the load shares with the servers.
const wrkThreads = 2

// wrkResult is what the script prints.
type wrkResult struct {
	Answers int   `json:"answers"`
	Micros  int64 `json:"micros"`
	Failed  int   `json:"failed"`
	P50     int64 `json:"p50"`
	P99     int64 `json:"p99"`
	P999    int64 `json:"p999"`
	Max     int64 `json:"max"`
}

// wrk is the load generator of that name. It uses a fifth of the CPU of vegeta, which leaves the cores to
// what is measured; its clients wait for their answers.
type wrk struct{ program, dir string }

// attack has so many clients ask a server, each again as soon as it has its answer.
func (w wrk) attack(ctx context.Context, t target, clients int, length time.Duration) (f figures, err error) {
	first, id, _ := strings.Cut(strings.TrimPrefix(t.url(clicks.Add(1)), "http://"), "/")
	path, mark, _ := strings.Cut("/"+id, "clk_")
	script := filepath.Join(w.dir, "wrk.lua")
	if err := os.WriteFile(script, fmt.Appendf(nil, wrkScript, path+"clk_", mark+"-"), 0o600); err != nil {
		return f, err
	}
	before, err := t.use()
	if err != nil {
		return f, err
	}
	cmd := exec.CommandContext(ctx, w.program, "--threads", strconv.Itoa(min(wrkThreads, clients)), "--connections", strconv.Itoa(clients),
		"--duration", strconv.Itoa(int(length.Seconds()))+"s", "--timeout", "10s", "--script", script,
		"--header", "User-Agent: "+usualAgent, "--header", "Referer: https://www.news.example/2026/article-0001.html", "http://"+first)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return f, fmt.Errorf("%s: %w: %s", w.program, err, out)
	}
	after, err := t.use()
	if err != nil {
		return f, err
	}
	var got wrkResult
	if err := json.Unmarshal(out[max(0, bytes.LastIndexByte(out, '{')):], &got); err != nil || got.Answers == 0 {
		return f, fmt.Errorf("%s: no answers: %s", w.program, out)
	}
	generator := (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()
	after.generator = before.generator + generator
	millis := func(micros int64) float64 { return float64(micros) / 1000 }
	f = figures{Clients: clients, Answers: got.Answers, Failed: got.Failed, Rate: float64(got.Answers-got.Failed) / (float64(got.Micros) / 1e6),
		P50Millis: millis(got.P50), P99Millis: millis(got.P99), P999Millis: millis(got.P999), MaxMillis: millis(got.Max)}
	f.SentP99Millis = f.P99Millis
	f.cores(before, after)
	return f, nil
}
