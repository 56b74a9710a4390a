package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/clickledger/clickledger/internal/config"
	"github.com/clickledger/clickledger/internal/devservices"
	"github.com/clickledger/clickledger/internal/kafkaio"
)

const (
	// servicesVariable is 1 where tests may fetch and start real services.
	servicesVariable = "CLICKLEDGER_TEST_SERVICES"
	// testBase is apart from the ports of a developer's own services.
	testBase = 31000
)

// devRig is a set of services for a test.
type devRig struct {
	*testing.T
	dir string
}

func newDevRig(t *testing.T) *devRig {
	t.Helper()
	if os.Getenv(servicesVariable) != "1" {
		t.Skip(servicesVariable + " is not 1: no real services are started")
	}
	dir, err := os.MkdirTemp("", "clickledger-dev-")
	if err != nil {
		t.Fatal(err)
	}
	// PostgreSQL may run as another user.
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	r := &devRig{t, dir}
	t.Cleanup(func() {
		if got := r.dev("down"); got.code != config.ExitOK {
			t.Errorf("down: %s", got.err)
		}
		if t.Failed() {
			t.Logf("logs are in %s", dir)
			return
		}
		os.RemoveAll(dir)
	})
	return r
}

func (r *devRig) args(command string, more ...string) []string {
	return append([]string{"dev", command, "--json", "--dir", r.dir, "--port-base", strconv.Itoa(testBase)}, more...)
}

func (r *devRig) dev(command string, more ...string) outcome {
	r.Helper()
	return start(r.T, os.Environ(), r.args(command, more...)...)
}

// up brings all services up and returns their pids by name.
func (r *devRig) up() map[string]int {
	r.Helper()
	began := time.Now()
	got := r.dev("up")
	if got.code != config.ExitOK {
		r.Fatalf("up: exit code %d\n%s", got.code, got.err)
	}
	var result devResult
	if err := json.Unmarshal([]byte(got.out), &result); err != nil {
		r.Fatal(err)
	}
	pids := map[string]int{}
	for _, s := range result.Services {
		if s.State != devservices.StateUp || s.PID == 0 {
			r.Fatalf("after up: %+v", s)
		}
		pids[s.Name] = s.PID
	}
	r.Logf("up after %s: %v", time.Since(began).Round(100*time.Millisecond), pids)
	return pids
}

// kill ends a process as a crash would, and waits until it is no more.
func (r *devRig) kill(pid int) {
	r.Helper()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		r.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); syscall.Kill(pid, 0) == nil; {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err == nil && strings.Contains(string(stat), ") Z ") {
			return // it only waits for its parent
		}
		if time.Now().After(deadline) {
			r.Fatalf("pid %d does not end", pid)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func address(distance int) string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(testBase+distance))
}

// exchange is what a test does with one service: write a value, and find all that was written.
type exchange struct {
	write func(r *devRig, value string) error
	read  func(r *devRig) ([]string, error)
}

// exchanges are by clients of the usual kind, not by those that dev up asks with.
var exchanges = map[string]exchange{
	"kafka":      {writeKafka, readKafka},
	"clickhouse": {writeClickHouse, readClickHouse},
	"s3":         {writeS3, readS3},
	"redis":      {writeRedis, readRedis},
	"postgres":   {writePostgres, readPostgres},
}

func writeKafka(r *devRig, value string) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(address(92)))
	if err != nil {
		return err
	}
	defer client.Close()
	record := &kgo.Record{Topic: "clicks", Partition: 0, Value: []byte(value)}
	return client.ProduceSync(r.Context(), record).FirstErr()
}

func readKafka(r *devRig) ([]string, error) {
	client, err := kafkaio.Connect(r.Context(), []string{address(92)}, kafkaio.Options{})
	if err != nil {
		return nil, err
	}
	defer client.Close()
	var values []string
	for _, topic := range kafkaio.Topics() {
		partitions, err := client.Partitions(r.Context(), topic)
		if err != nil || len(partitions) != devPartitions {
			return nil, fmt.Errorf("topic %s: partitions %v, %w", topic, partitions, err)
		}
		for _, partition := range partitions {
			_, end, err := client.Offsets(r.Context(), topic, partition)
			if err != nil {
				return nil, err
			}
			reader := kafka.NewReader(kafka.ReaderConfig{Brokers: []string{address(92)}, Topic: topic, Partition: int(partition)})
			for range end {
				m, err := reader.ReadMessage(r.Context())
				if err != nil {
					return nil, err
				}
				values = append(values, string(m.Value))
			}
			if err := reader.Close(); err != nil {
				return nil, err
			}
		}
	}
	return values, nil
}

