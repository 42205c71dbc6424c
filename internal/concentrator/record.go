package concentrator

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/l2tpctl/l2tpctl/internal/aaa"
	"github.com/l2tpctl/l2tpctl/internal/slot"
	"github.com/l2tpctl/l2tpctl/pkg/ikev1"
	"github.com/l2tpctl/l2tpctl/pkg/l2tp"
	"github.com/l2tpctl/l2tpctl/pkg/xfrm"
)

// recordVersion is that of the loop's records. Fields may be added without a new one: an older daemon passes over them, and a newer one finds
// them empty.
const recordVersion = 1

// clientRecord is a client as the next daemon has to know it. Nothing here is secret: the keys are the engine's and the kernel's.
type clientRecord struct {
	Version  uint8
	ID       ikev1.ClientID
	Port     slot.Port
	Local    netip.Addr
	Remote   netip.AddrPort
	Identity string `cbor:",omitempty"`
	Kind     string `cbor:",omitempty"`
	Children map[ikev1.ChildID]childRecord
	Links    int
	Opened   time.Time
	Idle     time.Time
	Lost     time.Time
	Dialed   bool   `cbor:",omitempty"`
	Judged   bool   `cbor:",omitempty"`
	Proved   bool   `cbor:",omitempty"`
	Ending   string `cbor:",omitempty"`
	// Plain is the tunnel id that a peer without IPsec has assigned; 0 of a client with IPsec.
	Plain uint16 `cbor:",omitempty"`
}

type childRecord struct {
	In, Out           xfrm.ID
	InPlace, OutPlace placementRecord
	Encapsulated      bool
	Integrity         ikev1.Integrity
}

type placementRecord struct {
	Device  int          `cbor:",omitempty"`
	Offload xfrm.Offload `cbor:",omitempty"`
}

// sessionRecord is a session likewise.
type sessionRecord struct {
	Version  uint8
	Port     slot.Port
	ID       uint16
	N        int
	NAS      string
	State    sessionState
	User     string `cbor:",omitempty"`
	Method   string `cbor:",omitempty"`
	Address  netip.Addr
	Local    netip.Addr
	MTU      int
	Created  time.Time
	Up       time.Time
	KillAt   time.Time
	Reason   string `cbor:",omitempty"`
	Failed   bool   `cbor:",omitempty"`
	Unlinked bool   `cbor:",omitempty"`
	Running  bool   `cbor:",omitempty"` // has a PPP endpoint
	Absent   bool   `cbor:",omitempty"`
	Down     *l2tp.SessionDown
}

// records keeps nanoseconds, and writes the same always in the same way.
var records, errRecords = cbor.EncOptions{Time: cbor.TimeRFC3339NanoUTC, Sort: cbor.SortBytewiseLexical}.EncMode()

func encodeRecord(v any) ([]byte, error) {
	if errRecords != nil {
		return nil, errRecords
	}
	return records.Marshal(v)
}

// decodeRecord reads a record of this or an earlier version.
func decodeRecord[T interface{ version() uint8 }](b []byte) (v T, err error) {
	if err := cbor.Unmarshal(b, &v); err != nil {
		return v, fmt.Errorf("read a record: %w", err)
	}
	if n := v.version(); n != recordVersion {
		return v, fmt.Errorf("read a record of version %d: this l2tpctl reads version %d", n, recordVersion)
	}
	return v, nil
}

func (r clientRecord) version() uint8  { return r.Version }
func (r sessionRecord) version() uint8 { return r.Version }
func (r loginRecord) version() uint8   { return r.Version }

// loginRecord is what the RADIUS server knows of a session.
type loginRecord struct {
	Version uint8
	aaa.SessionInfo
}

func (cl *client) record() clientRecord {
	r := clientRecord{
		Version: recordVersion, ID: cl.id, Port: cl.port, Local: cl.local, Remote: cl.remote, Identity: cl.peer.identity, Kind: cl.peer.kind,
		Children: make(map[ikev1.ChildID]childRecord, len(cl.children)), Links: cl.links, Opened: cl.opened, Idle: cl.idle, Lost: cl.lost,
		Dialed: cl.dialed, Judged: cl.judged, Proved: cl.proved, Ending: cl.ending,
	}
	if cl.plain != nil {
		r.Plain = cl.plain.tunnel
	}
	for id, ch := range cl.children {
		r.Children[id] = childRecord{
			In: ch.in, Out: ch.out, InPlace: placementRecord{ch.inPlace.device, ch.inPlace.offload}, OutPlace: placementRecord{ch.outPlace.device, ch.outPlace.offload},
			Encapsulated: ch.encapsulated, Integrity: ch.integrity,
		}
	}
	return r
}

func (r childRecord) child() *child {
	return &child{
		in: r.In, out: r.Out, inPlace: placement{r.InPlace.Device, r.InPlace.Offload}, outPlace: placement{r.OutPlace.Device, r.OutPlace.Offload},
		encapsulated: r.Encapsulated, integrity: r.Integrity,
	}
}

func (s *session) record() sessionRecord {
	return sessionRecord{
		Version: recordVersion, Port: s.client.port, ID: s.id, N: s.n, NAS: s.nas, State: s.state, User: s.user, Method: s.method, Address: s.address,
		Local: s.local, MTU: s.mtu, Created: s.created, Up: s.up, KillAt: s.killAt, Reason: s.reason, Failed: s.failed, Unlinked: s.unlinked,
		Running: s.process != nil, Absent: s.absent, Down: s.down,
	}
}
