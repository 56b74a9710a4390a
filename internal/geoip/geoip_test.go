package geoip

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"
)

// database writes a file with a few networks.
func database(t testing.TB) string {
	t.Helper()
	tree, err := mmdbwriter.New(mmdbwriter.Options{
		DatabaseType: "Test-Country", BuildEpoch: 1_700_000_000, RecordSize: 24, IncludeReservedNetworks: true})
	if err != nil {
		t.Fatal(err)
	}
	code := func(place, iso string) mmdbtype.Map {
		return mmdbtype.Map{mmdbtype.String(place): mmdbtype.Map{"iso_code": mmdbtype.String(iso)}}
	}
	for network, record := range map[string]mmdbtype.Map{
		"198.51.100.0/24": code("country", "DE"), "2001:db8:1::/48": code("country", "FR"),
		"203.0.113.0/24": code("registered_country", "US"), "192.0.2.0/24": code("country", "nonsense"),
	} {
		_, ipNet, err := net.ParseCIDR(network)
		if err != nil {
			t.Fatal(err)
		}
		if err := tree.Insert(ipNet, record); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(t.TempDir(), "country.mmdb")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tree.WriteTo(f); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestCountry(t *testing.T) {
	t.Parallel()
	db, err := Open(database(t))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := db.Version(), "Test-Country 2023-11-14"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	for addr, want := range map[string]string{
		"198.51.100.7": "DE", "::ffff:198.51.100.7": "DE", "2001:db8:1::1": "FR", "2001:db8:1::1%eth0": "FR",
		"203.0.113.9": "US", "192.0.2.1": "", "10.0.0.1": "", "2001:db8:2::1": "",
	} {
		if got := db.Country(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: got %q, want %q", addr, got, want)
		}
	}
	if got := db.Country(netip.Addr{}); got != "" {
		t.Errorf("no address: got %q", got)
	}
}

func TestOpenNamesTheFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "none.mmdb")
	if err := os.WriteFile(path, []byte("not a database"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v", err)
	}
}

func BenchmarkCountry(b *testing.B) {
	db, err := Open(database(b))
	if err != nil {
		b.Fatal(err)
	}
	addr := netip.MustParseAddr("198.51.100.7")
	for b.Loop() {
		db.Country(addr)
	}
}

// TestFileIsOverwritten: what was read stays as it is, whatever becomes of the file.
func TestFileIsOverwritten(t *testing.T) {
	t.Parallel()
	path := database(t)
	db, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("half of a new"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := db.Country(netip.MustParseAddr("198.51.100.7")); got != "DE" {
		t.Errorf("got %q, want DE", got)
	}
	if _, err := Open(path); err == nil {
		t.Error("a broken file was opened")
	}
}
