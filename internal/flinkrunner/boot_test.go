package flinkrunner

import (
	"os"
	"strings"
	"testing"
)

func TestIsBooted(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		args string
		want bool
	}{
		{"--id=1-1 --provision_endpoint=127.0.0.1:1", true},
		{"--worker=true --id=1-1 --control_endpoint=127.0.0.1:1", false},
		{"stream --detach", false},
		{"", false},
	} {
		if got := isBooted(strings.Fields(tc.args)); got != tc.want {
			t.Errorf("%q: got %v", tc.args, got)
		}
	}
	if err := boot([]string{"--provision_endpoint=127.0.0.1:1"}); err == nil || !strings.Contains(err.Error(), "--id=") {
		t.Errorf("got %v without an id", err)
	}
}

// TestCheckProgram: DoFns run in the build that submitted the job, or not at all.
func TestCheckProgram(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	sum, err := programSum(self)
	if err != nil {
		t.Fatal(err)
	}
	for want, isOK := range map[string]bool{"": true, sum: true, strings.Repeat("0", 64): false} {
		if err := checkProgram(want); (err == nil) != isOK {
			t.Errorf("%q: got %v", want, err)
		}
	}
	payload, staged, err := processWorker(Config{Environment: Process}.withDefaults())
	if err != nil || staged != os.DevNull || !strings.Contains(payload, self) || !strings.Contains(payload, sum) {
		t.Errorf("got %s, staged %s, %v", payload, staged, err)
	}
	payload, staged, err = processWorker(Config{Environment: Process, Boot: "/opt/boot"}.withDefaults())
	if err != nil || staged != self || !strings.Contains(payload, "/opt/boot") {
		t.Errorf("got %s, staged %s, %v", payload, staged, err)
	}
}
