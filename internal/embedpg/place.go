package embedpg

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// identity is the unprivileged user that a root process runs the server as.
type identity struct{ uid, gid uint32 }

// fallbackID is nobody's usual number, for machines without a user database.
const fallbackID = 65534

// locationFile names, inside Config.Dir, the directory that holds the data when Config.Dir itself
// cannot be reached by the server's user.
const locationFile = "data-location"

// place is the pair of directories of one server.
type place struct {
	dir   string    // Config.Dir: password, log, location; ours
	base  string    // reachable by owner; holds data/
	owner *identity // nil: the server runs as ourselves
	lock  *os.File  // held while starting, so that two starts do not both initialise
}

func (p *place) data() string    { return filepath.Join(p.base, "data") }
func (p *place) logFile() string { return filepath.Join(p.dir, "postgresql.log") }

// serverIdentity is nil unless we are root, which PostgreSQL refuses.
func serverIdentity() *identity {
	if os.Geteuid() != 0 {
		return nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		account, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, uidErr := strconv.ParseUint(account.Uid, 10, 32)
		gid, gidErr := strconv.ParseUint(account.Gid, 10, 32)
		if uidErr == nil && gidErr == nil && uid != 0 {
			return &identity{uid: uint32(uid), gid: uint32(gid)}
		}
	}
	return &identity{uid: fallbackID, gid: fallbackID}
}

// preparePlace makes the directories and takes the start lock.
func preparePlace(dir string, logger *slog.Logger) (*place, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make the directory: %w", err)
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return nil, fmt.Errorf("resolve the directory: %w", err)
	}
	p := &place{dir: dir, base: dir, owner: serverIdentity()}
	if p.lock, err = lockFile(filepath.Join(dir, "start.lock")); err != nil {
		return nil, err
	}
	if err := p.chooseBase(logger); err != nil {
		p.unlock()
		return nil, err
	}
	return p, nil
}

// lockFile takes an exclusive advisory lock that ends with this process.
func lockFile(path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the start lock: %w", err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX); err != nil {
		file.Close()
		return nil, fmt.Errorf("take the start lock: %w", err)
	}
	return file, nil
}

// unlock lets the next start go ahead.
func (p *place) unlock() { p.lock.Close() }

// chooseBase sets base: the location noted earlier, else dir when the owner can reach it, else a
// new directory under the system's temporary one, which is noted.
func (p *place) chooseBase(logger *slog.Logger) error {
	if p.owner == nil {
		return nil
	}
	note := filepath.Join(p.dir, locationFile)
	noted, err := os.ReadFile(note)
	switch {
	case err == nil:
		p.base = strings.TrimSpace(string(noted))
		if _, err := os.Stat(p.base); err != nil {
			return fmt.Errorf("%s names the data directory, which is gone: %w", note, err)
		}
		return p.checkOwner(p.base)
	case !errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("read %s: %w", note, err)
	}
	if reachable(p.dir, p.owner) {
		return nil
	}
	if p.base, err = makeReachable(p.owner); err != nil {
		return err
	}
	logger.Warn("the server's user cannot reach the directory; data is kept elsewhere",
		"dir", p.dir, "data_dir", p.data(), "noted_in", note)
	return os.WriteFile(note, []byte(p.base+"\n"), 0o600)
}

// checkOwner refuses a noted directory that somebody else has put there.
func (p *place) checkOwner(path string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); !ok || !info.IsDir() || stat.Uid != p.owner.uid {
		return fmt.Errorf("%s is not a directory of the server's user (uid %d)", path, p.owner.uid)
	}
	return nil
}

// makeReachable makes a directory that the owner can reach: under /var/tmp, which outlives a
// reboot, else under the system's temporary directory.
func makeReachable(owner *identity) (string, error) {
	var lastErr error
	for _, parent := range []string{"/var/tmp", os.TempDir()} {
		resolved, err := filepath.EvalSymlinks(parent)
		if err != nil {
			lastErr = err
			continue
		}
		if !reachable(resolved, owner) {
			lastErr = fmt.Errorf("uid %d cannot reach %s", owner.uid, resolved)
			continue
		}
		dir, err := os.MkdirTemp(resolved, "clickledger-postgresql-")
		if err != nil {
			lastErr = err
			continue
		}
		return dir, os.Chown(dir, int(owner.uid), int(owner.gid))
	}
	return "", fmt.Errorf("find a directory for the server's user: %w", lastErr)
}

// reachable says whether the identity may pass through every directory of an absolute, resolved
// path, by the permission bits.
func reachable(path string, who *identity) bool {
	for {
		info, err := os.Stat(path)
		if err != nil {
			return false
		}
		stat, ok := info.Sys().(*syscall.Stat_t)
		if !ok {
			return false
		}
		bit := os.FileMode(0o001)
		switch {
		case stat.Uid == who.uid:
			bit = 0o100
		case stat.Gid == who.gid:
			bit = 0o010
		}
		if info.Mode().Perm()&bit == 0 {
			return false
		}
		parent := filepath.Dir(path)
		if parent == path {
			return true
		}
		path = parent
	}
}

// password returns the server's password; the first call for a directory makes it.
func (p *place) password() (string, error) {
	path := filepath.Join(p.dir, "password")
	text, err := os.ReadFile(path)
	if err == nil && len(strings.TrimSpace(string(text))) > 0 {
		return strings.TrimSpace(string(text)), nil
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("read the password file: %w", err)
	}
	if _, err := os.Stat(filepath.Join(p.data(), "PG_VERSION")); err == nil {
		return "", fmt.Errorf("%s is missing, but the data in %s needs it", path, p.data())
	}
	password, err := randomPassword()
	if err != nil {
		return "", err
	}
	return password, writeDurably(path, password+"\n")
}

// writeDurably writes a 0600 file that is either absent or whole, a crash included.
func writeDurably(path, text string) error {
	temporary := path + ".new"
	file, err := os.OpenFile(temporary, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	_, err = file.WriteString(text)
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return os.Rename(temporary, path)
}

// logTail is the end of the server's log, for error messages.
func (p *place) logTail() string {
	text, err := os.ReadFile(p.logFile())
	if err != nil {
		return err.Error()
	}
	return lastLines(string(text), 12)
}
