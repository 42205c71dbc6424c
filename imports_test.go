package l2tpctl

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/l2tpctl/l2tpctl/"

// source is one Go file of the repository that is not a test.
type source struct {
	path    string // from the root, with slashes
	file    *ast.File
	imports []string
}

func (s source) dir() string { return path.Dir(s.path) }

func sources(t *testing.T) []source {
	t.Helper()
	var all []source
	err := filepath.WalkDir(".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && name != "." && strings.HasPrefix(entry.Name(), ".") {
			return filepath.SkipDir
		}
		if entry.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		s := source{path: filepath.ToSlash(name), file: file}
		for _, spec := range file.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			s.imports = append(s.imports, imported)
		}
		all = append(all, s)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// library returns the library below pkg/ to which a directory belongs, such as "pkg/ikev1" for "pkg/ikev1/wire".
func library(dir string) (string, bool) {
	parts := strings.Split(dir, "/")
	if len(parts) < 2 || parts[0] != "pkg" {
		return "", false
	}
	return parts[0] + "/" + parts[1], true
}

// TestLibrariesStandAlone keeps the packages below pkg/ usable without each other and without the program.
func TestLibrariesStandAlone(t *testing.T) {
	for _, s := range sources(t) {
		own, isLibrary := library(s.dir())
		if !isLibrary {
			continue
		}
		for _, imported := range s.imports {
			local, ours := strings.CutPrefix(imported, module)
			if !ours {
				continue
			}
			if other, ok := library(local); !ok || other != own {
				t.Errorf("%s imports %s: %s may import nothing of this repository but itself", s.path, local, own)
			}
		}
	}
}

// TestOnlyTheProgramKnowsTheConcentrator keeps the one package that knows all from being known by others.
func TestOnlyTheProgramKnowsTheConcentrator(t *testing.T) {
	const concentrator = "internal/concentrator"
	for _, s := range sources(t) {
		top, _, _ := strings.Cut(s.dir(), "/")
		if top == "cmd" || top == "integration" || s.dir() == "internal/cli" || strings.HasPrefix(s.dir()+"/", concentrator+"/") {
			continue
		}
		if slices.Contains(s.imports, module+concentrator) {
			t.Errorf("%s imports %s", s.path, concentrator)
		}
	}
}

// keeperNeeds are what internal/keeper may import of this repository, besides itself.
var keeperNeeds = []string{"internal/udp", "internal/steering", "internal/slot", "internal/confine", "internal/egress", "pkg/xfrm", "pkg/l2tpnl", "pkg/pppd"}

// TestTheKeeperParsesNothing keeps protocols out of the process that has the privileges: it may not even have them in its dependencies.
func TestTheKeeperParsesNothing(t *testing.T) {
	needs := map[string][]string{}
	for _, s := range sources(t) {
		for _, imported := range s.imports {
			if local, ours := strings.CutPrefix(imported, module); ours {
				needs[s.dir()] = append(needs[s.dir()], local)
			}
		}
		if s.dir() != "internal/keeper" && s.dir() != "internal/keeper/protocol" {
			continue
		}
		for _, local := range needs[s.dir()] {
			if !slices.Contains(keeperNeeds, local) && local != "internal/keeper/protocol" {
				t.Errorf("%s imports %s", s.path, local)
			}
		}
	}
	seen := map[string]bool{}
	var visit func(dir string)
	visit = func(dir string) {
		if seen[dir] {
			return
		}
		seen[dir] = true
		for _, next := range needs[dir] {
			visit(next)
		}
	}
	visit("internal/keeper")
	for dir := range seen {
		if own, _ := library(dir); own == "pkg/ikev1" || own == "pkg/l2tp" || dir == "internal/concentrator" {
			t.Errorf("internal/keeper needs %s, by what it imports", dir)
		}
	}
	if len(seen) < 8 {
		t.Errorf("internal/keeper needs only %v: is it there?", seen)
	}
}

// forbidden are the imports that would give an engine sockets, a clock of its own, or randomness of its own. Of golang.org/x/sys all
// but cpu, which only tells what the processor can do.
var forbidden = []string{
	"os", "os/*", "syscall", "net", "net/http", "crypto/rand", "math/rand", "math/rand/v2", "log", "log/slog",
	"golang.org/x/sys/execabs", "golang.org/x/sys/plan9", "golang.org/x/sys/unix", "golang.org/x/sys/windows", "golang.org/x/sys/windows/*",
}

// TestEnginesDoNoIO keeps pkg/ikev1 and pkg/l2tp free of sockets, goroutines, clock and randomness: their callers give them the time and
// an io.Reader, and perform what they ask for.
func TestEnginesDoNoIO(t *testing.T) {
	for _, s := range sources(t) {
		if own, ok := library(s.dir()); !ok || own != "pkg/ikev1" && own != "pkg/l2tp" {
			continue
		}
		for _, imported := range s.imports {
			for _, pattern := range forbidden {
				prefix, wild := strings.CutSuffix(pattern, "*")
				if imported == pattern || wild && strings.HasPrefix(imported, prefix) {
					t.Errorf("%s imports %s: an engine does no I/O", s.path, imported)
				}
			}
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				t.Errorf("%s starts a goroutine: an engine has none", s.path)
			case *ast.SelectorExpr:
				if pkg, ok := n.X.(*ast.Ident); ok && pkg.Name == "time" && slices.Contains(clock, n.Sel.Name) {
					t.Errorf("%s uses time.%s: an engine is told the time", s.path, n.Sel.Name)
				}
			}
			return true
		})
	}
}

// clock are the functions of package time that read or use a clock.
var clock = []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker"}

// TestPackagesAreDocumented wants a comment on every package clause, once.
func TestPackagesAreDocumented(t *testing.T) {
	documented := map[string]int{}
	for _, s := range sources(t) {
		documented[s.dir()] += 0
		if s.file.Doc != nil {
			documented[s.dir()]++
		}
	}
	for dir, n := range documented {
		if n != 1 {
			t.Errorf("package %s has %d package comments, want 1", dir, n)
		}
	}
}