func clickHouse(r *devRig, statement string) (string, error) {
	request, err := http.NewRequestWithContext(r.Context(), http.MethodPost, "http://"+address(123)+"/?database=csp_analytics", strings.NewReader(statement))
	if err != nil {
		return "", err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", response.Status, text)
	}
	return string(text), err
}

func writeClickHouse(r *devRig, value string) error {
	for _, statement := range []string{
		"create table if not exists kept (v String) engine = MergeTree order by v",
		"insert into kept values ('" + value + "')",
	} {
		if _, err := clickHouse(r, statement); err != nil {
			return err
		}
	}
	return nil
}

func readClickHouse(r *devRig) ([]string, error) {
	// The native port, by the server's own client of that protocol.
	text, err := clickHouse(r, "select v from remote('"+address(900)+"', csp_analytics.kept)")
	return strings.Fields(text), err
}

func s3Client() (*minio.Client, error) {
	return minio.New(address(0), &minio.Options{
		Creds: credentials.NewStaticV4(devservices.S3AccessKey, devservices.S3SecretKey, ""), Region: devservices.S3Region,
	})
}

func writeS3(r *devRig, value string) error {
	client, err := s3Client()
	if err != nil {
		return err
	}
	options := minio.PutObjectOptions{}
	options.SetMatchETagExcept("*") // only if it is not there
	_, err = client.PutObject(r.Context(), devservices.S3Bucket, "kept/"+value, strings.NewReader(value), int64(len(value)), options)
	if err != nil {
		return err
	}
	if _, err = client.PutObject(r.Context(), devservices.S3Bucket, "kept/"+value, strings.NewReader("x"), 1, options); err == nil {
		return fmt.Errorf("a conditional put of %s succeeded twice", value)
	}
	return nil
}

func readS3(r *devRig) ([]string, error) {
	client, err := s3Client()
	if err != nil {
		return nil, err
	}
	var values []string
	for info := range client.ListObjects(r.Context(), devservices.S3Bucket, minio.ListObjectsOptions{Prefix: "kept/"}) {
		if info.Err != nil {
			return nil, info.Err
		}
		object, err := client.GetObject(r.Context(), devservices.S3Bucket, info.Key, minio.GetObjectOptions{})
		if err != nil {
			return nil, err
		}
		text, err := io.ReadAll(object)
		if err != nil {
			return nil, err
		}
		values = append(values, string(text))
	}
	return values, nil
}

// redis sends commands as lines, and returns the lines of the answers.
func redis(commands string, lines int) ([]string, error) {
	conn, err := net.Dial("tcp", address(379))
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, commands); err != nil {
		return nil, err
	}
	var answer []string
	for in := bufio.NewScanner(conn); len(answer) < lines && in.Scan(); {
		answer = append(answer, in.Text())
	}
	return answer, nil
}

func writeRedis(_ *devRig, value string) error {
	answer, err := redis("SET kept:"+value+" "+value+"\r\nGET kept:"+value+"\r\n", 3)
	if err == nil && !slices.Equal(answer, []string{"+OK", "$" + strconv.Itoa(len(value)), value}) {
		err = fmt.Errorf("answers %q", answer)
	}
	return err
}

func readRedis(*devRig) ([]string, error) {
	answer, err := redis("KEYS kept:*\r\n", 1)
	if err != nil || len(answer) == 0 {
		return nil, err
	}
	count, err := strconv.Atoi(strings.TrimPrefix(answer[0], "*"))
	if err != nil {
		return nil, err
	}
	if answer, err = redis("KEYS kept:*\r\n", 1+2*count); err != nil {
		return nil, err
	}
	var values []string
	for _, line := range answer {
		if value, ok := strings.CutPrefix(line, "kept:"); ok {
			values = append(values, value)
		}
	}
	return values, nil
}

func postgres(r *devRig) (*pgx.Conn, error) {
	return pgx.Connect(r.Context(), fmt.Sprintf("postgres://%s:%s@%s/%s?sslmode=disable",
		devservices.PostgresUser, devservices.PostgresPassword, address(432), devservices.PostgresDatabase))
}

func writePostgres(r *devRig, value string) error {
	conn, err := postgres(r)
	if err != nil {
		return err
	}
	defer conn.Close(context.Background())
	if _, err = conn.Exec(r.Context(), "create table if not exists kept (v text primary key)"); err == nil {
		_, err = conn.Exec(r.Context(), "insert into kept values ($1)", value)
	}
	return err
}

