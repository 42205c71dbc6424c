package steering

import (
	"fmt"

	"github.com/google/nftables"
	"github.com/google/nftables/userdata"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

func (c Config) table() *nftables.Table {
	return &nftables.Table{Name: c.Table, Family: nftables.TableFamilyINet}
}

// Install puts the table in place of whatever has its name, in one transaction: packets see the old rules or the new ones, never none.
// Counters go on from where they were. It may be called again at any time.
func Install(cfg Config) error { return cfg.withDefaults().install(Counters{}) }

// install is Install; no counter begins below what it was at least.
func (c Config) install(least Counters) error {
	if err := c.Validate(); err != nil {
		return fmt.Errorf("install nftables table: %w", err)
	}
	if !littleEndian() {
		return fmt.Errorf("install nftables table: %w", errBigEndian)
	}
	conn, err := nftables.New()
	if err != nil {
		return fmt.Errorf("install nftables table inet %s: %w", c.Table, err)
	}
	counters, _, err := readCounters(conn, c)
	if err != nil {
		return err
	}
	counters.raise(least)
	c.build(conn, counters)
	if err := conn.Flush(); err != nil {
		return fmt.Errorf("install nftables table inet %s (needs CAP_NET_ADMIN, and the modules nf_tables, nft_ct, nft_fib_inet, for plain peers nft_socket): %w", c.Table, err)
	}
	return nil
}

// build queues the transaction.
func (c Config) build(conn *nftables.Conn, counters Counters) {
	t := c.table()
	// Adding first makes deleting succeed whether there was a table or not.
	conn.AddTable(t)
	conn.DelTable(t)
	conn.AddTable(t)
	for _, n := range counters.named() {
		conn.AddObj(&nftables.CounterObj{Table: t, Name: n.name, Packets: n.Packets, Bytes: n.Bytes})
	}
	for _, ch := range c.chains() {
		nc := &nftables.Chain{Name: ch.name, Table: t}
		if hook := hooks[ch.name]; hook != nil {
			policy := nftables.ChainPolicyAccept
			nc.Type, nc.Hooknum, nc.Priority, nc.Policy = nftables.ChainTypeFilter, hook, nftables.ChainPriorityRaw, &policy
		}
		conn.AddChain(nc)
		for _, r := range ch.rules {
			conn.AddRule(&nftables.Rule{Table: t, Chain: nc, Exprs: r.exprs, UserData: userdata.AppendString(nil, userdata.TypeComment, r.comment)})
		}
	}
}

// hooks are those of the base chains. Both run at raw priority, before connection tracking. Never chain type route or nat: re-routing
// looks the route up again without the socket, and with it without the socket's IPsec policy.
var hooks = map[string]*nftables.ChainHook{
	chainPrerouting: nftables.ChainHookPrerouting,
	chainOutput:     nftables.ChainHookOutput,
}

// Remove deletes the table; that it is absent is not an error.
func Remove(cfg Config) error {
	cfg = cfg.withDefaults()
	conn, err := nftables.New()
	if err == nil {
		conn.AddTable(cfg.table())
		conn.DelTable(cfg.table())
		err = conn.Flush()
	}
	if err != nil {
		return fmt.Errorf("remove nftables table inet %s: %w", cfg.Table, err)
	}
	return nil
}

// Present reports whether the table is there with all its chains, hooks and rules. It does not look into the rules.
func Present(cfg Config) (bool, error) {
	cfg = cfg.withDefaults()
	conn, err := nftables.New()
	if err != nil {
		return false, fmt.Errorf("look for nftables table inet %s: %w", cfg.Table, err)
	}
	existing, err := conn.ListChainsOfTableFamily(nftables.TableFamilyINet)
	if err != nil {
		return false, fmt.Errorf("list nftables chains: %w", err)
	}
	found := map[string]*nftables.Chain{}
	for _, ch := range existing {
		if ch.Table.Name == cfg.Table {
			found[ch.Name] = ch
		}
	}
	rules := 0
	for _, want := range cfg.chains() {
		got := found[want.name]
		if got == nil {
			return false, nil
		}
		if hook := hooks[want.name]; hook != nil &&
			(got.Hooknum == nil || *got.Hooknum != *hook || got.Priority == nil || *got.Priority != *nftables.ChainPriorityRaw) {
			return false, nil
		}
		rules += len(want.rules)
	}
	n, err := cfg.countRules()
	return err == nil && n == rules, err
}

// countRules asks the kernel how many rules the table has. (The library cannot: it decodes them and does not know all expressions.)
func (c Config) countRules() (int, error) {
	replies, err := ask(unix.NFT_MSG_GETRULE, netlink.Request|netlink.Dump, c.attribute())
	if err != nil {
		return 0, fmt.Errorf("list rules of nftables table inet %s: %w", c.Table, err)
	}
	return len(replies), nil
}
