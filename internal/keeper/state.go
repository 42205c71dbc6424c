package keeper

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/l2tpctl/l2tpctl/internal/confine"
	"github.com/l2tpctl/l2tpctl/internal/keeper/protocol"
	"github.com/l2tpctl/l2tpctl/pkg/pppd"
)

// The versions of state that this build reads. It writes the newest, so a program that knows none of it is tried in vain and not become.
const (
	stateVersion = 1
	stateOldest  = 1
)

// maxState is how many octets a state may have.
const maxState = 2 << 30

// state is what a keeper is when it becomes another program: numbers of descriptors, which stay open, and what it knows. There are secrets in it: it
// is only ever in memory.
type state struct {
	Version uint32 `cbor:"1,keyasint"`
	Build   string `cbor:"2,keyasint"`
	Secret  string `cbor:"3,keyasint"`
	Path    string `cbor:"4,keyasint"` // of the socket
	Locked  string `cbor:"5,keyasint"` // path of the lock
	// Descriptors.
	Lock   int `cbor:"6,keyasint"`
	Socket int `cbor:"7,keyasint"`
	Radius int `cbor:"8,keyasint"`
	// Inventory names descriptors where on the wire it names places, and has the records; SessionFiles go with its Sessions.
	Inventory    protocol.Inventory `cbor:"9,keyasint"`
	SessionFiles []int              `cbor:"10,keyasint"`
	Setup        *protocol.Setup    `cbor:"11,keyasint,omitempty"`
	PPP          *pppd.State        `cbor:"12,keyasint,omitempty"`
	Daemon       *daemonState       `cbor:"13,keyasint,omitempty"`
}

// daemonState is the connection of a daemon.
type daemonState struct {
	Socket int    `cbor:"1,keyasint"`
	PID    int    `cbor:"2,keyasint"`
	Build  string `cbor:"3,keyasint"`
	Weak   bool   `cbor:"4,keyasint,omitempty"`
}

// Format implements fmt.Formatter for every verb: nothing of it is for a log.
func (s *state) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "state of keeper %s", s.Build) }

// inheritance gathers what stays open in the next program.
type inheritance struct {
	conns []syscall.Conn
	files []*os.File // copies, to be closed if there is no next program
	err   error
}

// keep returns the number of a descriptor that is to stay.
func (i *inheritance) keep(c syscall.Conn) int {
	raw, err := c.SyscallConn()
	n := -1
	if err == nil {
		err = raw.Control(func(fd uintptr) { n = int(fd) })
	}
	if err != nil {
		i.err = errors.Join(i.err, err)
		return -1
	}
	i.conns = append(i.conns, c)
	return n
}

// copy is keep for a copy that was made for this.
func (i *inheritance) copy(f *os.File, err error) int {
	if err != nil {
		i.err = errors.Join(i.err, err)
	}
	if f == nil {
		return 0
	}
	i.files = append(i.files, f)
	return i.keep(f)
}

// memory writes a state into a file of memory that nobody can change any more.
func (s *state) memory() (_ *os.File, err error) {
	b, err := protocol.Marshal(s)
	if err != nil {
		return nil, err
	}
	defer clear(b)
	fd, err := unix.MemfdCreate("keeper state", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, fmt.Errorf("create a file of memory: %w", err)
	}
	f := os.NewFile(uintptr(fd), "keeper state")
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close())
		}
	}()
	if _, err := f.Write(b); err != nil {
		return nil, fmt.Errorf("write into a file of memory: %w", err)
	}
	const seals = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals); err != nil {
		return nil, fmt.Errorf("seal a file of memory: %w", err)
	}
	return f, nil
}

// readState reads what memory has written.
func readState(f *os.File) (*state, error) {
	b, err := io.ReadAll(io.NewSectionReader(f, 0, maxState)) // whatever was read of it before
	if err != nil {
		return nil, fmt.Errorf("read the keeper's state: %w", err)
	}
	defer clear(b)
	var version struct {
		Version uint32 `cbor:"1,keyasint"`
		Build   string `cbor:"2,keyasint"`
	}
	if err := protocol.Unmarshal(b, &version); err != nil {
		return nil, fmt.Errorf("read the keeper's state: %w", err)
	}
	if version.Version < stateOldest || version.Version > stateVersion {
		return nil, fmt.Errorf("the state of the keeper that runs (build %s) has version %d, and this program reads %d to %d: take a program that is nearer to it",
			version.Build, version.Version, stateOldest, stateVersion)
	}
	s := &state{}
	if err := protocol.Unmarshal(b, s); err != nil {
		return nil, fmt.Errorf("read the keeper's state: %w", err)
	}
	return s, s.check()
}

// check finds what cannot be.
func (s *state) check() error {
	if len(s.SessionFiles) != len(s.Inventory.Sessions) || (s.Setup == nil) != (s.PPP == nil) || s.Secret == "" || s.Path == "" || s.Locked == "" {
		return fmt.Errorf("read the keeper's state: %w: it is not whole", protocol.ErrMalformed)
	}
	if s.Setup == nil {
		return nil
	}
	setup, err := complete(*s.Setup)
	if err != nil {
		return fmt.Errorf("read the keeper's state: %w", err)
	}
	s.Setup = &setup
	return nil
}

// Try reads the state of a keeper that wants to become this program, from a descriptor, and takes nothing.
func Try(fd int) error {
	f := os.NewFile(uintptr(fd), "keeper state")
	if f == nil {
		return fmt.Errorf("read the keeper's state: %w", os.ErrInvalid)
	}
	defer f.Close()
	if err := confine.Hide(); err != nil {
		return err
	}
	_, err := readState(f)
	return err
}
