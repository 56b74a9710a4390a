package clickhouseio

import (
	"cmp"
	"fmt"
	"testing"
	"time"

	"github.com/clickledger/clickledger/internal/clickhousetest"
	"github.com/clickledger/clickledger/internal/servingtest"
	"github.com/clickledger/clickledger/schemas/serving"
)

func TestMain(m *testing.M) { clickhousetest.Main(m) }

// setup returns a new store on the shared server, and its URL.
func setup(t testing.TB) (*Store, string) {
	t.Helper()
	url := clickhousetest.Shared(t).URL()
	if err := Migrate(t.Context(), url, Options{}); err != nil {
		t.Fatal(err)
	}
	return open(t, url, Options{}), url
}

func open(t testing.TB, url string, opts Options) *Store {
	t.Helper()
	opts.RetryFor = cmp.Or(opts.RetryFor, 20*time.Second)
	s, err := Open(t.Context(), url, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestContract(t *testing.T) {
	t.Parallel()
	servingtest.Run(t, servingtest.Backend{
		New: func(t *testing.T) (serving.Store, func() serving.Store) {
			s, url := setup(t)
			return s, func() serving.Store {
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				return open(t, url, Options{})
			}
		},
		Writing: func(store serving.Store) []string {
			database := store.(*Store).database
			var statements []string
			for _, statement := range []string{
				"delete from %s.minutes_provisional where true",
				"truncate table %s.minutes_provisional",
				"drop table %s.minutes_provisional",
				"create table %s.x (a Int32) engine = Memory",
				"insert into %s.final_days values (0, 0)",
				"optimize table %s.minutes_provisional",
				"alter table %s.minutes_provisional delete where true",
			} {
				statements = append(statements, fmt.Sprintf(statement, database))
			}
			return append(statements, "create temporary table x (a Int32)", "set max_threads = 1", "select 1 settings readonly = 0")
		},
	})
}
