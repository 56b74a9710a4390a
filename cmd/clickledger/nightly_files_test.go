package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// read returns a file of scripts/.
func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "scripts", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// parses fails the test unless the program knows the command line.
func parses(t *testing.T, line string) {
	t.Helper()
	args := strings.Fields(line)
	if len(args) < 2 || args[0] != "/usr/local/bin/clickledger" {
		t.Fatalf("%q does not start the program", line)
	}
	cmd, rest, err := newRoot(&app{}).Find(args[1:])
	if err == nil {
		err = cmd.ParseFlags(rest)
	}
	if err == nil {
		err = cmd.ValidateArgs(cmd.Flags().Args())
	}
	if err != nil || cmd.Name() != "nightly" {
		t.Errorf("%q: command %s, %v", line, cmd.Name(), err)
	}
}

func TestNightlyByCron(t *testing.T) {
	t.Parallel()
	jobs := regexp.MustCompile(`(?m)^[0-9]+ [0-9]+ \* \* \* \w+ (/.*)$`).FindAllStringSubmatch(read(t, "nightly.cron"), -1)
	if len(jobs) == 0 {
		t.Fatal("no job")
	}
	for _, job := range jobs {
		parses(t, job[1])
	}
}

func TestNightlyBySystemd(t *testing.T) {
	t.Parallel()
	service, timer := read(t, "clickledger-nightly.service"), read(t, "clickledger-nightly.timer")
	line := regexp.MustCompile(`(?m)^ExecStart=(.*)$`).FindStringSubmatch(service)
	if line == nil {
		t.Fatal("the service starts nothing")
	}
	parses(t, line[1])
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("systemd-analyze is not installed: the units are not verified")
	}
	dir := t.TempDir()
	// The program need not be installed here.
	service = strings.ReplaceAll(service, "/usr/local/bin/clickledger", binary)
	for name, text := range map[string]string{"clickledger-nightly.service": service, "clickledger-nightly.timer": timer} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out, err := exec.CommandContext(t.Context(), analyze, "verify", "--man=no", filepath.Join(dir, "clickledger-nightly.service"),
		filepath.Join(dir, "clickledger-nightly.timer")).CombinedOutput()
	if err != nil || strings.Contains(string(out), "clickledger-nightly") {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
}

func TestNightlyByKubernetes(t *testing.T) {
	t.Parallel()
	var job struct {
		Kind string
		Spec struct {
			Schedule          string
			TimeZone          string `yaml:"timeZone"`
			ConcurrencyPolicy string `yaml:"concurrencyPolicy"`
			JobTemplate       struct {
				Spec struct {
					PodFailurePolicy struct {
						Rules []struct {
							OnExitCodes struct{ Values []int } `yaml:"onExitCodes"`
						}
					} `yaml:"podFailurePolicy"`
					Template struct {
						Spec struct {
							RestartPolicy string `yaml:"restartPolicy"`
							Containers    []struct{ Command, Args []string }
						}
					}
				}
			} `yaml:"jobTemplate"`
		}
	}
	text := read(t, "nightly-cronjob.yaml")
	if err := yaml.Unmarshal([]byte(text), &job); err != nil {
		t.Fatal(err)
	}
	work := job.Spec.JobTemplate.Spec
	if job.Kind != "CronJob" || job.Spec.Schedule == "" || job.Spec.TimeZone != "Etc/UTC" || job.Spec.ConcurrencyPolicy != "Forbid" ||
		len(work.Template.Spec.Containers) != 1 ||
		len(work.PodFailurePolicy.Rules) != 2 || len(work.PodFailurePolicy.Rules[0].OnExitCodes.Values) != 2 ||
		work.Template.Spec.RestartPolicy != "Never" { // which the policy of failures needs
		t.Fatalf("job %+v", job)
	}
	c := work.Template.Spec.Containers[0]
	parses(t, strings.Join(append(c.Command, c.Args...), " "))
	if strings.Contains(text, "kind: Secret") {
		t.Error("a secret stands in the file")
	}
}
