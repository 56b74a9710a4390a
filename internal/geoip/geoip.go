// Package geoip finds the country of an address in a file of MaxMind's MMDB format, such as GeoLite2
// Country or City, or one by another maker with the same fields.
package geoip

import (
	"fmt"
	"net/netip"
	"os"
	"time"

	"github.com/oschwald/maxminddb-golang/v2"
)

// DB is the content of a file. It is safe for use by many goroutines.
type DB struct{ reader *maxminddb.Reader }

// Open reads a file into memory: it may be replaced or overwritten afterwards.
func Open(path string) (*DB, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	r, err := maxminddb.OpenBytes(content)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	return &DB{r}, nil
}

// Version says which file it is: its type and when it was built.
func (d *DB) Version() string {
	m := d.reader.Metadata
	return m.DatabaseType + " " + m.BuildTime().UTC().Format(time.DateOnly)
}

// Country returns the two letters of the country in which an address is, in upper case; empty if the
// file does not know. A record without a country counts by the country where it is registered.
func (d *DB) Country(addr netip.Addr) string {
	if !addr.IsValid() {
		return ""
	}
	result := d.reader.Lookup(addr.WithZone("").Unmap())
	if result.Err() != nil || !result.Found() {
		return ""
	}
	for _, place := range [...]string{"country", "registered_country"} {
		var code string
		if err := result.DecodePath(&code, place, "iso_code"); err == nil && isCode(code) {
			return code
		}
	}
	return ""
}

func isCode(s string) bool {
	return len(s) == 2 && s[0] >= 'A' && s[0] <= 'Z' && s[1] >= 'A' && s[1] <= 'Z'
}
