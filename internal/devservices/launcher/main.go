// Command launcher runs a ClickHouse server that sits in a shared library: libchdb, as npm has it,
// holds clickhouse-local, which can be told to listen.
//
//	launcher LIBRARY ADDRESS INNER_ADDRESS CLICKHOUSE_LOCAL_ARGUMENT…
//
// It serves until SIGTERM or SIGINT. ADDRESS is where clients of the native protocol connect; they
// are passed on to INNER_ADDRESS, where the library listens, since that ends the whole process when
// a client's connection is reset, which is how a killed client looks: see shield.
//
// It is a program of its own, built without cgo, so that neither
// the library's C++ runtime nor its memory meets that of DuckDB. `clickledger dev up` builds it from
// the copy of this file that it carries.
package main

import (
	"fmt"
	"net"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"unsafe"

	"github.com/ebitengine/purego"
)

// script starts the listeners and then sleeps: clickhouse-local ends with its last query. A hundred
// million rows of three seconds are nine years.
const script = "SYSTEM START LISTEN HTTP; SYSTEM START LISTEN TCP; " +
	"SELECT sleepEachRow(3) FROM numbers(100000000) SETTINGS max_block_size=1 FORMAT Null"

func main() {
	if len(os.Args) < 4 {
		fmt.Fprintln(os.Stderr, "usage: launcher LIBRARY ADDRESS INNER_ADDRESS CLICKHOUSE_LOCAL_ARGUMENT...")
		os.Exit(2)
	}
	listener, err := net.Listen("tcp", os.Args[2])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	go shield(listener, os.Args[3])
	ending := make(chan os.Signal, 1)
	signal.Notify(ending, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		fmt.Println("ending on signal:", <-ending)
		// What was inserted is in the files; the server has nothing more to write.
		os.Exit(0)
	}()
	fmt.Fprintln(os.Stderr, serve(os.Args[1], append(os.Args[4:], "--query", script)))
	os.Exit(1)
}

// serve runs the library's command line, which returns only when something is wrong.
func serve(library string, args []string) error {
	handle, err := purego.Dlopen(library, purego.RTLD_NOW|purego.RTLD_GLOBAL)
	if err != nil {
		return fmt.Errorf("open the library: %w", err)
	}
	var query func(argc int32, argv unsafe.Pointer) uintptr
	purego.RegisterLibFunc(&query, handle, "chdb_query_cmdline")
	var failure func(result uintptr) string
	purego.RegisterLibFunc(&failure, handle, "chdb_result_error")

	var pinner runtime.Pinner
	defer pinner.Unpin()
	argv := make([]unsafe.Pointer, 0, len(args)+2)
	for _, arg := range append([]string{"clickhouse"}, args...) {
		text := append([]byte(arg), 0)
		pinner.Pin(&text[0])
		argv = append(argv, unsafe.Pointer(&text[0]))
	}
	argv = append(argv, nil)
	pinner.Pin(&argv[0])
	return fmt.Errorf("clickhouse ended: %s", failure(query(int32(len(args)+1), unsafe.Pointer(&argv[0]))))
}
