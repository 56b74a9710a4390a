package servingduck

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"syscall"
)

// tryLock takes the lock that makes this process the owner; nil where another one has it. The
// kernel drops it when the file is closed or the process ends, however it ends.
func tryLock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil {
		return f, nil
	}
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, f.Close()
	}
	return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Close())
}

// sidecar is how clients find the owner. It counts only while the lock is held: one that a killed
// owner left is overwritten by the next.
type sidecar struct {
	PID     int    `json:"pid"`
	Address string `json:"address"`
	Token   string `json:"token"`
}

func sidecarPath(path string) string { return path + ".owner.json" }

func writeSidecar(path string, s sidecar) error {
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	tmp, err := os.CreateTemp(dirOf(path), ".owner-*") // created with mode 0600
	if err != nil {
		return err
	}
	_, err = tmp.Write(text)
	if err = errors.Join(err, tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), sidecarPath(path))
	}
	if err != nil {
		return errors.Join(err, os.Remove(tmp.Name()))
	}
	return nil
}

func readSidecar(path string) (sidecar, error) {
	var s sidecar
	text, err := os.ReadFile(sidecarPath(path))
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(text, &s); err != nil {
		return s, fmt.Errorf("read %s: %w", sidecarPath(path), err)
	}
	return s, nil
}
