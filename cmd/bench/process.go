package main

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"time"
)

// usage is what a process and its children have used.
type usage struct {
	cpu       time.Duration
	peakBytes int64
}

// clockTick is the unit of times in /proc: a hundredth of a second on every Linux that Go runs on.
const clockTick = 10 * time.Millisecond

// sample reads what the watched processes, and all below them, have used so far.
func (r *serviceRun) sample() map[string]usage {
	children := map[int][]int{}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			if f := stat(pid); f != nil {
				parent, _ := strconv.Atoi(string(f[1]))
				children[parent] = append(children[parent], pid)
			}
		}
	}
	out := map[string]usage{}
	for name, pid := range r.pids {
		var u usage
		for todo := []int{pid}; len(todo) > 0; todo = todo[1:] {
			u.add(todo[0])
			todo = append(todo, children[todo[0]]...)
		}
		out[name] = u
	}
	return out
}

// stat returns the fields of /proc/PID/stat behind the name: state, parent, and so on.
func stat(pid int) [][]byte {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil
	}
	fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
	if len(fields) < 15 {
		return nil
	}
	return fields
}

func (u *usage) add(pid int) {
	f := stat(pid)
	if f == nil {
		return
	}
	for _, i := range []int{11, 12} { // user and system time
		ticks, _ := strconv.ParseInt(string(f[i]), 10, 64)
		u.cpu += time.Duration(ticks) * clockTick
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return
	}
	_, after, _ := bytes.Cut(status, []byte("VmHWM:"))
	if fields := bytes.Fields(after); len(fields) > 0 {
		kib, _ := strconv.ParseInt(string(fields[0]), 10, 64)
		u.peakBytes += kib << 10
	}
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
