package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/clickledger/clickledger/internal/embedkafka"
	"github.com/clickledger/clickledger/internal/gatewaykafka"
	"github.com/clickledger/clickledger/internal/wal"
	"github.com/clickledger/clickledger/jobs/gateway"
)

// childVariable makes this program the broker or the gateway.
const childVariable = "CLICKLEDGER_BENCH_GATEWAY_CHILD"

// nginxConfig answers 302 with the gateway's headers, and writes nothing.
const nginxConfig = `worker_processes %d;
pid %[2]s/nginx.pid;
error_log %[2]s/error.log;
daemon off;
events { worker_connections 4096; }
http {
  access_log off;
  keepalive_requests 1000000000;
  client_body_temp_path %[2]s/t1; proxy_temp_path %[2]s/t2; fastcgi_temp_path %[2]s/t3; uwsgi_temp_path %[2]s/t4; scgi_temp_path %[2]s/t5;
  server {
    listen 127.0.0.1:%[3]d backlog=4096;
    location / {
      add_header Cache-Control "no-cache, no-store, must-revalidate" always;
      return 302 https://www.shop.example/landing;
    }
  }
}
`

type targets struct {
	nginx, gateway target
	metrics        string
}

func child() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := serve(ctx, strings.Split(os.Getenv(childVariable), "|")); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// serve runs a broker or a gateway, and prints its address when it answers.
func serve(ctx context.Context, args []string) error {
	kind, dir := args[0], args[1]
	if kind == "broker" {
		srv, err := embedkafka.Start(ctx, embedkafka.Config{Dir: dir})
		if err != nil {
			return err
		}
		fmt.Println(srv.Addr())
		<-ctx.Done()
		return srv.Close()
	}
	producer, err := gatewaykafka.Open(gatewaykafka.Config{Brokers: []string{args[2]}})
	if err != nil {
		return err
	}
	gateway.OwnProcess()
	_, err = gateway.Run(ctx, gateway.Config{Listen: "127.0.0.1:0", WAL: wal.Config{Dir: dir}, RedirectHosts: []string{"*.example"}},
		gateway.Deps{Producer: producer, Listening: func(a net.Addr) { fmt.Println(a) }})
	return errors.Join(err, producer.Close())
}

// startChild starts this program as a server and returns its address.
func startChild(args ...string) (*exec.Cmd, string, error) {
	own, err := os.Executable()
	if err != nil {
		return nil, "", err
	}
	cmd := exec.Command(own) //nolint:noctx // it is ended by a signal, so that it can end cleanly
	cmd.Env = append(os.Environ(), childVariable+"="+strings.Join(args, "|"))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, "", err
	}
	if err := cmd.Start(); err != nil {
		return nil, "", err
	}
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		return nil, "", fmt.Errorf("the %s does not start: %w", args[0], cmd.Wait())
	}
	return cmd, lines.Text(), nil
}

func startTargets(ctx context.Context, s settings, nginx string) (t targets, stop func(), err error) {
	var started []*exec.Cmd
	stop = func() {
		for _, cmd := range slices.Backward(started) {
			interrupt(cmd)
		}
	}
	broker, brokerAddr, err := startChild("broker", filepath.Join(s.dir, "kafka"))
	if err != nil {
		return t, stop, err
	}
	started = append(started, broker)
	gw, gwAddr, err := startChild("gateway", filepath.Join(s.dir, "wal"), brokerAddr)
	if err != nil {
		return t, stop, err
	}
	started = append(started, gw)
	web, port, err := startNginx(s, nginx)
	if err != nil {
		return t, stop, err
	}
	started = append(started, web)
	query := "/api/v1/clicks?ad_id=ad_99a2c3d4&advertiser_id=adv_88f7e6d5&campaign_id=cmp_77b6a5d4&user_id=usr_55c4b3a2&cost_per_click=0.45" +
		"&ip_address=198.51.100.7&timestamp=1782236500&redirect_url=https%3A%2F%2Fwww.shop.example%2Flanding&click_id=clk_"
	at := func(addr string) func(n int64) string {
		return func(n int64) string { return "http://" + addr + query + strconv.FormatInt(n, 36) }
	}
	nginxAddr := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	t = targets{nginx: target{"nginx", web.Process.Pid, broker.Process.Pid, at(nginxAddr)},
		gateway: target{"gateway", gw.Process.Pid, broker.Process.Pid, at(gwAddr)},
		metrics: "http://" + gwAddr + "/metrics"}
	return t, stop, await(ctx, nginxAddr)
}

func startNginx(s settings, program string) (*exec.Cmd, int, error) {
	dir := filepath.Join(s.dir, "nginx")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, 0, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, 0, err
	}
	addr, _ := l.Addr().(*net.TCPAddr)
	if err := l.Close(); err != nil {
		return nil, 0, err
	}
	conf := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(conf, fmt.Appendf(nil, nginxConfig, runtime.NumCPU(), dir, addr.Port), 0o644); err != nil {
		return nil, 0, err
	}
	cmd := exec.Command(program, "-p", dir, "-c", conf, "-e", filepath.Join(dir, "error.log")) //nolint:noctx // see startChild
	cmd.Stderr = os.Stderr
	return cmd, addr.Port, cmd.Start()
}

func await(ctx context.Context, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("nginx does not answer: %w", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// synced reads from the gateway's metrics what its syncs were.
func (t targets) synced(r *report) error {
	resp, err := http.Get(t.metrics) //nolint:noctx // it is on this machine
	if err != nil {
		return err
	}
	text, err := io.ReadAll(resp.Body)
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return err
	}
	values := map[string]float64{}
	for line := range bytes.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(string(line)), " ")
		if n, err := strconv.ParseFloat(value, 64); err == nil {
			values[name] = n
		}
	}
	groups := max(1, values["clickledger_gateway_wal_group_records_count"])
	r.ClicksPerSync = values["clickledger_gateway_wal_group_records_sum"] / groups
	r.SyncMillis = 1000 * values["clickledger_gateway_wal_sync_seconds_sum"] / groups
	r.ShippedToBroker = int64(values["clickledger_gateway_shipped_records_total"])
	return nil
}
