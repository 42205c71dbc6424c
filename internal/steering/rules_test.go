package steering

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

func TestValidate(t *testing.T) {
	for _, c := range []struct {
		cfg  Config
		want string // part of the error
	}{
		{Config{}, ""},
		{Config{Table: "a_b-1", Tag: 1, PortBase: 0x8000, PortMask: 0xf000, InterfacePrefix: "vpn"}, ""},
		{Config{Table: "a b"}, "table name"},
		{Config{InterfacePrefix: "l2t*"}, "interface prefix"},
		{Config{InterfacePrefix: "fifteen-octets-"}, "interface prefix"},
		{Config{PortBase: 0x4001, PortMask: 0xC000}, "outside of the mask"},
		{Config{PortBase: 0, PortMask: 0xC000}, "port 0"},
		{Config{PortBase: 0x1000, PortMask: 0xF000}, "port 4500"},
		{Config{PortBase: 0x0600, PortMask: 0xFE00}, "port 1701"},
		{Config{PortBase: 0xC000, PortMask: 0xC000}, "port 65535"},
		{Config{PortBase: 0x2000, PortMask: 0xE000}, ""}, // nobody needs the block of plain tunnels
		{plainConfig("10.0.0.0/8", "fd00::/8", "192.0.2.1/32"), ""},
		{plainConfig("0.0.0.0/0"), "at least 8 bits"},
		{plainConfig("10.0.0.1/8"), "masked"},
		{plainConfig("::ffff:10.0.0.0/104"), "IPv4 or IPv6"},
		{plainConfig(slices.Repeat([]string{"10.0.0.0/8"}, 65)...), "at most 64"},
		{Config{PlainPeers: []netip.Prefix{{}}}, "at least 8 bits"},
		{overlapping(0x6000, 0xE000), "overlap"},
		{overlapping(0x4000, 0xC000), "overlap"},
		{overlapping(0x4ff0, 0xfff0), "overlap"},
		{overlapping(0x8000, 0x8000), "port 65535"},
		{overlapping(0x1000, 0xF000), "port 4500"},
		{overlapping(0x2001, 0xE000), "outside of the mask"},
		{overlapping(0x8000, 0xE000), ""},
	} {
		err := c.cfg.Validate()
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%+v: %v, want %q", c.cfg, err, c.want)
		}
	}
}

// plainConfig is the default but for plain peers.
func plainConfig(peers ...string) Config {
	var c Config
	for _, p := range peers {
		c.PlainPeers = append(c.PlainPeers, netip.MustParsePrefix(p))
	}
	return c.withDefaults()
}

func overlapping(base, mask uint16) Config {
	c := plainConfig("10.0.0.0/8")
	c.PlainBase, c.PlainMask = base, mask
	return c
}

// eachConfig tests the table without plain peers, and with.
func eachConfig(t *testing.T, test func(t *testing.T, c Config)) {
	t.Run("clients", func(t *testing.T) { test(t, DefaultConfig()) })
	t.Run("plain peers", func(t *testing.T) { test(t, plainConfig("10.0.0.0/8", "fd00::/8")) })
}

// verdict is what the rule does at its end.
func verdict(r rule) *expr.Verdict {
	v, _ := r.exprs[len(r.exprs)-1].(*expr.Verdict)
	return v
}

// A rule that a strange packet breaks is skipped; what comes after it must not let the packet pass.
func TestEveryChainThatIsJumpedToEndsWithCountedDrop(t *testing.T) {
	eachConfig(t, everyChainEndsWithCountedDrop)
}

