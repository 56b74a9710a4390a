package wal

import (
	"os"
	"syscall"
)

// dataSync makes a file's data and its size durable, without its times.
func dataSync(f *os.File) error {
	for {
		if err := syscall.Fdatasync(int(f.Fd())); err != syscall.EINTR {
			return err
		}
	}
}
