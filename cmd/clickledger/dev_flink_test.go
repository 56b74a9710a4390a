package main

import (
	"encoding/json"
	"os"
	"slices"
	"testing"

	"github.com/clickledger/clickledger/internal/config"
	"github.com/clickledger/clickledger/internal/devservices"
	"github.com/clickledger/clickledger/internal/servicestest"
)

// TestServicesDevFlink: Flink comes up where it is named, is brought back after kill -9, is seen without
// being named, and goes down with the rest.
func TestServicesDevFlink(t *testing.T) {
	servicestest.Need(t, servicestest.Flink)
	r := newDevRig(t)
	dev := func(command string, more ...string) (code int, flink *devservices.State) {
		t.Helper()
		got := start(t, os.Environ(), append(r.args(command), more...)...)
		var result devResult
		if err := json.Unmarshal([]byte(got.out), &result); err != nil {
			t.Fatalf("%s: %v: %s", command, err, got.err)
		}
		i := slices.IndexFunc(result.Services, func(s devservices.State) bool { return s.Name == "flink" })
		if i < 0 {
			return got.code, nil
		}
		return got.code, &result.Services[i]
	}
	if _, flink := dev("status"); flink != nil {
		t.Errorf("it is asked about before it was named: %+v", flink)
	}
	code, first := dev("up", "--only", "flink")
	if code != config.ExitOK || first == nil || first.State != devservices.StateUp || first.PID == 0 {
		t.Fatalf("up: exit code %d, %+v", code, first)
	}
	if code, again := dev("up", "--only", "flink"); code != config.ExitOK || again.PID != first.PID {
		t.Errorf("the second up: exit code %d, %+v", code, again)
	}
	r.kill(first.PID)
	if code, dead := dev("status", "--only", "flink"); code != config.ExitFailed || dead.State == devservices.StateUp {
		t.Errorf("after kill -9: exit code %d, %+v", code, dead)
	}
	if code, back := dev("up", "--only", "flink"); code != config.ExitOK || back.State != devservices.StateUp || back.PID == first.PID {
		t.Errorf("up after kill -9: exit code %d, %+v", code, back)
	}
	if code, flink := dev("down"); code != config.ExitOK || flink == nil || flink.State != devservices.StateDown {
		t.Errorf("down: exit code %d, %+v", code, flink)
	}
}