func readPostgres(r *devRig) ([]string, error) {
	conn, err := postgres(r)
	if err != nil {
		return nil, err
	}
	defer conn.Close(context.Background())
	rows, err := conn.Query(r.Context(), "select v from kept")
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// expect reads all services and wants these values in each.
func (r *devRig) expect(values ...string) {
	r.Helper()
	for _, name := range slices.Sorted(maps.Keys(exchanges)) {
		got, err := exchanges[name].read(r)
		slices.Sort(got)
		if err != nil || !slices.Equal(got, values) {
			r.Errorf("%s has %q, %v, want %q", name, got, err, values)
		}
	}
}

func (r *devRig) write(value string) {
	r.Helper()
	for _, name := range slices.Sorted(maps.Keys(exchanges)) {
		if err := exchanges[name].write(r, value); err != nil {
			r.Fatalf("%s: %v", name, err)
		}
	}
}

// postmaster is the pid of PostgreSQL itself, whose parent is what dev up has recorded.
func (r *devRig) postmaster() int {
	r.Helper()
	conn, err := postgres(r)
	if err != nil {
		r.Fatal(err)
	}
	defer conn.Close(context.Background())
	var dir string
	if err := conn.QueryRow(r.Context(), "show data_directory").Scan(&dir); err != nil {
		r.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "postmaster.pid"))
	if err != nil {
		r.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.Fields(string(text))[0])
	if err != nil {
		r.Fatal(err)
	}
	return pid
}

// TestServicesDev is the life of the development services: up, up again, data in and out, kill -9 of
// each and of dev up itself, status, down.
func TestServicesDev(t *testing.T) {
	r := newDevRig(t)
	first := r.up()
	r.write("a")
	r.expect("a")
	if again := r.up(); !maps.Equal(first, again) {
		t.Errorf("the second up has pids %v, want %v", again, first)
	}
	for _, name := range slices.Sorted(maps.Keys(first)) {
		r.kill(first[name])
	}
	var result devResult
	got := r.dev("status")
	if err := json.Unmarshal([]byte(got.out), &result); err != nil {
		t.Fatal(err)
	}
	for _, s := range result.Services {
		if s.PID != 0 || s.State == devservices.StateUp || s.State == devservices.StateSilent {
			t.Errorf("after kill -9: %+v", s)
		}
	}
	second := r.up()
	r.expect("a")
	r.write("b")
	r.kill(r.postmaster())
	for deadline := time.Now().Add(10 * time.Second); syscall.Kill(second["postgres"], 0) == nil && time.Now().Before(deadline); {
		time.Sleep(50 * time.Millisecond)
	}
	r.resetClickHouse()
	third := r.up()
	for name, pid := range third {
		if same := pid == second[name]; same == (name == "postgres") {
			t.Errorf("%s has pid %d after the second kill, %d before", name, pid, second[name])
		}
	}
	r.expect("a", "b")
	r.interrupt()
	r.up()
	r.expect("a", "b")
	if got := r.dev("down"); got.code != config.ExitOK || strings.Count(got.out, `"down"`) != len(first) {
		t.Errorf("down: exit code %d, %s%s", got.code, got.out, got.err)
	}
	if got := r.dev("status"); got.code != config.ExitFailed {
		t.Errorf("status of nothing: exit code %d", got.code)
	}
}

// interrupt ends the services and kills `dev up` at several moments of bringing them back.
func (r *devRig) interrupt() {
	r.Helper()
	for _, after := range []time.Duration{100, 300, 600, 1000, 2000} {
		if got := r.dev("down"); got.code != config.ExitOK {
			r.Fatalf("down: %s", got.err)
		}
		var stderr bytes.Buffer
		cmd := exec.Command(binary, r.args("up")...)
		cmd.Stderr = &stderr
		if err := cmd.Start(); err != nil {
			r.Fatal(err)
		}
		time.Sleep(after * time.Millisecond)
		if err := cmd.Process.Kill(); err != nil {
			r.Fatal(err)
		}
		_ = cmd.Wait()
		r.Logf("dev up, killed after %d ms, had said %d lines", after, strings.Count(stderr.String(), "\n"))
		if after == 300 {
			r.up()
		}
	}
}

// resetClickHouse does what a killed client of the native protocol does, many times.
func (r *devRig) resetClickHouse() {
	r.Helper()
	for range 200 {
		conn, err := net.Dial("tcp", address(900))
		if err != nil {
			r.Fatal(err)
		}
		hello := "\x00\x01x\x01\x00\xb3\xa9\x03\x07default\x07default\x00"
		if _, err := io.WriteString(conn, hello); err != nil {
			r.Fatal(err)
		}
		if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
			r.Fatal(err)
		}
		if err := conn.(*net.TCPConn).SetLinger(0); err != nil {
			r.Fatal(err)
		}
		conn.Close()
	}
}
