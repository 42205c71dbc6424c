package steering

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/google/nftables"
)

// Names of the nftables counters.
const (
	counterPlainL2TP       = "plain_l2tp"
	counterForeignSA       = "foreign_sa"
	counterOutsideL2TP     = "outside_l2tp"
	counterMalformed       = "malformed"
	counterForeignTunnelID = "foreign_tunnel_id"
	counterSpoofedSource   = "spoofed_source"
	counterClearOutput     = "clear_output"
	counterSteeredIn       = "steered_in"
	counterSteeredOut      = "steered_out"
	counterPlainForeign    = "plain_foreign"
	counterPlainSetup      = "plain_setup"
	counterPlainIn         = "plain_in"
	counterPlainOut        = "plain_out"
)

// Counter counts packets, and their octets from the network header on.
type Counter struct {
	Packets uint64 `json:"packets"`
	Bytes   uint64 `json:"bytes"`
}

// Counters are the counters of the table since its first installation. Those from SteeredIn on, PlainForeign
// excepted, count what passed; the others count drops.
type Counters struct {
	PlainL2TP       Counter `json:"plain_l2tp"`        // UDP to port 1701 without IPsec, and not from a plain peer
	ForeignSA       Counter `json:"foreign_sa"`        // UDP to port 1701 out of an SA that is not a client's
	OutsideL2TP     Counter `json:"outside_l2tp"`      // out of a client's SA, but not UDP to port 1701
	Malformed       Counter `json:"malformed"`         // not L2TPv2 (RFC 2661), or truncated
	ForeignTunnelID Counter `json:"foreign_tunnel_id"` // L2TP data with the tunnel id of another client
	SpoofedSource   Counter `json:"spoofed_source"`    // from a PPP interface or a plain peer, with a source address not routed to the interface
	ClearOutput     Counter `json:"clear_output"`      // from a client's socket, but no IPsec on the route; from that of a plain tunnel, but to nobody listed; or an error of ICMP about a packet to a client's port
	SteeredIn       Counter `json:"steered_in"`        // delivered to a client's port
	SteeredOut      Counter `json:"steered_out"`       // sent by a client's port
	PlainForeign    Counter `json:"plain_foreign"`     // from a plain peer, but not for a tunnel of its own
	PlainSetup      Counter `json:"plain_setup"`       // control messages of plain peers that begin a tunnel
	PlainIn         Counter `json:"plain_in"`          // delivered to the port of a plain tunnel
	PlainOut        Counter `json:"plain_out"`         // sent by the port of a plain tunnel
}

// named lists the fields by the names of their nftables counters, in the order of the table.
func (c *Counters) named() []namedCounter {
	return []namedCounter{
		{counterPlainL2TP, &c.PlainL2TP},
		{counterForeignSA, &c.ForeignSA},
		{counterOutsideL2TP, &c.OutsideL2TP},
		{counterMalformed, &c.Malformed},
		{counterForeignTunnelID, &c.ForeignTunnelID},
		{counterSpoofedSource, &c.SpoofedSource},
		{counterClearOutput, &c.ClearOutput},
		{counterSteeredIn, &c.SteeredIn},
		{counterSteeredOut, &c.SteeredOut},
		{counterPlainForeign, &c.PlainForeign},
		{counterPlainSetup, &c.PlainSetup},
		{counterPlainIn, &c.PlainIn},
		{counterPlainOut, &c.PlainOut},
	}
}

// raise makes no counter smaller than that of least.
func (c *Counters) raise(least Counters) {
	floor := least.named()
	for i, n := range c.named() {
		if n.Packets < floor[i].Packets {
			*n.Counter = *floor[i].Counter
		}
	}
}

type namedCounter struct {
	name string
	*Counter
}

// Read returns the counters. The error is [fs.ErrNotExist] if the table or one of its counters is missing.
func Read(cfg Config) (Counters, error) {
	cfg = cfg.withDefaults()
	conn, err := nftables.New()
	if err != nil {
		return Counters{}, fmt.Errorf("read counters of nftables table inet %s: %w", cfg.Table, err)
	}
	c, missing, err := readCounters(conn, cfg)
	if err != nil {
		return Counters{}, err
	}
	if missing > 0 {
		return Counters{}, fmt.Errorf("read counters of nftables table inet %s: %d of them: %w", cfg.Table, missing, fs.ErrNotExist)
	}
	return c, nil
}

// readCounters returns what there is, and how many counters are missing.
func readCounters(conn *nftables.Conn, cfg Config) (c Counters, missing int, err error) {
	objs, err := conn.GetObjects(cfg.table())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return c, 0, fmt.Errorf("read counters of nftables table inet %s: %w", cfg.Table, err)
	}
	found := map[string]*nftables.CounterObj{}
	for _, o := range objs {
		// The kernel's answer is filtered again: a kernel that ignores the table in the request sends the counters of all.
		if o, ok := o.(*nftables.CounterObj); ok && o.Table.Name == cfg.Table && o.Table.Family == nftables.TableFamilyINet {
			found[o.Name] = o
		}
	}
	for _, n := range c.named() {
		o := found[n.name]
		if o == nil {
			missing++
			continue
		}
		*n.Counter = Counter{Packets: o.Packets, Bytes: o.Bytes}
	}
	return c, missing, nil
}

// Packets returns the numbers of packets by the counters' names.
func (c Counters) Packets() map[string]uint64 {
	packets := make(map[string]uint64)
	for _, n := range c.named() {
		packets[n.name] = n.Counter.Packets
	}
	return packets
}
