package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"github.com/spf13/cobra"

	"github.com/clickledger/clickledger/internal/bench"
	"github.com/clickledger/clickledger/internal/embedkafka"
)

// result is what a phase prints.
type result struct {
	bench.Figures

	Bytes float64 `json:"bytes"` // of all values, from phases that made the log
}

// phase runs one phase in a process of its own and returns what it measured.
func (s *settings) phase(ctx context.Context, name string) (result, error) {
	fmt.Fprintf(os.Stderr, "bench: %s\n", name)
	start := time.Now()
	cmd, err := s.child(ctx, name)
	if err != nil {
		return result{}, err
	}
	out, err := cmd.Output()
	if err != nil {
		return result{}, fmt.Errorf("%s: %w", name, err)
	}
	var r result
	if err := json.Unmarshal(out, &r); err != nil {
		return result{}, fmt.Errorf("%s: read result: %w", name, err)
	}
	fmt.Fprintf(os.Stderr, "bench: %s: %.1f s with its preparation, %.2f us CPU a click\n", name, time.Since(start).Seconds(), r.CPUMicrosPerClick)
	return r, nil
}

func (s *settings) child(ctx context.Context, name string) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find the program: %w", err)
	}
	doc, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self, "phase", name, string(doc))
	cmd.Stderr = os.Stderr
	return cmd, nil
}

// phaseCommand is what a child runs.
func phaseCommand() *cobra.Command {
	return &cobra.Command{
		Use: "phase NAME SETTINGS", Hidden: true, Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			var s settings
			if err := json.Unmarshal([]byte(args[1]), &s); err != nil {
				return fmt.Errorf("settings: %w", err)
			}
			if args[0] == phaseBroker {
				return s.broker(cmd.Context())
			}
			run, ok := phases[args[0]]
			if !ok {
				return fmt.Errorf("there is no phase %q", args[0])
			}
			r, err := run(cmd.Context(), &s)
			if err != nil {
				return err
			}
			return json.NewEncoder(os.Stdout).Encode(r)
		},
	}
}

// broker serves until its standard input ends, and answers every line with the CPU time that it
// has used.
func (s *settings) broker(ctx context.Context) (err error) {
	srv, err := embedkafka.Start(ctx, embedkafka.Config{Dir: s.Dir + "/log", Partitions: s.Partitions})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, srv.Close()) }()
	fmt.Println(srv.URL())
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		cpu, err := bench.CPU()
		if err != nil {
			return err
		}
		fmt.Println(int64(cpu))
	}
	return lines.Err()
}

// brokerProcess is the broker's side of its parent.
type brokerProcess struct {
	url string
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func (s *settings) startBroker(ctx context.Context) (*brokerProcess, error) {
	cmd, err := s.child(ctx, phaseBroker)
	if err != nil {
		return nil, err
	}
	b := &brokerProcess{cmd: cmd}
	if b.in, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	b.out = bufio.NewReader(out)
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the broker: %w", err)
	}
	if _, err := fmt.Fscanln(b.out, &b.url); err != nil {
		return nil, errors.Join(fmt.Errorf("start the broker: %w", err), b.stop())
	}
	return b, nil
}

// cpu is the CPU time that the broker has used so far.
func (b *brokerProcess) cpu() (time.Duration, error) {
	if _, err := fmt.Fprintln(b.in); err != nil {
		return 0, fmt.Errorf("ask the broker: %w", err)
	}
	var nanos int64
	if _, err := fmt.Fscanln(b.out, &nanos); err != nil {
		return 0, fmt.Errorf("ask the broker: %w", err)
	}
	return time.Duration(nanos), nil
}

func (b *brokerProcess) stop() error {
	_ = b.in.Close()
	if err := b.cmd.Wait(); err != nil {
		return fmt.Errorf("broker: %w", err)
	}
	return nil
}
