package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/clickledger/clickledger/internal/config"
	"github.com/clickledger/clickledger/internal/embedkafka"
	"github.com/clickledger/clickledger/internal/kafkaio"
	"github.com/clickledger/clickledger/jobs/gateway"
)

// TestUnreachableService is one clear line that names the URL, and exit code 1.
func TestUnreachableService(t *testing.T) {
	t.Parallel()
	got := start(t, nil, "gateway", "--log", "kafka://127.0.0.1:1", "--json")
	if got.code != config.ExitFailed || strings.Count(got.err, "\n") != 1 || !strings.Contains(got.err, "kafka://127.0.0.1:1: ") {
		t.Errorf("exit code %d, stderr %q, want 1 and one line with the URL", got.code, got.err)
	}
	var failure struct {
		Error    string `json:"error"`
		ExitCode int    `json:"exit_code"`
	}
	if err := json.Unmarshal([]byte(got.out), &failure); err != nil || failure.ExitCode != config.ExitFailed || failure.Error == "" {
		t.Errorf("stdout %q, want the error as JSON", got.out)
	}
}

// TestInterruptEndsCleanly drives a click through the program's gateway and sends it Ctrl-C.
func TestInterruptEndsCleanly(t *testing.T) {
	t.Parallel()
	broker, err := embedkafka.Start(t.Context(), embedkafka.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { broker.Close() })
	brokers, err := kafkaio.ParseURL(broker.URL())
	if err != nil {
		t.Fatal(err)
	}
	if err := kafkaio.EnsureTopics(t.Context(), brokers, 1); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), binary, "gateway", "--log", broker.URL(), "--listen", "127.0.0.1:0", "--json")
	cmd.Env = []string{}
	var out bytes.Buffer
	cmd.Stdout = &out
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	addresses := make(chan string, 1)
	logged := make(chan struct{})
	go func() {
		defer close(logged)
		listens := regexp.MustCompile(`address=(\S+)`)
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			if found := listens.FindStringSubmatch(lines.Text()); found != nil {
				addresses <- found[1]
			}
		}
		close(addresses)
	}()
	var address string
	select {
	case address = <-addresses:
	case <-time.After(30 * time.Second):
	}
	if address == "" {
		t.Fatalf("the gateway does not listen: %s", &out)
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	response, err := client.Get(fmt.Sprintf("http://%s/api/v1/clicks?click_id=c1&redirect_url=https%%3A%%2F%%2Fshop.example%%2F", address))
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusFound {
		t.Errorf("status %d, want 302", response.StatusCode)
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	<-logged
	if err := cmd.Wait(); err != nil {
		t.Errorf("after Ctrl-C: %v", err)
	}
	var result gateway.Result
	if err := json.Unmarshal(out.Bytes(), &result); err != nil || result.Redirected != 1 {
		t.Errorf("result %s, %v, want one redirect", &out, err)
	}
}
