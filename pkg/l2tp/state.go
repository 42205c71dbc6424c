package l2tp

// stateVersion is the version of the form below. A Record of another one is not understood.
const stateVersion = 1

// savedSlot is a slot as it is recorded. What follows from other fields is left out, and so are messages that came before their
// turn: they are not acknowledged, and the peer repeats them.
type savedSlot struct {
	Version uint64       `cbor:"1,keyasint"`
	Base    base         `cbor:"2,keyasint"`           // acceptance of the newest tunnel
	Asked   ActionID     `cbor:"3,keyasint"`           // the latest action
	Calls   []stamp      `cbor:"4,keyasint,omitempty"` // accepted of late
	Tunnels []stamp      `cbor:"5,keyasint,omitempty"` // accepted of late
	Tunnel  *savedTunnel `cbor:"6,keyasint,omitempty"`
	Kernel  *savedKernel `cbor:"7,keyasint,omitempty"` // nil: there is no kernel tunnel, and none was asked for
}

// savedKernel is the kernel tunnel that has the slot's number.
type savedKernel struct {
	State   objectState   `cbor:"1,keyasint"`
	Former  bool          `cbor:"2,keyasint,omitempty"` // it belongs to a predecessor of the slot's tunnel
	Peer    uint16        `cbor:"3,keyasint,omitempty"` // of a former tunnel
	Remote  []byte        `cbor:"4,keyasint,omitempty"` // of a former tunnel
	Leaving []savedObject `cbor:"5,keyasint,omitempty"`
}

// savedObject is the kernel session of an ended call.
type savedObject struct {
	ID    uint16      `cbor:"1,keyasint"`
	Peer  uint16      `cbor:"2,keyasint"`
	State objectState `cbor:"3,keyasint"` // objectCreating or objectDeleting
}

// savedTunnel is a control connection.
type savedTunnel struct {
	State       tunnelState    `cbor:"1,keyasint,omitempty"`
	Remote      []byte         `cbor:"2,keyasint"` // binary form of netip.AddrPort
	Channel     savedChannel   `cbor:"3,keyasint"`
	Sessions    []savedSession `cbor:"4,keyasint,omitempty"`
	Refusing    bool           `cbor:"5,keyasint,omitempty"`
	Request     []byte         `cbor:"6,keyasint"`
	Replaced    uint16         `cbor:"7,keyasint,omitempty"`
	HostName    string         `cbor:"8,keyasint,omitempty"`
	VendorName  string         `cbor:"9,keyasint,omitempty"`
	Firmware    uint16         `cbor:"10,keyasint,omitempty"`
	Created     stamp          `cbor:"11,keyasint"`
	Established stamp          `cbor:"12,keyasint,omitempty"`
	Heard       stamp          `cbor:"13,keyasint"`
	Changed     stamp          `cbor:"14,keyasint"`
	IdleAt      stamp          `cbor:"15,keyasint,omitempty"`
	Config      savedConfig    `cbor:"16,keyasint"`
}

// savedChannel is the reliable delivery in a tunnel.
type savedChannel struct {
	Peer      uint16         `cbor:"1,keyasint"`
	Queue     []savedMessage `cbor:"2,keyasint,omitempty"`
	Una       uint16         `cbor:"3,keyasint,omitempty"`
	Sent      int            `cbor:"4,keyasint,omitempty"`
	Attempted int            `cbor:"5,keyasint,omitempty"`
	Tries     int            `cbor:"6,keyasint,omitempty"`
	ResendAt  stamp          `cbor:"7,keyasint,omitempty"` // while something is sent
	Nr        uint16         `cbor:"8,keyasint,omitempty"`
	Ack       ackState       `cbor:"9,keyasint,omitempty"`
	AckAt     stamp          `cbor:"10,keyasint,omitempty"` // with ackLater
	Window    savedWindow    `cbor:"11,keyasint"`
}

// savedWindow is a window.
type savedWindow struct {
	_         struct{} `cbor:",toarray"`
	Peer      int
	Size      int
	Threshold int
	Credit    int
}

// savedMessage is a message that is not acknowledged.
type savedMessage []byte // as on the wire, with the receiver's session and without numbers

// savedSession is an incoming call.
type savedSession struct {
	ID            uint16       `cbor:"1,keyasint"`
	Peer          uint16       `cbor:"2,keyasint"`
	State         sessionState `cbor:"3,keyasint,omitempty"`
	CallSerial    uint32       `cbor:"4,keyasint,omitempty"`
	TxSpeed       uint32       `cbor:"5,keyasint,omitempty"`
	CallingNumber string       `cbor:"6,keyasint,omitempty"`
	CalledNumber  string       `cbor:"7,keyasint,omitempty"`
	Created       stamp        `cbor:"8,keyasint"`
	Established   stamp        `cbor:"9,keyasint,omitempty"`
}

// savedConfig is the configuration that a tunnel began with. The names are needed until SCCRP, and left out after it. Waits are in
// milliseconds.
type savedConfig struct {
	HostName          []byte `cbor:"1,keyasint,omitempty"`
	VendorName        []byte `cbor:"2,keyasint,omitempty"`
	FirmwareRevision  uint16 `cbor:"3,keyasint,omitempty"`
	ReceiveWindow     uint16 `cbor:"4,keyasint"`
	HelloInterval     int64  `cbor:"5,keyasint"`
	RetransmitInitial int64  `cbor:"6,keyasint"`
	RetransmitMax     int64  `cbor:"7,keyasint"`
	Retries           int    `cbor:"8,keyasint"`
	AckDelay          int64  `cbor:"9,keyasint"`
	SetupTimeout      int64  `cbor:"10,keyasint"`
	IdleTimeout       int64  `cbor:"11,keyasint"`
	MaxSessions       int    `cbor:"12,keyasint"`
	CallsPerMinute    int    `cbor:"13,keyasint"`
	MaxQueued         int    `cbor:"14,keyasint"`
}
