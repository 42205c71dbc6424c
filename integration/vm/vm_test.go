package vm

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func TestConsolePassesOnWhatTheCommandPrints(t *testing.T) {
	var out strings.Builder
	c := newConsole(&out)
	// As a serial line delivers it: in pieces, with carriage returns.
	for _, piece := range []string{"boot mess", "age\r\nl2tpctl-", "vm: up\r\nfirst\r\nsec", "ond\r\nunfinishedl2tpctl-vm: down\r\n", "reboot: System halted\r\n"} {
		if n, err := c.Write([]byte(piece)); err != nil || n != len(piece) {
			t.Fatalf("Write(%q) = %d, %v", piece, n, err)
		}
	}
	if want := "first\nsecond\nunfinished"; out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
	if got := c.tail(); got != "boot message\n" {
		t.Errorf("before it was up the guest said %q", got)
	}
}

func TestGuestThatDoesNotBootIsKilledAndQuoted(t *testing.T) {
	begin := time.Now()
	err := runGuest(context.Background(), exec.Command("sh", "-c", "echo no root file system; sleep 60"), io.Discard, Limits{Boot: 200 * time.Millisecond})
	if !errors.Is(err, errBoot) || !strings.Contains(err.Error(), "no root file system") {
		t.Errorf("got %v, want %v with the last lines", err, errBoot)
	}
	if took := time.Since(begin); took > 20*time.Second {
		t.Errorf("the guest was killed after %v", took)
	}
}

func TestCommandThatHangsIsKilled(t *testing.T) {
	var out bytes.Buffer
	err := runGuest(context.Background(), exec.Command("sh", "-c", "echo l2tpctl-vm: up; echo working; sleep 60"), &out, Limits{Run: 200 * time.Millisecond})
	if err == nil || errors.Is(err, errBoot) {
		t.Errorf("got %v, want an error that names the limit", err)
	}
	if out.String() != "working\n" {
		t.Errorf("the output is %q", out.String())
	}
}

func TestQuote(t *testing.T) {
	for _, text := range []string{"", "plain", "it's", `"$HOME" \ ;`, "two\nlines"} {
		out, err := exec.Command("sh", "-c", "printf %s "+quote(text)).Output()
		if err != nil || string(out) != text {
			t.Errorf("the shell reads %s as %q (%v)", quote(text), out, err)
		}
	}
}

// TestArchive reads an archive back by the rules of the format.
func TestArchive(t *testing.T) {
	a := &archive{}
	a.add("dir", modeDirectory, nil)
	a.add("dir/program", modeProgram, []byte("12345"))
	rest := a.finish()
	var names []string
	for len(rest) > 0 {
		const header = 110
		if !bytes.HasPrefix(rest, []byte("070701")) {
			t.Fatalf("no header at %q", rest[:min(len(rest), 20)])
		}
		size, nameSize := hexField(t, rest, 6), hexField(t, rest, 11)
		name := string(rest[header : header+nameSize-1])
		data := (header + nameSize + 3) &^ 3
		if name == "dir/program" && string(rest[data:data+size]) != "12345" {
			t.Errorf("content is %q", rest[data:data+size])
		}
		names = append(names, name)
		rest = rest[(data+size+3)&^3:]
	}
	if got, want := strings.Join(names, " "), "dir dir/program TRAILER!!!"; got != want {
		t.Errorf("names %q, want %q", got, want)
	}
}

// hexField returns a numeric field of a header; the first is number 0.
func hexField(t *testing.T, header []byte, number int) int {
	t.Helper()
	var n int
	for _, digit := range header[6+8*number : 14+8*number] {
		n = n<<4 + strings.IndexByte("0123456789abcdef", digit)
	}
	return n
}
