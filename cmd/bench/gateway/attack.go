package main

import (
	"bytes"
	"cmp"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"
)

const (
	requestTimeout = 10 * time.Second
	// ticksPerSecond is the unit of CPU times in /proc, the same on every Linux.
	ticksPerSecond = 100
	usualAgent     = "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Mobile Safari/537.36"
)

// figures are those of one attack.
type figures struct {
	Rate       float64 `json:"rate"`
	P50Millis  float64 `json:"p50_millis"`
	P99Millis  float64 `json:"p99_millis"`
	P999Millis float64 `json:"p999_millis"`
	MaxMillis  float64 `json:"max_millis"`
	CPUMicros  float64 `json:"cpu_micros_each"`
	Answers    uint64  `json:"answers"`
	Failed     uint64  `json:"failed"` // other than 302
}

// target is a server under load.
type target struct {
	name string
	pid  int
	url  func(n int64) string
}

var clicks atomic.Int64

// attack sends requests from workers that wait for their answers; with a rate, at that rate, from as
// many workers as it takes.
func (t target) attack(workers, rate int, length time.Duration) (f figures, err error) {
	options := []func(*vegeta.Attacker){vegeta.Redirects(vegeta.NoFollow), vegeta.Timeout(requestTimeout), vegeta.KeepAlive(true),
		vegeta.HTTP2(false), vegeta.MaxBody(0), vegeta.Connections(max(workers, 256)), vegeta.Workers(uint64(workers))}
	pace := vegeta.Rate{Freq: rate, Per: time.Second}
	if rate == 0 {
		options = append(options, vegeta.MaxWorkers(uint64(workers)))
	}
	header := http.Header{"User-Agent": {usualAgent}, "Referer": {"https://www.news.example/2026/article-0001.html"}}
	targeter := func(tgt *vegeta.Target) error {
		tgt.Method, tgt.URL, tgt.Header = http.MethodGet, t.url(clicks.Add(1)), header
		return nil
	}
	before, err := cpuSeconds(t.pid)
	if err != nil {
		return f, err
	}
	var m vegeta.Metrics
	for res := range vegeta.NewAttacker(options...).Attack(targeter, pace, length, t.name) {
		m.Add(res)
		if res.Code != http.StatusFound {
			f.Failed++
		}
	}
	m.Close()
	after, err := cpuSeconds(t.pid)
	if err != nil {
		return f, err
	}
	f.Answers = m.Requests
	f.Rate = float64(m.Requests-f.Failed) / (m.Duration + m.Wait).Seconds()
	f.P50Millis, f.P99Millis, f.MaxMillis = millis(m.Latencies.P50), millis(m.Latencies.P99), millis(m.Latencies.Max)
	f.P999Millis = millis(m.Latencies.Quantile(0.999))
	f.CPUMicros = (after - before) * 1e6 / float64(max(1, m.Requests))
	if f.Failed == f.Answers {
		return f, fmt.Errorf("%s: no request of %d got a 302: %v", t.name, f.Answers, m.Errors)
	}
	return f, nil
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// median is the attack of the middle rate.
func median(of []figures) figures {
	slices.SortFunc(of, func(a, b figures) int { return cmp.Compare(a.Rate, b.Rate) })
	return of[len(of)/2]
}

// cpuSeconds is the CPU time of a process and of its children, which nginx's workers are.
func cpuSeconds(pid int) (total float64, err error) {
	seconds, err := cpuOf(pid)
	if err != nil {
		return 0, err
	}
	children, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		return 0, err
	}
	for _, name := range children {
		text, err := os.ReadFile(name)
		if err != nil {
			continue // a thread that has ended
		}
		for field := range strings.FieldsSeq(string(text)) {
			child, err := strconv.Atoi(field)
			if err != nil {
				return 0, err
			}
			if own, err := cpuOf(child); err == nil {
				seconds += own
			}
		}
	}
	return seconds, nil
}

func cpuOf(pid int) (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("CPU of a process: %w", err)
	}
	// The name in parentheses may hold blanks; user and system time are the 14th and 15th field.
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	ticks := 0.0
	for _, field := range fields[11:13] {
		n, err := strconv.ParseFloat(field, 64)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	return ticks / ticksPerSecond, nil
}
