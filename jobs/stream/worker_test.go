package stream

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/clickledger/clickledger/internal/kafkaio"
	"github.com/clickledger/clickledger/schemas/policy"
)

// TestWorkerLogsIn: a worker that knows nothing but its Spec, as it comes out of the job graph, speaks to brokers
// that want a password, and the graph does not hold it.
func TestWorkerLogsIn(t *testing.T) {
	broker, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.EnableSASL(), kfake.Superuser("SCRAM-SHA-256", "ledger", "s3cret"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Close)
	t.Cleanup(func() { _ = kafkaio.Use(kafkaio.Security{}) })
	doc, err := policy.Default().YAML()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TEST_KAFKA_PASSWORD", "s3cret")
	for name, login := range map[string]Login{
		"file":     {Mechanism: kafkaio.ScramSHA256, User: "ledger", PasswordFile: file},
		"variable": {Mechanism: kafkaio.ScramSHA256, User: "ledger", PasswordVariable: "TEST_KAFKA_PASSWORD"},
	} {
		graph, err := json.Marshal(Spec{RunID: "r", Log: "kafka://" + broker.ListenAddrs()[0], PolicyYAML: string(doc), Login: login})
		if err != nil || strings.Contains(string(graph), "s3cret") {
			t.Fatalf("the graph holds %s (%v)", graph, err)
		}
		var spec Spec
		if err := json.Unmarshal(graph, &spec); err != nil {
			t.Fatal(err)
		}
		if err := kafkaio.Use(kafkaio.Security{}); err != nil { // as a new process
			t.Fatal(err)
		}
		w, err := openWorker(t.Context(), spec)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if err := w.close(); err != nil {
			t.Error(err)
		}
	}
}
