package flinkrunner

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/runtime/graphx"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/util/hooks"
	jobpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/jobmanagement_v1"
	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/runners/universal/runnerlib"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/util/grpcx"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/structpb"
)

// ErrStalled is returned when every start of a job made no progress.
var ErrStalled = errors.New("the job makes no progress after its start")

// Submit submits a pipeline and returns when the job is seen to make progress, or has ended. A
// start that hangs (about one of eight does, on a cluster that has just been started) is cancelled
// and tried again, from the same savepoint if there is one. The caller must Close the job.
func Submit(ctx context.Context, cfg Config, p *beam.Pipeline) (_ *Job, err error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	initBeam()
	if err := reach(ctx, cfg); err != nil {
		return nil, fmt.Errorf("submit %s: %w", cfg.Name, err)
	}
	var workers *pool
	if cfg.Environment == Loopback {
		if workers, err = startPool(ctx, "127.0.0.1:0", cfg.Logger); err != nil {
			return nil, fmt.Errorf("submit %s: %w", cfg.Name, err)
		}
		cfg.WorkerPool = workers.addr
	}
	defer func() {
		if err != nil && workers != nil {
			workers.close()
		}
	}()
	model, binary, err := translate(ctx, cfg, p)
	if err != nil {
		return nil, fmt.Errorf("submit %s: %w", cfg.Name, err)
	}
	for start := 1; ; start++ {
		job, err := submitOnce(ctx, cfg, model, binary)
		if err != nil {
			return nil, fmt.Errorf("submit %s: %w", cfg.Name, err)
		}
		job.workers, job.Starts = workers, start
		err = job.awaitProgress(ctx)
		if err == nil {
			return job, nil
		}
		cancelErr := job.Cancel(context.WithoutCancel(ctx))
		if !errors.Is(err, ErrStalled) || start == cfg.Starts || cancelErr != nil {
			return nil, fmt.Errorf("submit %s, start %d of %d: %w", cfg.Name, start, cfg.Starts, errors.Join(err, cancelErr))
		}
		cfg.Logger.Warn("a job made no progress after its start: submitting it again", "job", cfg.Name, "flink_job_id", job.ID,
			"start", start, "starts", cfg.Starts)
	}
}

// reach finds out early, and in one line, that a server is away: the clients below would wait long
// and say much.
func reach(ctx context.Context, cfg Config) error {
	if err := (rest{cfg.REST}).get(ctx, "/overview", nil); err != nil {
		return err
	}
	dialer := net.Dialer{Timeout: askTimeout}
	conn, err := dialer.DialContext(ctx, "tcp", cfg.JobService)
	if err != nil {
		return fmt.Errorf("the beam job server at %s %w: %w", cfg.JobService, ErrUnreachable, err)
	}
	return conn.Close()
}

// translate turns a pipeline into Beam's portable form and names the program that is staged.
func translate(ctx context.Context, cfg Config, p *beam.Pipeline) (*pipepb.Pipeline, string, error) {
	edges, _, err := p.Build()
	if err != nil {
		return nil, "", fmt.Errorf("build the pipeline: %w", err)
	}
	urn, text, binary := graphx.URNEnvExternal, cfg.WorkerPool, os.DevNull // a running worker needs no program
	if cfg.Environment == Process {
		if text, binary, err = processWorker(cfg); err != nil {
			return nil, "", err
		}
		urn = graphx.URNEnvProcess
	}
	environment, err := graphx.CreateEnvironment(ctx, urn, func(context.Context) string { return text })
	if err != nil {
		return nil, "", fmt.Errorf("describe the worker: %w", err)
	}
	model, err := graphx.Marshal(edges, &graphx.Options{Environment: environment})
	if err != nil {
		return nil, "", fmt.Errorf("translate the pipeline: %w", err)
	}
	if err := runnerlib.UpdateGoEnvironmentWorker(binary, model); err != nil {
		return nil, "", fmt.Errorf("read the worker's program: %w", err)
	}
	return model, binary, nil
}

// processWorker describes what a TaskManager starts, and names the program that is staged for it.
func processWorker(cfg Config) (payload, staged string, err error) {
	program, err := filepath.Abs(cfg.WorkerBinary)
	if err != nil {
		return "", "", fmt.Errorf("find the worker's program: %w", err)
	}
	command, env := cfg.Boot, map[string]string{}
	staged = program
	if command == "" {
		command, staged = program, os.DevNull
	}
	maps.Copy(env, cfg.WorkerEnv)
	if env[programVariable], err = programSum(program); err != nil {
		return "", "", err
	}
	text, err := protojson.Marshal(&pipepb.ProcessPayload{Command: command, Env: env})
	if err != nil {
		return "", "", fmt.Errorf("describe the worker: %w", err)
	}
	return string(text), staged, nil
}

