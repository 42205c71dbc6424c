package keeper

import (
	"os"
	"strings"
	"testing"
)

func TestOneKeeperPerNamespace(t *testing.T) {
	dir := t.TempDir()
	first, err := lockNamespace(dir, 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lockNamespace(dir, 1); err == nil || !strings.Contains(err.Error(), "another l2tpctl") {
		t.Errorf("a second one: %v", err)
	}
	first.Close()
	again, err := lockNamespace(dir, 1)
	if err != nil {
		t.Fatalf("after the first has gone: %v", err)
	}
	again.Close()
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
