package browsertest

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/andybalholm/brotli"
	"github.com/chromedp/chromedp"

	"github.com/clickledger/clickledger/internal/fetch"
)

const (
	pinnedPlatform = "linux/amd64"
	// fetchLimit bounds the fetching of 68 MB.
	fetchLimit = 4 * time.Minute
	// fileBytesMax bounds what a file of the package may unpack to.
	fileBytesMax = 1 << 30
)

// pinned is a Chromium with the libraries and fonts that it needs, in files that are compressed by Brotli.
var pinned = fetch.NpmPackage{Name: "@sparticuz/chromium", Version: "147.0.0",
	Integrity: "sha512-4ZKeAQQa8up2mt675qSitztLdbQrlf8BKdC5naeap+5Mv1OV1OlJdPoU+EJC/p5sQUJUQmN4r+q5+EhaaOUHpQ=="}

// pinnedParts are the archives of the package that are unpacked beside the program.
var pinnedParts = map[string]bool{"bin/al2023.tar.br": true, "bin/swiftshader.tar.br": true, "bin/fonts.tar.br": true}

// fontsConfig stands for the package's, which names folders of another place.
const fontsConfig = `<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
  <dir prefix="relative">fonts</dir>
  <cachedir prefix="xdg">clickledger-fonts</cachedir>
</fontconfig>
`

// browser is a Chromium and what it needs to be started with.
type browser struct {
	path    string
	options []chromedp.ExecAllocatorOption
}

// Need skips the test where there is no Chromium: neither on the PATH nor from npm, by which a pinned one
// is fetched into the cache. One that is not what was pinned fails the test.
func Need(t *testing.T) { find(t) }

func find(t *testing.T) browser {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "headless-shell"} {
		if path, err := exec.LookPath(name); err == nil {
			return browser{path: path}
		}
	}
	dir, err := fetched()
	if errors.Is(err, fetch.ErrChecksum) {
		t.Fatal(err)
	}
	if err != nil {
		t.Skipf("no Chromium on the PATH, and none from npm: the page is not tried in a browser: %v", err)
	}
	return browser{filepath.Join(dir, "chromium"), []chromedp.ExecAllocatorOption{
		chromedp.Flag("no-zygote", true), // as the package starts it
		chromedp.Env("LD_LIBRARY_PATH="+filepath.Join(dir, "lib"), "FONTCONFIG_PATH="+dir, "LC_ALL=en_US.UTF-8"),
	}}
}

// fetched returns the folder of the pinned Chromium. What failed is not tried again.
var fetched = sync.OnceValues(func() (string, error) {
	if platform := runtime.GOOS + "/" + runtime.GOARCH; platform != pinnedPlatform {
		return "", fmt.Errorf("there is no pinned Chromium for %s", platform)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(context.Background(), fetchLimit)
	defer cancel()
	return fetch.Cached(ctx, filepath.Join(cache, "clickledger"), "chromium-"+pinned.Version, func(dir string) error {
		root, err := os.OpenRoot(dir)
		if err != nil {
			return err
		}
		defer root.Close()
		err = pinned.Fetch(ctx, func(name string, content io.Reader) error {
			switch {
			case name == "bin/chromium.br":
				return write(root, "chromium", 0o755, brotli.NewReader(content))
			case pinnedParts[name]:
				return unpack(root, brotli.NewReader(content))
			}
			return nil
		})
		if err == nil {
			_, err = root.Stat("chromium")
		}
		if err == nil {
			err = root.WriteFile("fonts.conf", []byte(fontsConfig), 0o644)
		}
		return err
	})
})

// unpack writes the regular files of an archive.
func unpack(root *os.Root, archive io.Reader) error {
	for entries := tar.NewReader(archive); ; {
		entry, err := entries.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if entry.Typeflag != tar.TypeReg {
			continue
		}
		name := strings.TrimPrefix(path.Clean("/"+entry.Name), "/")
		if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
			return err
		}
		if err := write(root, name, 0o755, entries); err != nil {
			return err
		}
	}
}

func write(root *os.Root, name string, mode os.FileMode, content io.Reader) error {
	file, err := root.OpenFile(name, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	n, err := io.Copy(file, io.LimitReader(content, fileBytesMax))
	if err == nil && n == fileBytesMax {
		err = fmt.Errorf("%s is larger than %d bytes", name, fileBytesMax)
	}
	return errors.Join(err, file.Close())
}
