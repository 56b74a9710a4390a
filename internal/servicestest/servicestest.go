// Package servicestest says whether a test may have the real services that it needs: what cannot be fetched is a skip
// with its reason, what is not what was pinned is a failure.
package servicestest

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/clickledger/clickledger/internal/devflink"
	"github.com/clickledger/clickledger/internal/devservices"
)

// Variable allows tests to fetch and start services. Without it they are skipped.
const Variable = "CLICKLEDGER_TEST_SERVICES"

// Until names the variable with the Unix time after which no test with services begins, so that the whole run ends in time. Unset is no limit.
const Until = "CLICKLEDGER_TEST_SERVICES_UNTIL"

// Flink is the name of the cluster among the names of services.
const Flink = "flink"

const (
	// fetchLimit bounds the fetching of one service.
	fetchLimit = 8 * time.Minute
	// failureLife is how long another test does not try again what could not be fetched.
	failureLife = 15 * time.Minute
)

// Need skips a test unless it may start real services and these can be fetched; what is fetched stays in the cache.
func Need(tb testing.TB, names ...string) {
	tb.Helper()
	if os.Getenv(Variable) != "1" {
		tb.Skipf("%s is not 1: no real %s to test with", Variable, strings.Join(names, ", "))
	}
	if until, err := strconv.ParseInt(os.Getenv(Until), 10, 64); err == nil && time.Now().Unix() > until {
		tb.Skipf("the time for tests with services was up at %s", time.Unix(until, 0).UTC().Format(time.TimeOnly))
	}
	base, err := os.UserCacheDir()
	if err != nil {
		tb.Fatal(err)
	}
	cache := filepath.Join(base, "clickledger")
	for _, name := range names {
		switch err := fetchOnce(tb.Context(), cache, name); {
		case err == nil:
		case errors.Is(err, devservices.ErrChecksum), errors.Is(err, devflink.ErrChecksum):
			tb.Fatal(err)
		default:
			tb.Skipf("%s cannot be fetched: %v", name, err)
		}
	}
}

// fetchOnce fetches a service, unless that has failed a short time ago: without a network each attempt takes minutes.
func fetchOnce(ctx context.Context, cache, name string) error {
	failure := filepath.Join(cache, name+".unfetched")
	if info, err := os.Stat(failure); err == nil && time.Since(info.ModTime()) < failureLife {
		if text, err := os.ReadFile(failure); err == nil {
			return errors.New(string(text))
		}
	}
	ctx, cancel := context.WithTimeout(ctx, fetchLimit)
	defer cancel()
	err := fetch(ctx, cache, name)
	if err == nil {
		_ = os.Remove(failure) // there may be none
		return nil
	}
	if os.MkdirAll(cache, 0o755) == nil {
		_ = os.WriteFile(failure, []byte(err.Error()), 0o644) // the next test tries again without it
	}
	return err
}

func fetch(ctx context.Context, cache, name string) error {
	if name == Flink {
		return devflink.Fetch(ctx, devflink.Config{Dir: cache, CacheDir: cache, Logger: slog.New(slog.DiscardHandler)})
	}
	stack, err := devservices.New(devservices.Config{Dir: cache, CacheDir: cache, Recorder: []string{"none"}, Postgres: []string{"none"}})
	if err != nil {
		return err
	}
	return stack.Fetch(ctx, name)
}
