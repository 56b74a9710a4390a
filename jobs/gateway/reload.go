package gateway

import (
	"context"
	"errors"
	"os"

	"github.com/clickledger/clickledger/internal/signedurl"
)

// Reload says how files are read again while the gateway runs. The zero value reads nothing again.
type Reload struct {
	// Asked tells that it is time; clickledger passes SIGHUP.
	Asked <-chan os.Signal
	// Keys reads the keys of signed URLs. Nil: they stay. It is not for a gateway that began without.
	Keys func() (*signedurl.Keys, error)
	// Countries opens the file that tells countries. Nil: they stay.
	Countries func() (Countries, error)
}

// The files by their names in metrics and in the log.
const (
	fileKeys      = "url_keys"
	fileCountries = "country"
)

var errNothingRead = errors.New("nothing was read")

// reloads reads the files again each time that it is asked to, until ctx is done.
func (h *handler) reloads(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-h.deps.Reload.Asked:
			h.reload()
		}
	}
}

// reload reads the files again. What cannot be read changes nothing: the old stays in force. A request
// is judged by the old or by the new, never by both.
func (h *handler) reload() {
	if read := h.deps.Reload.Keys; read != nil {
		keys, err := read()
		if err == nil && keys == nil {
			err = errNothingRead // a gateway with keys never takes unsigned URLs
		}
		if h.reloaded(fileKeys, err) {
			h.keys.Store(keys)
			h.deps.Logger.Info("a file was read again", "job", "gateway", "file", fileKeys, "key_ids", keys.IDs())
		}
	}
	if read := h.deps.Reload.Countries; read != nil {
		countries, err := read()
		if err == nil && countries == nil {
			err = errNothingRead
		}
		if h.reloaded(fileCountries, err) {
			h.countries.Store(&countries)
			h.metrics.setCountries(countries)
			h.deps.Logger.Info("a file was read again", "job", "gateway", "file", fileCountries, "version", countries.Version())
		}
	}
}

func (h *handler) reloaded(file string, err error) bool {
	h.metrics.setReloaded(file, err == nil, h.deps.Now())
	if err != nil {
		h.deps.Logger.Error("a file could not be read again; what was read before stays in force", "job", "gateway", "file", file,
			"error", err.Error())
	}
	return err == nil
}
