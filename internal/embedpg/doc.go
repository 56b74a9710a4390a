// Package embedpg runs a private PostgreSQL server as a child process, for installations that have
// none.
//
// Input is a directory; output is a DSN. The server listens on 127.0.0.1 only, without a unix
// socket (so the length of the directory's path does not matter), asks for a random password that
// stands in a 0600 file, and runs with fsync on: it holds a ledger.
//
// Guarantees: data in the directory survives kill -9 of the server and of this process; a server
// ends with the process that started it (on Linux by the kernel, even after kill -9); two servers
// never run on one directory. PostgreSQL refuses to run as root, so under root it is run as
// postgres or nobody.
package embedpg
