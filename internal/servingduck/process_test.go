package servingduck

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/serving"
)

// childURL names the store that a re-executed test binary owns until its stdin is closed.
const childURL = "SERVINGDUCK_TEST_CHILD_URL"

func TestMain(m *testing.M) {
	if storeURL := os.Getenv(childURL); storeURL != "" {
		if err := child(storeURL); err != nil {
			fmt.Println("error:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// child owns the store and upserts the row of the version named by each line of stdin.
func child(storeURL string) error {
	s, err := Open(context.Background(), storeURL, Options{MustOwn: true})
	if err != nil {
		return err
	}
	fmt.Println("open")
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		var version uint64
		if _, err := fmt.Sscan(in.Text(), &version); err != nil {
			return err
		}
		err := s.Upsert(context.Background(), []schemas.MinuteRow{row(0, "a", 3, version)},
			serving.Progress{WatermarkMillis: int64(version), PolicyHash: "p"})
		if err != nil {
			return err
		}
		fmt.Println(version)
	}
	return s.Close()
}

type process struct {
	cmd  *exec.Cmd
	tell func(version int)
	end  func()
}

func startChild(t *testing.T, storeURL string) *process {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childURL+"="+storeURL)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(stdout)
	expect := func(want string) {
		t.Helper()
		if !lines.Scan() || lines.Text() != want {
			t.Fatalf("child said %q, want %q", lines.Text(), want)
		}
	}
	expect("open")
	return &process{cmd: cmd,
		tell: func(version int) {
			t.Helper()
			fmt.Fprintln(stdin, version)
			expect(fmt.Sprint(version))
		},
		end: func() {
			t.Helper()
			stdin.Close()
			if err := cmd.Wait(); err != nil {
				t.Errorf("child: %v", err)
			}
		}}
}

func TestThroughAnotherProcess(t *testing.T) {
	t.Parallel()
	storeURL := "duckdb://" + filepath.Join(t.TempDir(), "serving.duckdb")
	owner := startChild(t, storeURL)
	owner.tell(7)
	s := open(t, storeURL, Options{})
	if s.IsOwner() {
		t.Fatal("two owners")
	}
	wantRows(t, s, serving.Current, row(0, "a", 3, 7))
	progress, err := s.LoadProgress(t.Context())
	if want := (serving.Progress{WatermarkMillis: 7, PolicyHash: "p"}); err != nil || !reflect.DeepEqual(progress, want) {
		t.Errorf("progress: got %+v, %v", progress, err)
	}
	if err := s.Upsert(t.Context(), nil, serving.Progress{}); !errors.Is(err, ErrNotOwner) {
		t.Errorf("upsert: got %v", err)
	}
	rows := make([]schemas.MinuteRow, 10_000) // more than a batch of the transfer
	for i := range rows {
		rows[i] = row(int64(i/100), fmt.Sprintf("ad-%05d", i), int64(i+1), 100)
	}
	if err := s.PublishFinal(t.Context(), serving.FinalDay{DayMillis: day, CutMillis: day + serving.DayMillis}, rows); err != nil {
		t.Fatal(err)
	}
	for i := range rows {
		rows[i].IsFinal = true
	}
	wantRows(t, s, serving.Current, rows...)
	if err := s.PublishFinal(t.Context(), serving.FinalDay{DayMillis: day, CutMillis: day + 1}, nil); err == nil || errors.Is(err, ErrOwnerGone) {
		t.Errorf("bad cut: got %v", err)
	}
	owner.tell(8) // the owner goes on writing
	wantRows(t, s, serving.Provisional, row(0, "a", 3, 8))
	owner.end()
	if _, err := s.LoadProgress(t.Context()); !errors.Is(err, ErrOwnerGone) {
		t.Errorf("after the owner's end: got %v", err)
	}
	for _, err := range s.Rows(t.Context(), serving.Current, serving.Range{}) {
		if !errors.Is(err, ErrOwnerGone) {
			t.Errorf("rows after the owner's end: got %v", err)
		}
	}
	heir := open(t, storeURL, Options{})
	if !heir.IsOwner() {
		t.Error("the lock was not dropped")
	}
	wantRows(t, heir, serving.Current, rows...)
}

func TestKilledOwner(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "serving.duckdb")
	owner := startChild(t, "duckdb://"+path)
	owner.tell(1)
	owner.tell(2)
	if err := owner.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	owner.cmd.Wait()
	if _, err := os.Stat(path + ".owner.json"); err != nil {
		t.Fatalf("want a stale sidecar: %v", err)
	}
	s := open(t, "duckdb://"+path, Options{})
	if !s.IsOwner() {
		t.Fatal("the killed owner still owns the file")
	}
	wantRows(t, s, serving.Current, row(0, "a", 3, 2)) // what was acknowledged is there
	progress, err := s.LoadProgress(t.Context())
	if err != nil || progress.WatermarkMillis != 2 {
		t.Errorf("progress: got %+v, %v", progress, err)
	}
	remote := open(t, "duckdb://"+path, Options{}) // by the new sidecar
	wantRows(t, remote, serving.Current, row(0, "a", 3, 2))
}

func TestSidecarIsPrivateAndNeeded(t *testing.T) {
	t.Parallel()
	s, storeURL := setup(t)
	path := strings.TrimPrefix(storeURL, "duckdb://")
	info, err := os.Stat(path + ".owner.json")
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("sidecar: got %v, %v", info, err)
	}
	side, err := readSidecar(path)
	if err != nil || side.PID != os.Getpid() || !strings.HasPrefix(side.Address, "127.0.0.1:") {
		t.Fatalf("sidecar: got pid %d at %s, %v", side.PID, side.Address, err)
	}
	for _, token := range []string{"", "Bearer ", "Bearer " + strings.Repeat("0", len(side.Token))} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+side.Address+"/v1/progress", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", token)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("token %q: got %s", token, resp.Status)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path + ".owner.json"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("sidecar after Close: got %v", err)
	}
	if _, err := os.Stat(path + ".tmp"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("temporary folder after Close: got %v", err)
	}
}
