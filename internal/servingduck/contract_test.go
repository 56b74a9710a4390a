package servingduck

import (
	"testing"

	"github.com/clickledger/clickledger/internal/servingtest"
	"github.com/clickledger/clickledger/schemas/serving"
)

func TestContract(t *testing.T) {
	t.Parallel()
	servingtest.Run(t, servingtest.Backend{
		New: func(t *testing.T) (serving.Store, func() serving.Store) {
			s, storeURL := setup(t)
			return s, func() serving.Store {
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				return open(t, storeURL, Options{})
			}
		},
		Writing: func(serving.Store) []string {
			return []string{
				"delete from csp_analytics.minutes_provisional",
				"drop table csp_analytics.minutes_provisional",
				"create table x (a int)",
				"copy (select 1) to '/dev/null'",
				"set threads = 1",
				"begin transaction",
			}
		},
	})
}
