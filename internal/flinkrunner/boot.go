package flinkrunner

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/apache/beam/sdks/v2/go/container/tools"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/runtime"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/runtime/harness"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/util/grpcx"
)

// What a TaskManager gives the program that it starts: https://s.apache.org/beam-fn-api-container-contract.
const (
	idFlag        = "--id="
	provisionFlag = "--provision_endpoint="
)

// programVariable holds the SHA-256 of the program that submitted the job. DoFns of another one might judge
// differently, or not be there.
const programVariable = "CLICKLEDGER_WORKER_SHA256"

// boot is what Beam's boot program does, in the worker itself: it asks the TaskManager where to
// connect to, and runs DoFns until the connection ends. Nothing is fetched, copied or left behind.
func boot(args []string) error {
	id, provision := flagValue(args, idFlag), flagValue(args, provisionFlag)
	if id == "" || provision == "" {
		return fmt.Errorf("%s and %s are needed", idFlag, provisionFlag)
	}
	ctx := grpcx.WriteWorkerID(context.Background(), id)
	info, err := tools.ProvisionInfo(ctx, provision)
	if err != nil {
		return fmt.Errorf("ask the TaskManager at %s what to do: %w", provision, err)
	}
	logging, control := info.GetLoggingEndpoint().GetUrl(), info.GetControlEndpoint().GetUrl()
	if logging == "" || control == "" {
		return fmt.Errorf("the TaskManager at %s names no endpoints for logging and control", provision)
	}
	if err := checkProgram(os.Getenv(programVariable)); err != nil {
		// Its standard error is nobody's: the TaskManager's log is where it is looked for.
		(&tools.Logger{Endpoint: logging}).Errorf(ctx, "clickledger worker: %v", err)
		return err
	}
	text, err := tools.ProtoToJSON(info.GetPipelineOptions())
	if err != nil {
		return fmt.Errorf("read the job's options: %w", err)
	}
	var options runtime.RawOptionsWrapper
	if err := json.Unmarshal([]byte(text), &options); err != nil {
		return fmt.Errorf("read the job's options: %w", err)
	}
	runtime.GlobalOptions.Import(options.Options)
	initBeam()
	return harness.MainWithOptions(ctx, logging, control,
		harness.Options{StatusEndpoint: info.GetStatusEndpoint().GetUrl(), RunnerCapabilities: info.GetRunnerCapabilities()})
}

// flagValue is the value of a flag in the form --name=value; the last one counts.
func flagValue(args []string, name string) (value string) {
	for _, arg := range args {
		if v, ok := strings.CutPrefix(arg, name); ok {
			value = v
		}
	}
	return value
}

// checkProgram compares this program with the one that submitted the job; an empty sum is not known.
func checkProgram(want string) error {
	if want == "" {
		return nil
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find the worker's program: %w", err)
	}
	got, err := programSum(self)
	if err != nil {
		return err
	}
	if got != want {
		return errors.New("the program " + self + " on this host is another build than the one that submitted the job")
	}
	return nil
}

// programSum is the SHA-256 of a program.
func programSum(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", fmt.Errorf("read the worker's program: %w", err)
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return "", fmt.Errorf("read the worker's program: %w", err)
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}
