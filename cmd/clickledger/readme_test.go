package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/clickledger/clickledger/internal/config"
)

var update = flag.Bool("update", false, "write the tables of the README again")

// TestReadme compares the tables of the README with the commands and settings that there are.
func TestReadme(t *testing.T) {
	t.Parallel()
	path := filepath.Join("..", "..", "README.md")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := string(text)
	for name, table := range map[string]string{"commands": commandTable(), "settings": settingTable()} {
		part := regexp.MustCompile(`(?s)(<!-- ` + name + `:[^\n]*-->\n).*(<!-- end of ` + name + ` -->)`)
		if !part.MatchString(want) {
			t.Fatalf("the README has no place for the %s", name)
		}
		want = part.ReplaceAllStringFunc(want, func(old string) string {
			ends := part.FindStringSubmatch(old)
			return ends[1] + "\n" + table + "\n" + ends[2]
		})
	}
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if want != string(text) {
		t.Error("the tables of the README are not those of the program: run with -update")
	}
}

func commandTable() string {
	var b strings.Builder
	b.WriteString("| command | does |\n|---|---|\n")
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		for _, child := range cmd.Commands() {
			if name := child.Name(); name == "help" || name == "completion" || child.Hidden {
				continue
			}
			_, use, _ := strings.Cut(child.CommandPath(), " ")
			_, args, _ := strings.Cut(child.Use, " ")
			if !child.HasSubCommands() || child.Name() == "archive" || child.Name() == "stream" {
				fmt.Fprintf(&b, "| `%s` | %s |\n", strings.TrimSpace(use+" "+args), child.Short)
			}
			walk(child)
		}
	}
	walk(newRoot(&app{}))
	return b.String()
}

func settingTable() string {
	var b strings.Builder
	b.WriteString("| key | flag | takes | default | is |\n|---|---|---|---|---|\n")
	for _, k := range config.Keys() {
		value := "-"
		if k.Default != "" {
			value = "`" + k.Default + "`"
		}
		expected := strings.ReplaceAll(k.Kind.Expected, "|", `\|`)
		fmt.Fprintf(&b, "| `%s` | `--%s` | %s | %s | %s |\n", k.Name, k.Flag, expected, value, k.Help)
	}
	return b.String()
}
