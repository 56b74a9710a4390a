package gateway

import (
	"strings"
	"sync"

	"github.com/medama-io/go-useragent"
)

// The device types that deviceType tells apart.
const (
	deviceBot     = "bot"
	deviceDesktop = "desktop"
	deviceMobile  = "mobile"
	deviceTablet  = "tablet"
)

// deviceVersion names what decides: the device is part of the key of a row, so a change of it is one
// that should be seen. A test compares it with go.mod.
const deviceVersion = "medama-io/go-useragent v1.2.5"

// parser is loaded at first use, in some 50 ms.
var parser = sync.OnceValue(useragent.NewParser)

const (
	// devicesMax is how many user agents are remembered, twice, and deviceBytesMax the longest.
	devicesMax     = 4096
	deviceBytesMax = 512
)

// devices remembers the types of the user agents seen last, in two generations: when the newer is
// full, the older is forgotten. Most clicks come with one of a few thousand.
type devices struct {
	mu           sync.RWMutex
	newer, older map[string]string
}

// of is deviceType.
func (d *devices) of(userAgent []byte) string {
	if len(userAgent) > deviceBytesMax {
		return deviceType(string(userAgent))
	}
	d.mu.RLock()
	device, ok := d.newer[string(userAgent)]
	if !ok {
		device, ok = d.older[string(userAgent)]
	}
	d.mu.RUnlock()
	if ok {
		return device
	}
	device = deviceType(string(userAgent))
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.newer == nil || len(d.newer) >= devicesMax {
		d.newer, d.older = make(map[string]string, devicesMax), d.newer
	}
	d.newer[string(userAgent)] = device
	return device
}

// deviceType names the kind of device of a user agent; empty for an empty one, deviceDesktop for one
// that the library does not know.
func deviceType(userAgent string) string {
	if userAgent == "" {
		return ""
	}
	agent := parser().Parse(userAgent)
	switch {
	case agent.IsBot() || strings.Contains(userAgent, "bot/"):
		return deviceBot
	case agent.IsTablet():
		return deviceTablet
	case agent.IsMobile():
		// Browser makers' rule, which the library leaves out: an Android without "Mobi" is a tablet.
		if strings.Contains(userAgent, "Android") && !strings.Contains(userAgent, "Mobi") {
			return deviceTablet
		}
		return deviceMobile
	}
	return deviceDesktop
}
