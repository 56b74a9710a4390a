// Package proto holds the protobuf contracts of the topics, by package path. The Go code that is
// generated from them is checked in beside this directory, in clickpb and impressionpb; go generate
// writes it anew, with the compiler and the plugin at the versions of go.mod and no tool besides Go.
package proto

//go:generate go run ./protogen
