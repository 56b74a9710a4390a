// Command protogen writes the Go code of the contracts in schemas/proto. It runs from there, as go
// generate does. It compiles the *.proto files with protocompile and hands the result to
// protoc-gen-go, both at the version of go.mod, so that the same sources give the same bytes on
// every machine.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bufbuild/protocompile"
	"github.com/bufbuild/protocompile/protoutil"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"
)

const (
	plugin    = "google.golang.org/protobuf/cmd/protoc-gen-go"
	module    = "github.com/clickledger/clickledger"
	moduleDir = "../.."
)

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "protogen:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	sources, err := find(".")
	if err != nil {
		return err
	}
	request, err := compile(ctx, sources)
	if err != nil {
		return err
	}
	response, err := generate(ctx, request)
	if err != nil {
		return err
	}
	for _, f := range response.File {
		path := filepath.Join(moduleDir, filepath.FromSlash(f.GetName()))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(f.GetContent()), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// find lists the contracts below root, sorted, as slash-separated paths relative to it.
func find(root string) ([]string, error) {
	var sources []string
	err := fs.WalkDir(os.DirFS(root), ".", func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.HasSuffix(path, ".proto") {
			sources = append(sources, path)
		}
		return err
	})
	slices.Sort(sources)
	if err == nil && len(sources) == 0 {
		err = errors.New("no contracts here: run it in schemas/proto")
	}
	return sources, err
}

// compile returns what protoc would send to the plugin. The contracts import nothing.
func compile(ctx context.Context, sources []string) (*pluginpb.CodeGeneratorRequest, error) {
	compiler := protocompile.Compiler{
		Resolver:       &protocompile.SourceResolver{},
		SourceInfoMode: protocompile.SourceInfoStandard,
	}
	files, err := compiler.Compile(ctx, sources...)
	if err != nil {
		return nil, fmt.Errorf("compile: %w", err)
	}
	var descriptors []*descriptorpb.FileDescriptorProto
	for _, f := range files {
		descriptors = append(descriptors, protoutil.ProtoFromFileDescriptor(f))
	}
	return &pluginpb.CodeGeneratorRequest{
		FileToGenerate: sources,
		Parameter:      new("module=" + module),
		ProtoFile:      descriptors,
	}, nil
}

func generate(
	ctx context.Context, request *pluginpb.CodeGeneratorRequest,
) (*pluginpb.CodeGeneratorResponse, error) {
	in, err := proto.Marshal(request)
	if err != nil {
		return nil, fmt.Errorf("marshal request: %w", err)
	}
	cmd := exec.CommandContext(ctx, "go", "run", plugin)
	cmd.Stdin, cmd.Stderr = bytes.NewReader(in), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("run %s: %w", plugin, err)
	}
	response := &pluginpb.CodeGeneratorResponse{}
	if err := proto.Unmarshal(out, response); err != nil {
		return nil, fmt.Errorf("unmarshal response: %w", err)
	}
	if response.Error != nil {
		return nil, fmt.Errorf("%s: %s", plugin, response.GetError())
	}
	return response, nil
}
