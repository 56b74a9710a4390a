package main

import (
	"net"
	"strings"
	"testing"

	"github.com/clickledger/clickledger/internal/clickhouseio"
	"github.com/clickledger/clickledger/internal/clickhousetest"
	"github.com/clickledger/clickledger/internal/config"
	"github.com/clickledger/clickledger/jobs/reconcile"
)

// TestDayToTheLedgerOnClickHouse takes the same day through ClickHouse.
func TestDayToTheLedgerOnClickHouse(t *testing.T) {
	t.Parallel()
	server := clickhousetest.Start(t)
	env, dir := settleDay(t, server.URL())
	reconcileDay(t, env, dir)
	explainDay(t, env)

	var report reconcile.Report
	startJSON(t, env, &report, "reconcile", "--date", "2026-03-01")
	store, err := clickhouseio.Open(t.Context(), strings.TrimPrefix(env[2], "CLICKLEDGER_SERVING="), clickhouseio.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	database := env[2][strings.LastIndex(env[2], "/")+1:]
	// What a stranger reads is the bill.
	got, err := store.Query(t.Context(), "select sum(unique_clicks), sum(spend_micros), min(is_final) from "+database+".ad_clicks_hourly final")
	if err != nil || got.Rows[0][0] != uint64(report.Batch.BillableClicks) || got.Rows[0][1] != report.Batch.SpendMicros || got.Rows[0][2] != true {
		t.Errorf("got %v, %v; want %+v", got, err, report.Batch)
	}
}

// TestServingStoreAway: one line names the place, without its password.
func TestServingStoreAway(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	listener.Close()
	env := []string{"CLICKLEDGER_SERVING=clickhouse://stream@" + address + "/csp_analytics", "CLICKHOUSE_PASSWORD=s3cret", "CLICKLEDGER_LOG=kafka://127.0.0.1:1"}
	for _, args := range []string{"migrate", "stream"} {
		got := start(t, env, args)
		if got.code != config.ExitFailed || strings.Contains(got.err, "s3cret") || strings.Count(strings.TrimSpace(got.err), "\n") > 0 ||
			!strings.Contains(got.err, "clickhouse://stream:xxxxx@"+address+"/csp_analytics") || !strings.Contains(got.err, "connection refused") {
			t.Errorf("%s: exit code %d, %q", args, got.code, got.err)
		}
	}
}
