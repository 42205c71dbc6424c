package udp

import (
	"net/netip"
	"slices"
	"testing"
)

// TestIKEPair: first messages of phase 1 go to a socket of their own, and however many they are, the other one still receives.
func TestIKEPair(t *testing.T) {
	for _, encapsulated := range []bool{false, true} {
		files, err := openIKEPair(netip.AddrPortFrom(loopback4, 0), encapsulated, withoutIPsec)
		if err != nil {
			t.Fatal(err)
		}
		if !files[initials].Initials || files[others].Initials {
			t.Errorf("the files are in another order: %+v", files)
		}
		at := files[0].Local
		var pair [2]*socket
		for i, f := range files {
			if pair[i], err = takeSocket(f.File); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = pair[i].close() })
		}
		client := peer(t, loopback4)
		send := func(message string) {
			t.Helper()
			if encapsulated {
				message = string(nonESPMarker[:]) + message
			}
			if _, err := client.WriteToUDPAddrPort([]byte(message), at); err != nil {
				t.Fatal(err)
			}
		}
		receive := func(s *socket) string {
			t.Helper()
			buffer := make([]byte, 2000)
			n, _, err := s.receive(buffer)
			if err != nil {
				t.Fatal(err)
			}
			message, _ := ikeMessage(buffer[:n], encapsulated)
			return string(message)
		}
		first := "cookie I\x00\x00\x00\x00\x00\x00\x00\x00the first message"
		short := "no header"
		flood := string(slices.Concat([]byte(first), make([]byte, 1000)))
		others1, others2 := "cookie I\x00\x00\x00\x00\x00\x00\x00\x01another", "cookie I\x01\x00\x00\x00\x00\x00\x00\x00another"
		for _, message := range []string{first, others1, short, others2} {
			send(message)
		}
		for range 2 * ikeReceiveBuffer / len(flood) {
			send(flood)
		}
		send(others1)
		for i, want := range []string{others1, others2, others1} {
			if got := receive(pair[others]); got != want {
				t.Errorf("encapsulated %v: message %d of those that are no first ones is %q, want %q", encapsulated, i, got, want)
			}
		}
		for i, want := range []string{first, short, flood} {
			if got := receive(pair[initials]); got != want {
				t.Errorf("encapsulated %v: message %d of the first ones is %q, want %q", encapsulated, i, got, want)
			}
		}
	}
}
