package keeper

import (
	"bytes"
	"fmt"
	"net"
	"testing"

	"go.uber.org/zap"

	"github.com/l2tpctl/l2tpctl/internal/keeper/client"
	"github.com/l2tpctl/l2tpctl/internal/keeper/protocol"
	"github.com/l2tpctl/l2tpctl/internal/udp"
)

// bench runs a keeper with a daemon.
func bench(b *testing.B) (*Keeper, *machine) {
	b.Helper()
	k, err := open(Config{Dir: b.TempDir(), Build: "v1", Log: zap.NewNop()})
	if err != nil {
		b.Fatal(err)
	}
	m := testMachine(k)
	k.machine = m
	go k.accept()
	b.Cleanup(func() {
		if err := k.stop(); err != nil {
			b.Error(err)
		}
	})
	return k, m
}

func dialBench(b *testing.B, k *Keeper) *client.Conn {
	b.Helper()
	c, err := client.Dial(b.Context(), k.path, "daemon")
	if err != nil {
		b.Fatal(err)
	}
	return c
}

// BenchmarkRequest is what the way to the keeper and back costs.
func BenchmarkRequest(b *testing.B) {
	k, _ := bench(b)
	c := dialBench(b, k)
	defer c.Close()
	if err := c.SAs().Add(inbound(1000)); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := c.SAs().Get(inbound(1000).ID); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkStore writes the record of one client.
func BenchmarkStore(b *testing.B) {
	k, _ := bench(b)
	c := dialBench(b, k)
	defer c.Close()
	record := []protocol.Change{{Key: "ike/12345", Value: bytes.Repeat([]byte("x"), 1500)}}
	for b.Loop() {
		if err := c.Store(record); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkInventory is the takeover of 5,000 clients: two records and one socket of each.
func BenchmarkInventory(b *testing.B) {
	const clients = 5_000
	k, m := bench(b)
	var records []protocol.Change
	for i := range clients {
		conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			b.Fatal(err)
		}
		f, err := conn.File()
		if err != nil {
			b.Fatal(err)
		}
		conn.Close()
		socket, err := udp.AdoptPlainClient(1, f, nil)
		if err != nil {
			b.Fatal(err)
		}
		m.clients[uint16(16384+i)] = socket
		for _, engine := range []string{"ike", "l2tp"} {
			records = append(records, protocol.Change{Key: fmt.Sprintf("%s/%d", engine, i), Value: bytes.Repeat([]byte("x"), 1500)})
		}
	}
	if err := k.store.change(records); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		c := dialBench(b, k)
		i, err := c.Setup(b.Context(), testSetup)
		if err != nil || len(i.Clients) != clients || len(i.Records) != 2*clients {
			b.Fatalf("%d clients, %d records, %v", len(i.Clients), len(i.Records), err)
		}
		b.StopTimer()
		i.Close()
		c.Welcome().Radius.Conn.Close()
		c.Close()
		b.StartTimer()
	}
}
