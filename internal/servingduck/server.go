package servingduck

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/gob"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/clickledger/clickledger/schemas/serving"
)

// Limits of the owner's API.
const (
	headerTimeout   = 10 * time.Second
	shutdownTimeout = 10 * time.Second
	queryBytesMax   = 8 << 20
	publishBytesMax = 8 << 30
	tokenBytes      = 32
)

// init registers what travels inside a Table or as an argument, beside gob's basic types.
func init() { gob.Register(time.Time{}) }

// queryRequest is the body of a query.
type queryRequest struct {
	Query string
	Args  []any
}

// server is the owner's API for the other processes of this machine.
type server struct {
	owner *owner
	http  *http.Server
	done  chan error // the result of Serve
}

func startServer(o *owner) (*server, error) {
	secret := make([]byte, tokenBytes)
	rand.Read(secret) // never fails
	token := hex.EncodeToString(secret)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("serve the store's owner API: %w", err)
	}
	s := &server{owner: o, done: make(chan error, 1)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/progress", s.progress)
	mux.HandleFunc("GET /v1/epoch", s.epoch)
	mux.HandleFunc("GET /v1/rows", s.rows)
	mux.HandleFunc("POST /v1/final", s.final)
	mux.HandleFunc("POST /v1/query", s.query)
	s.http = &http.Server{
		Handler: onlyWith(token, mux), ReadHeaderTimeout: headerTimeout,
	}
	go func() { s.done <- s.http.Serve(listener) }()
	err = writeSidecar(o.path, sidecar{PID: os.Getpid(), Address: listener.Addr().String(), Token: token})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("advertise the store's owner: %w", err), s.http.Close())
	}
	return s, nil
}

// close removes the sidecar and waits for requests that are under way, for a while.
func (s *server) close() error {
	err := removeIfThere(sidecarPath(s.owner.path))
	ctx, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
	defer cancel()
	if late := s.http.Shutdown(ctx); late != nil {
		s.owner.opts.Logger.Warn("requests of clients were cut off", "error", late)
		err = errors.Join(err, s.http.Close())
	}
	if serve := <-s.done; !errors.Is(serve, http.ErrServerClosed) {
		err = errors.Join(err, serve)
	}
	return err
}

func onlyWith(token string, next http.Handler) http.Handler {
	want := []byte("Bearer " + token)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if subtle.ConstantTimeCompare([]byte(r.Header.Get("Authorization")), want) != 1 {
			http.Error(w, "wrong token", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (s *server) progress(w http.ResponseWriter, r *http.Request) {
	p, err := s.owner.LoadProgress(r.Context())
	s.reply(w, p, err)
}

func (s *server) epoch(w http.ResponseWriter, r *http.Request) {
	epoch, err := s.owner.Epoch(r.Context())
	s.reply(w, epoch, err)
}

func (s *server) rows(w http.ResponseWriter, r *http.Request) {
	numbers, err := formNumbers(r, "from", "to")
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	path, err := tempName(s.owner.tempDir)
	if err == nil {
		defer os.Remove(path)
		layer := serving.Layer(r.FormValue("layer"))
		err = s.owner.ExportParquet(r.Context(), layer, serving.Range{FromMillis: numbers[0], ToMillis: numbers[1]}, path)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	http.ServeFile(w, r, path)
}

func (s *server) final(w http.ResponseWriter, r *http.Request) {
	numbers, err := formNumbers(r, "day", "cut")
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	err = s.publishBody(r.Context(), serving.FinalDay{DayMillis: numbers[0], CutMillis: numbers[1]}, http.MaxBytesReader(w, r.Body, publishBytesMax))
	s.reply(w, true, err)
}

// publishBody stores the body first: a Parquet file is read from its end, and nothing may be
// published from a body that was cut off.
func (s *server) publishBody(ctx context.Context, day serving.FinalDay, body io.Reader) error {
	path, err := tempName(s.owner.tempDir)
	if err != nil {
		return err
	}
	defer os.Remove(path)
	if err := copyToFile(path, body); err != nil {
		return err
	}
	return s.owner.publish(ctx, day, readRows(ctx, path))
}

func (s *server) query(w http.ResponseWriter, r *http.Request) {
	var req queryRequest
	if err := gob.NewDecoder(http.MaxBytesReader(w, r.Body, queryBytesMax)).Decode(&req); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	table, err := s.owner.Query(r.Context(), req.Query, req.Args...)
	s.reply(w, table, err)
}

func (s *server) reply(w http.ResponseWriter, value any, err error) {
	switch {
	case errors.Is(err, serving.ErrNotReadOnly):
		http.Error(w, err.Error(), http.StatusForbidden)
	case err != nil:
		http.Error(w, err.Error(), http.StatusInternalServerError)
	default:
		if err := gob.NewEncoder(w).Encode(value); err != nil {
			s.owner.opts.Logger.Warn("a client's answer was cut off", "error", err)
		}
	}
}

func formNumbers(r *http.Request, names ...string) ([]int64, error) {
	query := r.URL.Query()
	numbers := make([]int64, len(names))
	for i, name := range names {
		n, err := strconv.ParseInt(query.Get(name), 10, 64)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		numbers[i] = n
	}
	return numbers, nil
}

func copyToFile(path string, r io.Reader) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	return errors.Join(err, f.Close())
}