// submitOnce has the job server start the job, and finds it in the cluster.
func submitOnce(ctx context.Context, cfg Config, model *pipepb.Pipeline, binary string) (*Job, error) {
	ctx, cancel := context.WithTimeout(ctx, cfg.SubmitTimeout)
	defer cancel()
	var suffix [6]byte
	_, _ = rand.Read(suffix[:]) // never fails
	name := cfg.Name + "-" + hex.EncodeToString(suffix[:])
	options, err := pipelineOptions(cfg.options(name))
	if err != nil {
		return nil, fmt.Errorf("write the options: %w", err)
	}
	conn, err := grpcx.Dial(ctx, cfg.JobService, askTimeout)
	if err != nil {
		return nil, fmt.Errorf("the beam job server at %s %w: %w", cfg.JobService, ErrUnreachable, err)
	}
	defer conn.Close()
	client := jobpb.NewJobServiceClient(conn)
	prepared, err := client.Prepare(ctx, &jobpb.PrepareJobRequest{Pipeline: model, PipelineOptions: options, JobName: name})
	if err != nil {
		return nil, fmt.Errorf("prepare at %s: %w", cfg.JobService, err)
	}
	token, err := runnerlib.Stage(ctx, prepared.GetPreparationId(), prepared.GetArtifactStagingEndpoint().GetUrl(), binary,
		prepared.GetStagingSessionToken())
	if err != nil {
		return nil, fmt.Errorf("stage the worker's program %s: %w", filepath.Base(binary), err)
	}
	beamID, err := runnerlib.Submit(ctx, client, prepared.GetPreparationId(), token)
	if err != nil {
		return nil, fmt.Errorf("run at %s: %w", cfg.JobService, err)
	}
	job := &Job{Name: name, BeamID: beamID, cfg: cfg, rest: rest{cfg.REST}}
	if err := job.find(ctx, client); err != nil {
		return nil, err
	}
	cfg.Logger.Info("submitted to flink", "job", name, "flink_job_id", job.ID, "environment", cfg.Environment)
	return job, nil
}

// pipelineOptions writes the options in Beam's form. Those of the Go SDK are its hooks alone: no
// flag of this program becomes an option.
func pipelineOptions(short map[string]any) (*structpb.Struct, error) {
	hooks.SerializeHooksToOptions()
	full := map[string]any{"beam:option:go_options:v1": beam.PipelineOptions.Export()}
	for name, value := range short {
		full["beam:option:"+name+":v1"] = value
	}
	text, err := json.Marshal(full)
	if err != nil {
		return nil, err
	}
	options := &structpb.Struct{}
	return options, protojson.Unmarshal(text, options)
}

// find waits until the cluster has the job, or the job server says why it will not have it.
func (j *Job) find(ctx context.Context, client jobpb.JobServiceClient) error {
	for {
		id, err := findJob(ctx, j.rest, j.Name)
		if err == nil {
			j.ID = id
			return nil
		}
		if !errors.Is(err, ErrNotFound) {
			return err
		}
		state, err := client.GetState(ctx, &jobpb.GetJobStateRequest{JobId: j.BeamID})
		if err != nil {
			return fmt.Errorf("ask the beam job server at %s for the job: %w", j.cfg.JobService, err)
		}
		if state.GetState() == jobpb.JobState_FAILED {
			return fmt.Errorf("the job server could not start the job: %s", j.complaints(ctx, client))
		}
		if err := pause(ctx, pollInterval); err != nil {
			return fmt.Errorf("wait for flink to have the job: %w", err)
		}
	}
}

// complaints are the job server's errors on a job.
func (j *Job) complaints(ctx context.Context, client jobpb.JobServiceClient) string {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	stream, err := client.GetMessageStream(ctx, &jobpb.JobMessagesRequest{JobId: j.BeamID})
	if err != nil {
		return err.Error()
	}
	last := "no reason given"
	for {
		message, err := stream.Recv()
		if err != nil { // its end, or enough
			return last
		}
		if m := message.GetMessageResponse(); m.GetImportance() >= jobpb.JobMessage_JOB_MESSAGE_ERROR {
			last = rootCause(m.GetMessageText())
		}
	}
}

// findJob returns the ID of a job by its name.
func findJob(ctx context.Context, r rest, name string) (string, error) {
	var answer struct {
		Jobs []struct {
			ID   string `json:"jid"`
			Name string `json:"name"`
		} `json:"jobs"`
	}
	if err := r.get(ctx, "/jobs/overview", &answer); err != nil {
		return "", err
	}
	for _, j := range answer.Jobs {
		if j.Name == name {
			return j.ID, nil
		}
	}
	return "", fmt.Errorf("job %s: %w", name, ErrNotFound)
}
