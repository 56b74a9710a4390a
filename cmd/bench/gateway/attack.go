package main

import (
	"bytes"
	"cmp"
	"fmt"
	"math"
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
	// connectionsMax is how many connections are kept open between requests.
	connectionsMax = 1024
	// ticksPerSecond is the unit of CPU times in /proc, the same on every Linux.
	ticksPerSecond = 100
	usualAgent     = "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Mobile Safari/537.36"
)

// figures are those of one attack. Latencies of a steady attack begin when the request was due, also
// where the generator sent it later: what waits in the generator counts. Those of clients that wait for
// their answer begin when they send.
type figures struct {
	Offered    int     `json:"offered,omitempty"`
	Clients    int     `json:"clients,omitempty"`
	Rate       float64 `json:"rate"`
	P50Millis  float64 `json:"p50_millis"`
	P99Millis  float64 `json:"p99_millis"`
	P999Millis float64 `json:"p999_millis"`
	MaxMillis  float64 `json:"max_millis"`
	// SentP99Millis is the 99th percentile from the sending, LagP99Millis that of being sent late.
	SentP99Millis float64 `json:"sent_p99_millis"`
	LagP99Millis  float64 `json:"lag_p99_millis"`
	CPUMicros     float64 `json:"cpu_micros_each"`
	Answers       int     `json:"answers"`
	Failed        int     `json:"failed"` // other than 302
	// Cores are those that the generator, the broker, and everything but these and the server used.
	GeneratorCores float64 `json:"generator_cores"`
	BrokerCores    float64 `json:"broker_cores"`
	OtherCores     float64 `json:"other_cores"`
}

// target is a server under load, and the broker beside it.
type target struct {
	name        string
	pid, broker int
	url         func(n int64) string
}

var clicks atomic.Int64

// attack sends requests from workers that wait for their answers; with a rate, at that rate, from as
// many workers as it takes.
func (t target) attack(workers, rate int, length time.Duration) (f figures, err error) {
	transport := &http.Transport{MaxIdleConnsPerHost: connectionsMax, DisableCompression: true}
	defer transport.CloseIdleConnections() // what an attack left open is no burden of the next one
	client := &http.Client{Transport: transport, Timeout: requestTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	options := []func(*vegeta.Attacker){vegeta.Client(client), vegeta.MaxBody(0), vegeta.Workers(uint64(workers))}
	pace := vegeta.Rate{Freq: rate, Per: time.Second}
	if rate == 0 {
		options = append(options, vegeta.MaxWorkers(uint64(workers)))
	}
	header := http.Header{"User-Agent": {usualAgent}, "Referer": {"https://www.news.example/2026/article-0001.html"}}
	targeter := func(tgt *vegeta.Target) error {
		tgt.Method, tgt.URL, tgt.Header = http.MethodGet, t.url(clicks.Add(1)), header
		return nil
	}
	before, err := t.use()
	if err != nil {
		return f, err
	}
	var all, sent, late []time.Duration // by request
	began, problem := time.Now(), ""
	var ended time.Time
	for res := range vegeta.NewAttacker(options...).Attack(targeter, pace, length, t.name) {
		lag := time.Duration(0)
		if rate > 0 {
			due := began.Add(time.Duration(float64(res.Seq) / float64(rate) * float64(time.Second)))
			lag = max(0, res.Timestamp.Sub(due))
		}
		all, sent, late = append(all, lag+res.Latency), append(sent, res.Latency), append(late, lag)
		if res.Code != http.StatusFound {
			f.Failed, problem = f.Failed+1, res.Error
		}
		if end := res.End(); end.After(ended) {
			ended = end
		}
	}
	after, err := t.use()
	if err != nil {
		return f, err
	}
	if f.Failed == len(all) {
		return f, fmt.Errorf("%s: no request of %d got a 302: %s", t.name, len(all), problem)
	}
	f.Offered, f.Answers = rate, len(all)
	f.Rate = float64(f.Answers-f.Failed) / ended.Sub(began).Seconds()
	f.latencies(all, sent, late)
	f.cores(before, after)
	return f, nil
}

func (f *figures) latencies(all, sent, late []time.Duration) {
	for _, of := range [][]time.Duration{all, sent, late} {
		slices.Sort(of)
	}
	f.P50Millis, f.P99Millis, f.P999Millis = quantile(all, 0.5), quantile(all, 0.99), quantile(all, 0.999)
	f.MaxMillis = quantile(all, 1)
	f.SentP99Millis, f.LagP99Millis = quantile(sent, 0.99), quantile(late, 0.99)
}

// quantile is that of sorted values, in milliseconds: the least that so many are not above.
func quantile(sorted []time.Duration, q float64) float64 {
	at := int(math.Ceil(q*float64(len(sorted)))) - 1
	return float64(sorted[max(0, at)]) / float64(time.Millisecond)
}

// median is the attack of the middle rate.
func median(of []figures) figures {
	slices.SortFunc(of, func(a, b figures) int { return cmp.Compare(a.Rate, b.Rate) })
	return of[len(of)/2]
}

// use is CPU time that was used until a moment.
type use struct {
	at                             time.Time
	server, generator, broker, all float64
}

func (t target) use() (u use, err error) {
	u.at = time.Now()
	if u.server, err = cpuSeconds(t.pid); err != nil {
		return u, err
	}
	if u.generator, err = cpuOf(os.Getpid()); err != nil {
		return u, err
	}
	if u.broker, err = cpuOf(t.broker); err != nil {
		return u, err
	}
	u.all, err = machineSeconds()
	return u, err
}

func (f *figures) cores(before, after use) {
	wall := after.at.Sub(before.at).Seconds()
	server := after.server - before.server
	generator, broker := after.generator-before.generator, after.broker-before.broker
	f.CPUMicros = server * 1e6 / float64(f.Answers)
	f.GeneratorCores, f.BrokerCores = generator/wall, broker/wall
	f.OtherCores = (after.all - before.all - server - generator - broker) / wall
}

// machineSeconds is the CPU time of everything: of all processes, the kernel, and what a host took away.
func machineSeconds() (float64, error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, fmt.Errorf("CPU of the machine: %w", err)
	}
	line, _, _ := strings.Cut(string(text), "\n")
	total := 0.0
	for i, field := range strings.Fields(line) {
		if i == 0 || i == 4 || i == 5 || i > 8 { // the name, idle, waiting for a disk, and guests, who are in user
			continue
		}
		n, err := strconv.ParseFloat(field, 64)
		if err != nil {
			return 0, err
		}
		total += n
	}
	return total / ticksPerSecond, nil
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
