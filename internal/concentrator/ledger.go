package concentrator

import (
	"fmt"
	"strconv"
	"strings"

	"go.uber.org/zap"

	"github.com/l2tpctl/l2tpctl/internal/slot"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
	"github.com/l2tpctl/l2tpctl/pkg/l2tp"
)

// The keys of records: what is before the slash, and whose it is.
const (
	keyIKE     = "ike/"     // the engine's, by client
	keyL2TP    = "l2tp/"    // the engine's, by slot
	keyClient  = "client/"  // by slot
	keySession = "session/" // by the session's name
	keyLogin   = "login/"   // the RADIUS server's, by the session's NAS-Identifier
)

// A ledger collects what the daemon that follows has to know, and writes it down before anybody else hears of it. It belongs to the loop.
type ledger struct {
	changes  []Change // of the engines
	clients  map[*client]bool
	sessions map[*session]bool
}

func newLedger() *ledger {
	return &ledger{clients: make(map[*client]bool), sessions: make(map[*session]bool)}
}

// numberOf reads the number of so many bits that comes after a prefix in a key.
func numberOf(key, prefix string, bits int) (uint64, bool) {
	digits, ours := strings.CutPrefix(key, prefix)
	if !ours {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, bits)
	return n, err == nil
}

func ikeKey(id ikev1.ClientID) string { return fmt.Sprint(keyIKE, uint64(id)) }
func l2tpKey(tunnel uint16) string    { return fmt.Sprint(keyL2TP, tunnel) }
func clientKey(port slot.Port) string { return fmt.Sprint(keyClient, uint16(port)) }
func sessionKey(s *session) string    { return keySession + s.name() }
func loginKey(nas string) string      { return keyLogin + nas }

// client notes that a client has changed, session that a session has.
func (l *ledger) client(cl *client)  { l.clients[cl] = true }
func (l *ledger) session(s *session) { l.sessions[s] = true }

func (l *ledger) remove(key string) { l.changes = append(l.changes, Change{Key: key}) }

// ike takes what the IKE engine wants to be written down.
func (l *ledger) ike(records []ikev1.Record) {
	for _, r := range records {
		l.changes = append(l.changes, Change{Key: ikeKey(r.Client), Value: r.State})
	}
}

// l2tp takes what the L2TP engine wants to be written down.
func (l *ledger) l2tp(records []l2tp.Record) {
	for _, r := range records {
		l.changes = append(l.changes, Change{Key: l2tpKey(r.Tunnel), Value: r.State})
	}
}

// writeDown hands over what has changed. Whoever is about to send a message does so before, since its receiver takes it for done.
func (c *Concentrator) writeDown() {
	l := c.ledger
	for cl := range l.clients {
		if c.clients[cl.id] == cl {
			c.put(clientKey(cl.port), cl.record())
		} else if other := c.ports[cl.port]; other == nil || other == cl { // else the slot is another's by now
			l.remove(clientKey(cl.port))
		}
	}
	for s := range l.sessions {
		if c.clients[s.client.id] == s.client && s.client.sessions[s.id] == s {
			c.put(sessionKey(s), s.record())
		} else {
			l.remove(sessionKey(s))
		}
	}
	clear(l.clients)
	clear(l.sessions)
	if len(l.changes) == 0 {
		return
	}
	if err := c.Store.Store(l.changes); err != nil {
		c.unwritten(err)
	}
	l.changes = nil
}

func (c *Concentrator) put(key string, record any) {
	b, err := encodeRecord(record)
	if err != nil {
		c.unwritten(err)
		return
	}
	c.ledger.changes = append(c.ledger.changes, Change{Key: key, Value: b})
}

func (c *Concentrator) unwritten(err error) {
	c.counters.storeErrors++
	c.Log.Error("what the next daemon has to know cannot be written down; a restart will end sessions", zap.Error(err))
}