func everyChainEndsWithCountedDrop(t *testing.T, cfg Config) {
	seen := map[string]bool{}
	for _, ch := range cfg.chains() {
		for i, r := range ch.rules {
			v := verdict(r)
			if v == nil {
				t.Errorf("%s rule %d (%s) has no verdict", ch.name, i, r.comment)
				continue
			}
			if v.Kind == expr.VerdictGoto && !seen[v.Chain] {
				t.Errorf("%s rule %d goes to %q, which is not created before it", ch.name, i, v.Chain)
			}
			if v.Kind == expr.VerdictDrop {
				if _, ok := r.exprs[len(r.exprs)-2].(*expr.Objref); !ok {
					t.Errorf("%s rule %d (%s) drops without counting", ch.name, i, r.comment)
				}
			}
		}
		seen[ch.name] = true
		if hooks[ch.name] != nil {
			continue
		}
		last := ch.rules[len(ch.rules)-1]
		if verdict(last).Kind != expr.VerdictDrop || len(last.exprs) != 2 {
			t.Errorf("%s does not end with an unconditional drop", ch.name)
		}
	}
}

// "udp dport set" with checksum update makes a wrong checksum of a missing one.
func TestPortsAreRewrittenWithAndWithoutChecksum(t *testing.T) {
	for _, name := range []string{chainDeliver, chainReply, chainPlainShort, chainPlainLong, chainPlainReply} {
		var updates []expr.PayloadCsumType
		for _, ch := range plainConfig("10.0.0.0/8").chains() {
			if ch.name != name {
				continue
			}
			for _, r := range ch.rules {
				for i, e := range r.exprs {
					p, ok := e.(*expr.Payload)
					if !ok || p.OperationType != expr.PayloadWrite {
						continue
					}
					updates = append(updates, p.CsumType)
					wantOp := expr.CmpOpEq
					if p.CsumType == expr.CsumTypeInet {
						wantOp = expr.CmpOpNeq
					}
					if c, ok := r.exprs[1].(*expr.Cmp); !ok || c.Op != wantOp || i < 2 {
						t.Errorf("%s (%s): the rewrite does not look at the checksum first", name, r.comment)
					}
				}
			}
		}
		if len(updates) != 2 || updates[0] != expr.CsumTypeNone || updates[1] != expr.CsumTypeInet {
			t.Errorf("%s: checksum updates %v, want none and inet", name, updates)
		}
	}
}

// The table is replaced in one batch: a packet sees the old rules or the new ones.
func TestInstallIsOneTransaction(t *testing.T) { eachConfig(t, installIsOneTransaction) }

func installIsOneTransaction(t *testing.T, cfg Config) {
	var batches [][]netlink.Message
	conn, err := nftables.New(nftables.WithTestDial(func(req []netlink.Message) ([]netlink.Message, error) {
		if len(req) > 0 {
			batches = append(batches, req)
		}
		var acks []netlink.Message
		for _, m := range req {
			if m.Header.Flags&netlink.Acknowledge != 0 {
				acks = append(acks, netlink.Message{Header: netlink.Header{Type: netlink.Error, Sequence: m.Header.Sequence, PID: m.Header.PID}, Data: make([]byte, 4)})
			}
		}
		return acks, nil
	}))
	if err != nil {
		t.Fatal(err)
	}
	cfg.build(conn, Counters{})
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}
	if len(batches) != 1 {
		t.Fatalf("%d batches", len(batches))
	}
	var kinds []string
	names := map[netlink.HeaderType]string{
		unix.NFNL_MSG_BATCH_BEGIN: "begin", unix.NFNL_MSG_BATCH_END: "end",
		unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_NEWTABLE: "table", unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_DELTABLE: "delete",
		unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_NEWOBJ: "counter", unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_NEWCHAIN: "chain",
		unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_NEWRULE: "rule",
	}
	for _, m := range batches[0] {
		kinds = append(kinds, names[m.Header.Type])
	}
	want := "begin table delete table" + strings.Repeat(" counter", len((&Counters{}).named()))
	for _, ch := range cfg.chains() {
		want += " chain" + strings.Repeat(" rule", len(ch.rules))
	}
	if got := strings.Join(kinds, " "); got != want+" end" {
		t.Errorf("batch is\n%s, want\n%s end", got, want)
	}
}
