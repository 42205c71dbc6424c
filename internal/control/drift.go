package control

// Objects and problems of [Drift].
const (
	DriftSA        = "sa"
	DriftTunnel    = "tunnel"
	DriftSession   = "session"
	DriftInterface = "interface"
	DriftSteering  = "steering"

	DriftMissing    = "missing"    // the daemon counts on it, and the kernel does not have it
	DriftUnexpected = "unexpected" // it has our tag or port, and the daemon does not know it
	DriftChanged    = "changed"    // missing, or not as it was made
)

// Drift is a difference between what the daemon wants in the kernel and what is there.
type Drift struct {
	Object   string `json:"object" table:"col"`    // sa, tunnel, session, interface or steering
	Name     string `json:"name" table:"col"`      // SPI and destination, ids, or the name of the interface
	TunnelID uint16 `json:"tunnel_id" table:"col"` // of the client; 0 for none
	Problem  string `json:"problem" table:"col"`   // missing, unexpected or changed
}
