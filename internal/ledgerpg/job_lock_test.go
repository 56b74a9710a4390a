package ledgerpg

import "testing"

// TestLockJob takes a lock from two ledgers at a time, gives it back, and ends a session that has it.
func TestLockJob(t *testing.T) {
	t.Parallel()
	f := setup(t)
	other, err := Open(t.Context(), f.dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(other.Close)
	take := func(l *Ledger, name string, want bool) func() error {
		t.Helper()
		unlock, ok, err := l.LockJob(t.Context(), name)
		if err != nil || ok != want {
			t.Fatalf("lock %s: %t, %v, want %t", name, ok, err, want)
		}
		return unlock
	}
	unlock := take(f.ledger, "nightly", true)
	take(other, "nightly", false)
	if err := take(other, "another", true)(); err != nil {
		t.Error(err)
	}
	if err := unlock(); err != nil {
		t.Error(err)
	}
	unlock = take(other, "nightly", true)
	ended := scalar[bool](f, `select pg_terminate_backend(pid, 5000) from pg_locks
		where locktype = 'advisory' and granted and database = (select oid from pg_database where datname = current_database())`)
	if !ended {
		t.Fatal("the session did not end")
	}
	if err := take(f.ledger, "nightly", true)(); err != nil {
		t.Error(err)
	}
	if unlock() == nil {
		t.Error("a lock that was lost was given back without an error")
	}
}
