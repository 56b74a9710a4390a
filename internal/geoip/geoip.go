// Package geoip finds the country of an address in a file of MaxMind's MMDB format, such as GeoLite2
// Country or City, or one by another maker with the same fields.
package geoip

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/oschwald/maxminddb-golang/v2"
)

// DB is an open file. It is safe for use by many goroutines.
type DB struct{ reader *maxminddb.Reader }

// Open opens a file, which stays open and mapped until Close.
func Open(path string) (*DB, error) {
	r, err := maxminddb.Open(path)
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

// Close unmaps the file.
func (d *DB) Close() error { return d.reader.Close() }
